"""Training of the small U-Net that refines carried masks, on sequences in DAVIS's layout that are not evaluated."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ffmpeg_bridge.tasks.davis import DavisSequence
from ffmpeg_bridge.tasks.motion import bridge_flow, dis_flow
from ffmpeg_bridge.tasks.own_stream import TaskEncoder
from ffmpeg_bridge.tasks.pictures import rgb_of
from ffmpeg_bridge.tasks.refiner import SCALE, Carried, MaskUNet, carry, refiner_input, save_refiner
from ssvc_codec.errors import MediaError
from ssvc_codec.evaluation.clip import Clip

__all__ = ["FlowsOf", "flows_in_streams", "train_refiner"]

FlowsOf = Callable[[DavisSequence, Clip, int], Mapping[int, NDArray[np.float32]]]
"""Flows of a sequence by the number of the frame, as ssvc's stream has them; also told the number of the sequence."""

_BATCH, _WINDOW = 8, 192  # luma pixels: half of that for the network
_RATE = 2e-3
_HIDDEN, _SHOWN = 0.5, 0.3  # share of episodes without any picture, with all; in the others now and then
_NOW_AND_THEN = 0.25
_CONTOUR, _ELSEWHERE = 6, 0.03  # luma pixels on either side that count in full; weight of the others
_KEY_STEPS = 0.1  # share of steps whose flow is taken to be missing, as at key frames
_LEAST_AREA, _MOST_CHANGE = 0.005, 1.25  # of the object, in the picture and from frame to frame
_MOST_FRAMES = 1000  # what is kept in memory


@dataclass(frozen=True)
class _Example:
    """A sequence: truths (N, H, W), pictures (N, H, W, 3), and one kind of flow."""

    truths: NDArray[np.bool_]
    pictures: NDArray[np.uint8]
    flows: Mapping[int, NDArray[np.float16]]


@dataclass
class _Episode:
    """A mask on its way through a window of a sequence."""

    truths: NDArray[np.bool_]
    pictures: NDArray[np.uint8]
    flows: dict[int, NDArray[np.float32]]
    shown: float  # share of pictures
    mask: NDArray[np.float32]
    number: int = 0
    truth: NDArray[np.bool_] = field(default_factory=lambda: np.zeros((1, 1), np.bool_))

    def advance(self, random: np.random.Generator) -> tuple[Carried, Tensor]:
        """Carries the mask to the next frame; what the network gets there."""
        self.number += 1
        flow = self.flows.get(self.number)
        if flow is None or random.random() < _KEY_STEPS:
            flow = bridge_flow(self.flows, self.number)
        carried = carry(self.mask, flow)
        self.truth = self.truths[self.number]
        return carried, refiner_input(carried, self.pictures[self.number] if random.random() < self.shown else None)

    @property
    def is_over(self) -> bool:
        return self.number + 1 >= len(self.truths) or not self.truths[self.number + 1].any()


def flows_in_streams(own: TaskEncoder) -> FlowsOf:
    """Flows as ssvc codes them, at the encoder's points in turn."""

    def flows(sequence: DavisSequence, clip: Clip, number: int) -> Mapping[int, NDArray[np.float32]]:
        with tempfile.TemporaryDirectory(prefix="ssvc-eval-") as folder:
            stream = own.write(clip, own.points[number % len(own.points)], Path(folder) / f"{sequence.name}.ssv")
            return {n: field.resampled(1).values for n, field in stream.flows().fields.items()}

    return flows


def train_refiner(
    sequences: Sequence[DavisSequence],
    path: Path,
    *,
    minutes: float,
    flows_of: FlowsOf | None = None,
    seed: int = 1,
    threads: int = 1,
    report: Callable[[str], None] = lambda _text: None,
) -> None:
    """Trains for so long and writes the network to path.

    Masks are carried through sequences by the network as it is, so it learns on the errors it makes. Flow is DIS
    flow between the pictures and, with flows_of, that of streams. Raises MediaError where no sequence has an object of
    some size.
    """
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    if threads:
        torch.set_num_threads(threads)
    examples = _examples(sequences, flows_of, random, report)
    network = MaskUNet()
    optimizer = torch.optim.AdamW(network.parameters(), lr=_RATE)
    episodes = [_begin(examples, random) for _ in range(_BATCH)]
    end, step, losses = time.monotonic() + 60 * minutes, 0, []
    while step == 0 or time.monotonic() < end:
        left = max(end - time.monotonic(), 0) / max(60 * minutes, 1e-9)
        for group in optimizer.param_groups:
            group["lr"] = _RATE * max(min(left * 2, 1.0), 0.02)
        losses.append(_step(network, optimizer, episodes, random))
        episodes = [_begin(examples, random) if episode.is_over else episode for episode in episodes]
        step += 1
        if step % 50 == 0:
            means = np.mean(losses[-50:], axis=0)
            report(f"step {step}: loss {means[0]:.4f}, J {100 * means[1]:.1f} % (not refined: {100 * means[2]:.1f} %)")
    save_refiner(network, path)


