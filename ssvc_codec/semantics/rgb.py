"""Frames as RGB pictures of any size, as networks want them."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from ssvc_codec.frame import Color, Frame, Plane, VideoFormat

__all__ = ["frame_to_rgb", "yuv_to_rgb_matrix"]

_BT709, _BT470BG, _SMPTE170M, _YCGCO, _IDENTITY, _DERIVED = 1, 5, 6, 8, 0, 12
_LUMA_WEIGHTS = {  # (K_R, K_B) of H.273 table 4
    _BT709: (0.2126, 0.0722),
    4: (0.30, 0.11),
    _BT470BG: (0.299, 0.114),
    _SMPTE170M: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
    10: (0.2627, 0.0593),
}
_MATRIX_OF_PRIMARIES = {1: 1, 4: 4, 5: 5, 6: 6, 7: 7, 9: 9}


def frame_to_rgb(frame: Frame, *, width: int, height: int) -> NDArray[np.uint8]:
    """A frame as (height, width, 3) RGB in 0..255, whatever its own size; rotation is not applied.

    Shrinks by a triangle filter over all pixels covered, enlarges bilinearly. The matrix and range are those of the
    frame's colour; an unspecified matrix is BT.709 from 1280 pixels of width or 577 of height, else BT.601. Chroma is
    taken to lie amid its four pixels, and the transfer is left as it is. Raises ValueError for a side below 1.
    """
    if width < 1 or height < 1:
        raise ValueError(f"picture size {width}x{height}: both sides must be 1 or more")
    yuv = np.stack([_resized(plane, width=width, height=height) for plane in (frame.y, frame.u, frame.v)])
    matrix, offset = yuv_to_rgb_matrix(frame.format)
    rgb = matrix @ yuv.reshape(3, -1)
    rgb += (offset + np.float32(0.5))[:, None]
    np.clip(rgb, 0, 255, out=rgb)
    return np.moveaxis(rgb.astype(np.uint8).reshape(3, height, width), 0, 2)


def _resized(plane: Plane, *, width: int, height: int) -> NDArray[np.float32]:
    samples = plane.astype(np.float32)
    if samples.shape == (height, width):
        return samples
    resized = F.interpolate(torch.from_numpy(samples)[None, None], (height, width), mode="bilinear", antialias=True)
    return resized[0, 0].numpy()


@lru_cache(maxsize=8)
def yuv_to_rgb_matrix(video: VideoFormat) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The matrix (3, 3) and offset (3,) that bring sample values to RGB in 0..255 (H.273, 8.3).

    Matrices that are no such sum (constant luminance, ICtCp) are treated as unspecified.
    """
    code = _matrix_code(video.color, is_large=video.width >= 1280 or video.height > 576)
    full, unit = video.color.full_range, float(1 << (video.bit_depth - 8))
    peak = unit * 256 - 1  # the largest sample value
    y_zero, y_span = (0.0, peak) if full else (16 * unit, 219 * unit)
    c_zero, c_span = 128 * unit, peak if full else 224 * unit
    if code == _IDENTITY:  # planes are G, B, R, all with the range of luma
        matrix, zeros = np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]]) * 255 / y_span, np.full(3, y_zero)
    else:
        scales = np.array([255 / y_span, 255 / c_span, 255 / c_span])
        matrix, zeros = _weights(code) * scales, np.array([y_zero, c_zero, c_zero])
    return matrix.astype(np.float32), (-matrix @ zeros).astype(np.float32)


def _matrix_code(color: Color, *, is_large: bool) -> int:
    code = color.matrix
    if code == _DERIVED:
        code = _MATRIX_OF_PRIMARIES.get(color.primaries, code)
    if code in _LUMA_WEIGHTS or code in (_YCGCO, _IDENTITY):
        return code
    return _BT709 if is_large else _SMPTE170M


def _weights(code: int) -> NDArray[np.float64]:
    """R, G and B from luma in 0..1 and two chroma values in -0.5..0.5."""
    if code == _YCGCO:
        return np.array([[1.0, -1, 1], [1, 1, 0], [1, -1, -1]])
    k_r, k_b = _LUMA_WEIGHTS[code]
    k_g = 1 - k_r - k_b
    to_b, to_r = 2 * (1 - k_b), 2 * (1 - k_r)
    return np.array([[1, 0, to_r], [1, -to_b * k_b / k_g, -to_r * k_r / k_g], [1, to_b, 0]])
