"""Train a small classifier on the flow and boxes of .ssv files, without decoding a picture.

    python examples/train_on_ssv.py                          # on clips that it makes itself
    python examples/train_on_ssv.py walk/*.ssv run/*.ssv     # the folder of a file is its class

Every clip becomes a two-stream network's flow stack of 5 frames and a few numbers on how its boxes move. The clips made
here show a thing that goes left, right, up or down before a still background, with a box around it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ffmpeg_bridge.writer import SsvWriter
from ssvc_codec import Encoder, Frame, SceneObject, VideoFormat
from ssvc_codec.bitstream import SequenceHeader, build_codec_private
from ssvc_codec.dataset import Sample, SsvIterable

FLOW_SIZE, N_FRAMES, N_BOX_NUMBERS = (16, 24), 6, 4
DIRECTIONS = {"left": (-3, 0), "right": (3, 0), "up": (0, -3), "down": (0, 3)}
WIDTH, HEIGHT, SIDE, RATE = 192, 128, 48, Fraction(25)


def make_clip(path: Path, direction: str, seed: int, n_frames: int = 2 * N_FRAMES) -> None:
    """Writes an .ssv in GoPs of 6: a textured square that moves."""
    random = np.random.default_rng(seed)
    video, (dx, dy) = VideoFormat(WIDTH, HEIGHT), DIRECTIONS[direction]
    background = smooth(random.uniform(60, 180, (HEIGHT, WIDTH)))
    thing = smooth(random.uniform(30, 230, (SIDE, SIDE)))
    chroma = np.full((HEIGHT // 2, WIDTH // 2), 128, np.uint8)
    left, top = (WIDTH - SIDE - dx * n_frames) // 2, (HEIGHT - SIDE - dy * n_frames) // 2
    encoder = Encoder(video, time_base=1 / RATE, crf=30, keyint=N_FRAMES, scenecut=False, preset="fast", device="cpu")
    packets = []
    for k in range(n_frames):
        x, y = left + dx * k, top + dy * k
        luma = background.copy()
        luma[y : y + SIDE, x : x + SIDE] = thing
        box = SceneObject(track_id=1, class_id=2, score=255, x=x, y=y, width=SIDE, height=SIDE)
        frame = Frame(luma.astype(np.uint8), chroma, chroma, video, pts=k, duration=1, time_base=1 / RATE)
        packets += encoder.send(frame, objects=[box])
    private = build_codec_private(SequenceHeader.from_bytes(encoder.sequence_header))
    with SsvWriter(path, format=video, time_base=1 / RATE, average_rate=RATE, codec_private=private) as writer:
        for packet in packets:
            writer.write(packet)


def smooth(noise: np.ndarray) -> np.ndarray:
    """Noise with blobs of a few pixels."""
    blurred = np.mean([np.roll(noise, (a, b), (0, 1)) for a in range(-2, 3) for b in range(-2, 3)], axis=0)
    return np.clip((blurred - blurred.mean()) * 4 + noise.mean(), 20, 235)


def features(sample: Sample[Tensor]) -> tuple[Tensor, Tensor, int]:
    """The flow stack (10, 16, 24), the mean step and growth of the boxes (4,), and the class."""
    assert sample.boxes is not None
    xywh, tracks, frames = sample.boxes.xywh.float(), sample.boxes.track_ids, sample.boxes.frames
    steps = [
        (own[-1] - own[0]) / (when[-1] - when[0])
        for track in tracks.unique()
        if len(own := xywh[tracks == track]) > 1
        for when in (frames[tracks == track],)
    ]
    moved = torch.stack(steps).mean(0) if steps else torch.zeros(N_BOX_NUMBERS)
    return sample.flow_stack / 4, moved / 4, sample.label


class Classifier(nn.Module):
    """A small convolutional network on flow, joined by the numbers on boxes."""

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self.flow = nn.Sequential(
            nn.Conv2d(2 * (N_FRAMES - 1), 16, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        self.head = nn.Linear(32 + N_BOX_NUMBERS, n_classes)

    def forward(self, flow: Tensor, boxes: Tensor) -> Tensor:
        """flow: (B, 10, 16, 24); boxes: (B, 4). Returns (B, classes)."""
        return self.head(torch.cat([self.flow(flow), boxes], dim=1))


def open_loader(paths: Sequence[Path], labels: Sequence[int], *, shuffle: bool, workers: int) -> DataLoader[object]:
    """Batches of (flow, boxes, class)."""
    data = SsvIterable(
        paths,
        labels=labels,
        transform=features,
        parts={"flow", "boxes"},
        n_frames=N_FRAMES,
        flow_size=FLOW_SIZE,
        shuffle=shuffle,
        seed=1,
    )
    return DataLoader(data, batch_size=8, num_workers=workers)


def accuracy(model: Classifier, loader: DataLoader[object]) -> float:
    """Share of clips that are told right."""
    right = [(model(flow, boxes).argmax(1) == label) for flow, boxes, label in loader]  # type: ignore[misc]
    return float(torch.cat(right).float().mean())


def main(arguments: Sequence[str] | None = None) -> float:
    """Trains, and gives the accuracy on files that were not trained on."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--clips", type=int, default=6, help="made of each class where no files are given")
    parser.add_argument("--workers", type=int, default=0)
    options = parser.parse_args(arguments)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        files = list(options.files)
        if not files:
            for direction in DIRECTIONS:
                (Path(folder) / direction).mkdir()
                for k in range(options.clips):
                    files.append(Path(folder) / direction / f"{k}.ssv")
                    make_clip(files[-1], direction, seed=k)
        classes = sorted({path.parent.name for path in files})
        labels = [classes.index(path.parent.name) for path in files]
        split = [sum(label == other for other in labels[:k]) % 3 == 2 for k, label in enumerate(labels)]  # every third
        train, test = ([(f, n) for f, n, held in zip(files, labels, split, strict=True) if held == h] for h in (0, 1))
        loaders = [
            open_loader([f for f, _ in part], [n for _, n in part], shuffle=part is train, workers=options.workers)
            for part in (train, test)
        ]
        model = Classifier(len(classes))
        optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
        for epoch in range(options.epochs):
            start = time.perf_counter()
            loaders[0].dataset.set_epoch(epoch)  # type: ignore[attr-defined]
            losses: list[float] = []
            for flow, boxes, label in loaders[0]:  # type: ignore[misc]
                loss = nn.functional.cross_entropy(model(flow, boxes), label)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                losses.append(float(loss.detach()))
            seconds = time.perf_counter() - start
            print(f"epoch {epoch}: loss {np.mean(losses):.3f}, {seconds:.1f} s", file=sys.stderr)
        with torch.no_grad():
            score = accuracy(model, loaders[1])
    print(f"{len(classes)} classes ({', '.join(classes)}): {score:.0%} of the clips held out are told right")
    return score


if __name__ == "__main__":
    main()