def _step(
    network: MaskUNet, optimizer: torch.optim.Optimizer, episodes: Sequence[_Episode], random: np.random.Generator
) -> tuple[float, float, float]:
    """One frame further in every episode. Returns the loss, and J with and without the network's change."""
    pairs = [episode.advance(random) for episode in episodes]
    x = torch.cat([x for _, x in pairs])
    logit = torch.cat([carried.logit() for carried, _ in pairs])
    truth = torch.from_numpy(np.stack([episode.truth for episode in episodes]).astype(np.float32))[:, None]
    change = network(F.avg_pool2d(x, SCALE))
    y = logit + F.interpolate(change, scale_factor=SCALE, mode="bilinear", align_corners=False)
    probability = torch.sigmoid(y)
    both, either = (probability * truth).sum((1, 2, 3)), (probability + truth).sum((1, 2, 3))
    entropy = F.binary_cross_entropy_with_logits(y, truth, weight=_weight(logit, truth))
    loss = entropy + (1 - (2 * both + 1) / (either + 1)).mean()
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimizer.step()
    for episode, refined in zip(episodes, probability.detach().numpy(), strict=True):
        episode.mask = refined[0]
    return float(loss.detach()), _overlap(y, truth), _overlap(logit, truth)


@torch.no_grad()
def _weight(logit: Tensor, truth: Tensor) -> Tensor:
    """Of each pixel, with mean 1: nearly all of it near the contour and where the carried mask is wrong."""
    side = 2 * _CONTOUR + 1
    near = F.max_pool2d(truth, side, 1, _CONTOUR) + F.max_pool2d(-truth, side, 1, _CONTOUR)
    weight = torch.maximum(near, ((logit >= 0) != (truth >= 0.5)).float()) + _ELSEWHERE
    return weight / weight.mean()


@torch.no_grad()
def _overlap(logit: Tensor, truth: Tensor) -> float:
    found, there = logit >= 0, truth >= 0.5
    both, either = (found & there).sum((1, 2, 3)), (found | there).sum((1, 2, 3))
    return float((both / either.clamp(min=1)).mean())


def _examples(
    sequences: Sequence[DavisSequence],
    flows_of: FlowsOf | None,
    random: np.random.Generator,
    report: Callable[[str], None],
) -> list[_Example]:
    """Sequences in any order, each with DIS flow or that of a stream, in turn."""
    examples: list[_Example] = []
    n_frames = 0
    for number in random.permutation(len(sequences)):
        sequence = sequences[number]
        clip = sequence.load()
        size = {"width": clip.format.width, "height": clip.format.height}
        truths = np.stack([sequence.truth(n, **size) for n in range(len(clip.frames))])
        if not _is_steady(truths):
            continue
        if flows_of is None or len(examples) % 3 == 0:
            frames = clip.frames
            flows = {n: dis_flow(frames[n], frames[n - 1]) for n in range(1, len(frames))}
        else:
            flows = flows_of(sequence, clip, len(examples))
        kept = {n: flow.astype(np.float16) for n, flow in flows.items()}
        examples.append(_Example(truths, np.stack([rgb_of(frame) for frame in clip.frames]), kept))
        n_frames += len(truths)
        if len(examples) % 10 == 0:
            report(f"{len(examples)} sequences")
        if n_frames > _MOST_FRAMES:
            break
    if not examples:
        raise MediaError("no two frames in a row with an object: there is nothing to train on")
    return examples


def _is_steady(truths: NDArray[np.bool_]) -> bool:
    """Whether the object is there all the time, and of nearly one size: labels that were guessed may jump."""
    areas = truths.mean((1, 2))
    if len(areas) < 2 or areas.min() < _LEAST_AREA:
        return False
    return float(np.abs(np.diff(np.log(areas))).max()) < np.log(_MOST_CHANGE)


def _begin(examples: Sequence[_Example], random: np.random.Generator) -> _Episode:
    """Somewhere in a sequence, in a window around a place on the object, seen as it is or in a mirror."""
    example = examples[random.integers(len(examples))]
    first = int(random.integers(max(len(example.truths) // 2, 1)))
    rows, columns = np.nonzero(example.truths[first])
    pick = random.integers(len(rows))
    height, width = example.truths.shape[1:]
    top = int(np.clip(rows[pick] - random.integers(_WINDOW), 0, max(height - _WINDOW, 0)))
    left = int(np.clip(columns[pick] - random.integers(_WINDOW), 0, max(width - _WINDOW, 0)))
    pad = ((0, max(_WINDOW - height, 0)), (0, max(_WINDOW - width, 0)))
    mirrored = random.random() < 0.5

    def window(values: NDArray, axis: int) -> NDArray:
        around = [(0, 0)] * values.ndim
        around[axis], around[axis + 1] = pad
        chosen = [slice(None)] * values.ndim
        chosen[axis], chosen[axis + 1] = slice(top, top + _WINDOW), slice(left, left + _WINDOW)
        values = np.pad(values[tuple(chosen)], around, mode="edge")
        return np.ascontiguousarray(np.flip(values, axis + 1) if mirrored else values)

    flows = {n - first: window(f, 1).astype(np.float32) for n, f in example.flows.items() if n > first}
    if mirrored:
        for flow in flows.values():
            flow[0] *= -1
    shown = random.choice([0.0, 1.0, _NOW_AND_THEN], p=[_HIDDEN, _SHOWN, 1 - _HIDDEN - _SHOWN])
    truths = window(example.truths[first:], 1)
    return _Episode(truths, window(example.pictures[first:], 1), flows, float(shown), truths[0].astype(np.float32))
