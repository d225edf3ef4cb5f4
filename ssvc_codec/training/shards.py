"""Packed training data: uint8 planar YUV 4:2:0 pictures in safetensors shards.

A shard holds `samples`, all planes of all clips one after another, and `index`,
one row a clip: offset, frames, height, width. A clip's frames follow each other,
each as its Y, U and V planes. Heights and widths are even.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

__all__ = ["Clip", "ShardWriter", "read_shards", "split_pictures"]

HELD_OUT_STILLS = 10  # one of so many


class Clip(NamedTuple):
    """Consecutive frames of one source. y: (T, H, W); u, v: (T, H/2, W/2); uint8."""

    y: Tensor
    u: Tensor
    v: Tensor
    source: str


@dataclass
class ShardWriter:
    """Collects clips and writes a shard whenever the next would exceed the size."""

    folder: Path
    prefix: str = "shard"
    shard_mib: float = 48.0

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._samples: list[np.ndarray] = []
        self._rows: list[tuple[int, int, int, int]] = []
        self._sources: list[str] = []
        self._size = 0
        self.n_shards = 0
        self.n_clips = 0

    def add(self, frames: list[tuple[np.ndarray, np.ndarray, np.ndarray]], source: str) -> None:
        """Adds a clip. frames: (y, u, v) uint8 planes of one even size."""
        height, width = frames[0][0].shape
        flat = np.concatenate([plane.reshape(-1) for frame in frames for plane in frame])
        if self._rows and self._size + flat.size > self.shard_mib * 2**20:
            self.flush()
        self._rows.append((self._size, len(frames), height, width))
        self._samples.append(flat)
        self._sources.append(source)
        self._size += flat.size
        self.n_clips += 1

    def flush(self) -> None:
        """Writes what is collected."""
        if not self._rows:
            return
        path = self.folder / f"{self.prefix}-{self.n_shards:04d}.safetensors"
        tensors = {
            "samples": torch.from_numpy(np.concatenate(self._samples)),
            "index": torch.tensor(self._rows, dtype=torch.int64),
        }
        save_file(tensors, path, metadata={"sources": json.dumps(self._sources)})
        self._samples, self._rows, self._sources, self._size = [], [], [], 0
        self.n_shards += 1


def read_shards(folder: Path, *, device: str = "cpu") -> Iterator[Clip]:
    """Every clip of every shard below a folder, as views of resident memory, in name order."""
    for path in sorted(folder.glob("**/*.safetensors")):
        with safe_open(path, framework="pt", device=device) as shard:
            samples, index = shard.get_tensor("samples"), shard.get_tensor("index")
            sources = json.loads((shard.metadata() or {}).get("sources", "[]"))
        for row, (offset, frames, height, width) in enumerate(index.tolist()):
            luma, chroma = height * width, (height // 2) * (width // 2)
            block = samples[offset : offset + frames * (luma + 2 * chroma)].view(frames, -1)
            yield Clip(
                block[:, :luma].view(frames, height, width),
                block[:, luma : luma + chroma].view(frames, height // 2, width // 2),
                block[:, luma + chroma :].view(frames, height // 2, width // 2),
                sources[row] if row < len(sources) else path.name,
            )


def split_pictures(clips: Iterable[Clip]) -> tuple[list[Clip], list[Clip], list[Clip]]:
    """Held-out stills, stills to train on, and clips of videos, which are all to train on."""
    known = list(clips)
    stills = [clip for clip in known if clip.y.shape[0] == 1 and "@" not in clip.source]
    training = [clip for number, clip in enumerate(stills) if number % HELD_OUT_STILLS]
    return stills[::HELD_OUT_STILLS], training, [clip for clip in known if "@" in clip.source]
