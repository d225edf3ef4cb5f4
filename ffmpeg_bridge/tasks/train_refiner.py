"""Training of the small U-Net that refines carried masks, on sequences in DAVIS's layout that are not evaluated."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, shift
from torch import Tensor

from ffmpeg_bridge.tasks.davis import DavisSequence
from ffmpeg_bridge.tasks.motion import dis_flow, warp
from ffmpeg_bridge.tasks.pictures import rgb_of
from ffmpeg_bridge.tasks.refiner import MaskUNet, refiner_input, save_refiner
from ssvc_codec.errors import MediaError

__all__ = ["train_refiner"]

_BATCH, _CROP = 8, 128  # at half size, as the network sees masks
_PICTURE_SHARE = 0.5  # of examples where the picture is shown: in streams read in part most are not decoded
_LEAST_AREA = 0.005  # of the picture: smaller objects are no examples
_MAX_EXAMPLES = 600  # what is kept in memory


@dataclass(frozen=True)
class _Example:
    """A frame, at half size: what the network may see, with the carried mask made anew each time, and the truth."""

    before: NDArray[np.float32]  # true mask of the frame before, full size
    flow: NDArray[np.float32]
    rgb: NDArray[np.uint8]
    truth: NDArray[np.bool_]


def train_refiner(
    sequences: Sequence[DavisSequence],
    path: Path,
    *,
    minutes: float,
    seed: int = 1,
    threads: int = 1,
    report: Callable[[str], None] | None = None,
) -> None:
    """Trains for so long and writes the network to path.

    A mask that was carried is imitated: the true one of the frame before is damaged (moved by a few pixels, its contour
    made wavy) and carried on by DIS flow. Raises MediaError where no sequence has an object of some size.
    """
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    if threads:
        torch.set_num_threads(threads)
    examples = [example for sequence in sequences for example in _examples(sequence)]
    random.shuffle(examples)  # pyright: ignore[reportArgumentType]
    del examples[_MAX_EXAMPLES:]
    if not examples:
        raise MediaError("no two frames in a row with an object: there is nothing to train on")
    network = MaskUNet()
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    end, step, losses = time.monotonic() + 60 * minutes, 0, []
    while step == 0 or time.monotonic() < end:
        left = max(end - time.monotonic(), 0) / max(60 * minutes, 1e-9)
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * max(min(left * 2, 1.0), 0.02)
        x, truth = _batch([examples[k] for k in random.integers(len(examples), size=_BATCH)], random)
        y = network(x)
        probability = torch.sigmoid(y)
        overlap = 1 - (2 * (probability * truth).sum() + 1) / (probability.sum() + truth.sum() + 1)
        loss = F.binary_cross_entropy_with_logits(y, truth) + overlap
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
        step += 1
        if report and step % 50 == 0:
            report(f"step {step}: loss {np.mean(losses[-50:]):.4f}")
    save_refiner(network, path)


def _examples(sequence: DavisSequence) -> list[_Example]:
    """Every second frame that has an object, and had one the frame before."""
    clip = sequence.load()
    size = {"width": clip.format.width, "height": clip.format.height}
    examples = []
    for number in range(1, len(clip.frames), 2):
        before, truth = (sequence.truth(n, **size) for n in (number - 1, number))
        if min(before.mean(), truth.mean()) < _LEAST_AREA:
            continue
        flow = dis_flow(clip.frames[number], clip.frames[number - 1])
        examples.append(_Example(before.astype(np.float32), flow, rgb_of(clip.frames[number]), truth))
    return examples


def _damaged(mask: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
    """A mask as errors of carrying leave it: moved, and eaten or grown where smooth noise says so."""
    size = float(np.sqrt(mask.sum()))
    moved = shift(mask, random.normal(0, 0.015 * size, 2), order=1)
    noise = gaussian_filter(random.standard_normal(tuple(n // 4 + 1 for n in mask.shape)), random.uniform(2, 6))
    noise = np.kron(noise / (noise.std() + 1e-6), np.ones((4, 4)))[: mask.shape[0], : mask.shape[1]]
    soft = gaussian_filter(moved, max(random.uniform(0.005, 0.04) * size, 0.5))
    return (soft + 0.15 * noise * (soft > 0.02) > 0.5).astype(np.float32)


def _batch(examples: Sequence[_Example], random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Inputs (N, 7, side, side) and truths (N, 1, side, side) at half size, around the object."""
    xs, truths = [], []
    for example in examples:
        rgb = example.rgb if random.random() < _PICTURE_SHARE else None
        x = F.avg_pool2d(refiner_input(warp(_damaged(example.before, random), example.flow), example.flow, rgb), 2)
        truth = F.avg_pool2d(torch.from_numpy(example.truth.astype(np.float32))[None, None], 2)
        rows, columns = np.nonzero(truth[0, 0].numpy() > 0.5)
        pick = random.integers(len(rows)) if len(rows) else 0
        center = (int(rows[pick]), int(columns[pick])) if len(rows) else (0, 0)
        top, left = (
            int(np.clip(c - random.integers(_CROP), 0, max(n - _CROP, 0)))
            for c, n in zip(center, truth.shape[2:], strict=True)
        )
        both = torch.cat((x, truth), 1)[..., top : top + _CROP, left : left + _CROP]
        both = F.pad(both, (0, _CROP - both.shape[3], 0, _CROP - both.shape[2]))
        if random.random() < 0.5:
            both = both.flip(3)
            both[:, 1] *= -1
        xs.append(both[:, :-1])
        truths.append(both[:, -1:])
    return torch.cat(xs), torch.cat(truths).round()
