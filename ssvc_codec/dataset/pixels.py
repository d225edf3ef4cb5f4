"""Decoded pictures as RGB of the size that is asked for."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from ..frame import Frame, VideoFormat
from ..latents import ReducedPicture
from ..semantics.rgb import frame_to_rgb, yuv_to_rgb_matrix
from .request import Size

__all__ = ["crop", "frame_pixels", "reduced_pixels", "resize_flow", "to_bytes"]

Pixels = NDArray[np.float32]  # (3, H, W) RGB in 0..255 and somewhat beyond


def frame_pixels(frame: Frame, size: Size | None) -> NDArray[np.uint8]:
    """(3, H, W) RGB; size: None for the frame's own."""
    height, width = size or (frame.format.height, frame.format.width)
    return np.ascontiguousarray(np.moveaxis(frame_to_rgb(frame, width=width, height=height), 2, 0))


def reduced_pixels(picture: ReducedPicture, video: VideoFormat) -> Pixels:
    """RGB at the picture's scale; mid grey where nothing was decoded."""
    matrix, offset = yuv_to_rgb_matrix(video)
    yuv = np.nan_to_num(picture.values.reshape(3, -1), nan=(2**video.bit_depth - 1) / 2)
    return (matrix @ yuv + offset[:, None]).reshape(picture.values.shape)


def to_bytes(pixels: Pixels, size: Size | None) -> NDArray[np.uint8]:
    """Rounded, of a size: see resize."""
    return np.clip(_resized(pixels, size) + np.float32(0.5), 0, 255).astype(np.uint8)


def crop(pixels: Pixels | NDArray[np.uint8], box: NDArray[np.int64], scale: float, size: Size) -> NDArray[np.uint8]:
    """What is in a box, (3, h, w). box: x, y, width and height at `scale` times the sides of the pixels."""
    x, y, width, height = (value / scale for value in box.tolist())
    top, left = min(int(y), pixels.shape[1] - 1), min(int(x), pixels.shape[2] - 1)
    bottom, right = max(-int(-(y + height) // 1), top + 1), max(-int(-(x + width) // 1), left + 1)
    return to_bytes(pixels[:, top:bottom, left:right].astype(np.float32), size)


def resize_flow(values: NDArray[np.float32], size: Size | None) -> NDArray[np.float32]:
    """Flow (2, h, w) at another size; vectors stay what they are."""
    return np.ascontiguousarray(_resized(values, size))


def _resized(values: NDArray[np.float32], size: Size | None) -> NDArray[np.float32]:
    """A triangle filter over all that is covered; bilinear where it is enlarged."""
    if size is None or values.shape[1:] == size:
        return values
    tensor = torch.from_numpy(np.ascontiguousarray(values))[None]
    return F.interpolate(tensor, size, mode="bilinear", antialias=True)[0].numpy()
