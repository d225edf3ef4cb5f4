"""Labelled pictures for training the object parser.

A shard (safetensors) holds `samples` uint8, the planar YUV 4:2:0 pictures one after
another; `index`, one row a picture: offset, height, width, first box, number of
boxes; and `boxes` float32, one row a box: class id, score, x, y, width, height in
luma samples. Sources are in the metadata. Heights and widths are even.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

__all__ = ["LabelledPicture", "LabelledShardWriter", "is_held_out", "read_labelled", "yuv_to_rgb"]

HELD_OUT_OF = 16  # one source in so many is for validation

# H.273 matrix 6 (BT.601), limited range: what small WebP and H.264 files mostly are.
YUV_TO_RGB = ((1.164384, 0.0, 1.596027), (1.164384, -0.391762, -0.812968), (1.164384, 2.017232, 0.0))


class LabelledPicture(NamedTuple):
    """One picture and what a teacher saw in it. y: (H, W); u, v: (H/2, W/2) uint8; boxes: (n, 6)."""

    y: Tensor
    u: Tensor
    v: Tensor
    boxes: Tensor  # class id, score, x, y, width, height; float32, on the CPU
    source: str


def is_held_out(source: str) -> bool:
    """Whether a source is for validation: a fixed share, whole videos at a time ("file@frame")."""
    return zlib.crc32(source.split("@")[0].encode()) % HELD_OUT_OF == 0


def yuv_to_rgb(yuv: Tensor) -> Tensor:
    """(N, 3, H, W) in 0..255, BT.601 limited range, to RGB in 0..1, clipped."""
    matrix = torch.tensor(YUV_TO_RGB, device=yuv.device, dtype=yuv.dtype) / 255
    offset = torch.tensor((16.0, 128.0, 128.0), device=yuv.device, dtype=yuv.dtype)
    bias = -(matrix @ offset)
    return torch.nn.functional.conv2d(yuv, matrix[:, :, None, None], bias).clamp_(0, 1)


@dataclass
class LabelledShardWriter:
    """Collects labelled pictures and writes a shard whenever the next would exceed the size."""

    folder: Path
    prefix: str = "parser"
    shard_mib: float = 46.0

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.n_shards = self.n_pictures = self.n_boxes = 0
        self._start()

    def _start(self) -> None:
        self._samples: list[np.ndarray] = []
        self._rows: list[tuple[int, int, int, int, int]] = []
        self._boxes: list[np.ndarray] = []
        self._sources: list[str] = []
        self._size = self._first = 0

    def add(self, planes: tuple[np.ndarray, np.ndarray, np.ndarray], boxes: np.ndarray, source: str) -> None:
        """Adds a picture. planes: (y, u, v) uint8 of even size; boxes: (n, 6) as in LabelledPicture."""
        height, width = planes[0].shape
        flat = np.concatenate([plane.reshape(-1) for plane in planes])
        if self._rows and self._size + flat.size > self.shard_mib * 2**20:
            self.flush()
        self._rows.append((self._size, height, width, self._first, len(boxes)))
        self._samples.append(flat)
        self._boxes.append(boxes.astype(np.float32).reshape(-1, 6))
        self._sources.append(source)
        self._size += flat.size
        self._first += len(boxes)
        self.n_pictures += 1
        self.n_boxes += len(boxes)

    def flush(self) -> None:
        """Writes what is collected."""
        if not self._rows:
            return
        tensors = {
            "samples": torch.from_numpy(np.concatenate(self._samples)),
            "index": torch.tensor(self._rows, dtype=torch.int64),
            "boxes": torch.from_numpy(np.concatenate(self._boxes)),
        }
        path = self.folder / f"{self.prefix}-{self.n_shards:04d}.safetensors"
        save_file(tensors, path, metadata={"sources": json.dumps(self._sources)})
        self.n_shards += 1
        self._start()


def read_labelled(folder: Path, *, device: str = "cpu") -> Iterator[LabelledPicture]:
    """Every picture of every shard below a folder, as views of resident memory, in name order."""
    for path in sorted(folder.glob("**/*.safetensors")):
        with safe_open(path, framework="pt", device="cpu") as shard:
            samples, index, boxes = (shard.get_tensor(name) for name in ("samples", "index", "boxes"))
            sources = json.loads((shard.metadata() or {}).get("sources", "[]"))
        samples = samples.to(device)
        for source, (offset, height, width, first, n) in zip(sources, index.tolist(), strict=True):
            luma, chroma = height * width, (height // 2) * (width // 2)
            block = samples[offset : offset + luma + 2 * chroma]
            yield LabelledPicture(
                block[:luma].view(height, width),
                block[luma : luma + chroma].view(height // 2, width // 2),
                block[luma + chroma :].view(height // 2, width // 2),
                boxes[first : first + n],
                source,
            )
