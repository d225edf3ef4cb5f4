"""Planes of any size and depth to network tensors and back."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..frame import Frame, Plane, VideoFormat
from ..nets.intra import merge_planes, split_planes

__all__ = ["CELL", "cell_grid", "frame_to_tensor", "tensor_to_planes"]

CELL = 32  # luma samples


def cell_grid(width: int, height: int) -> tuple[int, int]:
    """Rows and columns of 32x32 cells that cover a picture."""
    return -(-height // CELL), -(-width // CELL)


def _padded(plane: Plane, height: int, width: int, device: str) -> Tensor:
    missing = ((0, height - plane.shape[0]), (0, width - plane.shape[1]))
    full: NDArray[np.generic] = np.pad(plane, missing, mode="edge") if any(m[1] for m in missing) else plane
    samples = torch.from_numpy(np.array(full, order="C").view(np.int16 if full.itemsize == 2 else np.uint8))
    return samples.to(device)[None, None].float()


def frame_to_tensor(frame: Frame, device: str) -> Tensor:
    """(1, 96, H/8, W/8) float32 in -0.5..0.5, sides padded to whole cells by repeating the edge."""
    rows, columns = cell_grid(frame.format.width, frame.format.height)
    height, width = rows * CELL, columns * CELL
    y = _padded(frame.y, height, width, device)
    u = _padded(frame.u, height // 2, width // 2, device)
    v = _padded(frame.v, height // 2, width // 2, device)
    x = merge_planes(y, u, v) / (2**frame.format.bit_depth - 1) - 0.5
    return x.contiguous(memory_format=torch.channels_last)


def tensor_to_planes(x: Tensor, video: VideoFormat) -> tuple[Plane, Plane, Plane]:
    """Rounded, clipped and cropped samples. x: (1, 6, H/2, W/2), as nets.intra.to_half orders them."""
    peak = 2**video.bit_depth - 1
    samples = x.add(0.5).mul_(peak).add_(0.5).clamp_(0, peak)
    integers = samples.to(torch.uint8 if video.bit_depth == 8 else torch.int16)
    planes = [plane[0, 0].cpu().numpy() for plane in split_planes(integers)]
    y, u, v = planes if video.bit_depth == 8 else [plane.view(np.uint16) for plane in planes]
    half = (video.chroma_height, video.chroma_width)
    return y[: video.height, : video.width], u[: half[0], : half[1]], v[: half[0], : half[1]]
