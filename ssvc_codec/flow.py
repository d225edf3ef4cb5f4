"""Optical flow as the decoder gives it: its scales, Middlebury's .flo, and the usual colours."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from ssvc_codec.errors import MediaError

__all__ = [
    "FLOW_SCALES",
    "FlowField",
    "color_wheel",
    "default_flow_max",
    "flow_to_rgb",
    "from_flo",
    "resample_flow",
    "rotate_vectors",
    "to_flo",
]

FLOW_SCALES = (1, 2, 4, 8)

_FLO_MAGIC = b"PIEH"  # 202021.25 as a little-endian float32
_FLO_HEADER = struct.Struct("<4sii")
_FLO_UNKNOWN = 1e9  # larger components mean that the flow is not known there
_PICTURE_WIDTHS_AT_FULL_COLOR = 64
_BEYOND_RANGE = np.float32(0.75)  # brightness of vectors longer than the largest shown

# Colours between two of six hues, by how well the eye tells them apart (Baker et al. 2007).
_RY, _YG, _GC, _CB, _BM, _MR = 15, 6, 4, 11, 13, 6


@dataclass(frozen=True, slots=True)
class FlowField:
    """Where the pixels of a frame were in the frame before.

    values: (2, ceil(height / scale), ceil(width / scale)) float32. [0] is dx, to the right, [1] is dy, down; both in
    luma pixels of the full-size picture, whatever the scale. What is at (x, y) was at (x + dx, y + dy) before.
    Each vector stands at the centre of its scale x scale pixels.
    """

    values: NDArray[np.float32]
    width: int  # of the picture, in luma pixels
    height: int
    scale: int = 1  # 1, 2, 4 or 8
    pts: int | None = None
    duration: int = 0  # in units of time_base; 0 where unknown
    time_base: Fraction = Fraction(1, 25)
    frame_number: int = 0  # frames since the key frame, modulo 2^16

    def __post_init__(self) -> None:
        if self.scale not in FLOW_SCALES:
            raise ValueError(f"flow scale {self.scale}: 1, 2, 4 and 8 are supported")
        expected = (2, -(-self.height // self.scale), -(-self.width // self.scale))
        if self.values.shape != expected or self.values.dtype != np.float32:
            raise ValueError(f"flow is {self.values.shape} {self.values.dtype}, its size needs {expected} float32")

    @property
    def pts_seconds(self) -> float | None:
        """Presentation time of the frame in seconds."""
        return None if self.pts is None else float(self.pts * self.time_base)

    def resampled(self, scale: int) -> FlowField:
        """The field at another scale: see resample_flow. Raises ValueError."""
        if scale == self.scale:
            return self
        values = resample_flow(self.values, width=self.width, height=self.height, scale=self.scale, new_scale=scale)
        return replace(self, values=values, scale=scale)


def resample_flow(
    values: NDArray[np.float32], *, width: int, height: int, scale: int, new_scale: int
) -> NDArray[np.float32]:
    """Vectors at another scale, still in luma pixels of the full-size picture.

    values: (2, ceil(height / scale), ceil(width / scale)). Finer: bilinear between the centres of the blocks, and
    constant beyond the outermost centres. Coarser: the mean of the vectors that lie in each block.
    Returns (2, ceil(height / new_scale), ceil(width / new_scale)) float32. Raises ValueError for an unknown scale.
    """
    if scale not in FLOW_SCALES or new_scale not in FLOW_SCALES:
        raise ValueError(f"flow scales {scale} and {new_scale}: 1, 2, 4 and 8 are supported")
    for axis, side in ((1, height), (2, width)):
        if new_scale < scale:
            values = _interpolate(values, scale // new_scale, -(-side // new_scale), axis)
        elif new_scale > scale:
            values = _block_means(values, new_scale // scale, axis)
    return values


def _interpolate(values: NDArray[np.float32], factor: int, n_new: int, axis: int) -> NDArray[np.float32]:
    last = values.shape[axis] - 1
    at = np.clip((np.arange(n_new, dtype=np.float32) + np.float32(0.5)) / np.float32(factor) - np.float32(0.5), 0, last)
    before = at.astype(np.intp)
    weight = (at - before).reshape((-1, 1) if axis == 1 else (-1,))
    first, second = np.take(values, before, axis), np.take(values, np.minimum(before + 1, last), axis)
    second -= first
    second *= weight
    second += first
    return second


def _block_means(values: NDArray[np.float32], factor: int, axis: int) -> NDArray[np.float32]:
    side = values.shape[axis]
    starts = np.arange(0, side, factor)
    n_values = np.minimum(side - starts, factor).astype(np.float32)
    return np.add.reduceat(values, starts, axis) / n_values.reshape((-1, 1) if axis == 1 else (-1,))


def rotate_vectors(values: NDArray[np.float32], degrees: int) -> NDArray[np.float32]:
    """Vectors (2, H, W) as they point once their picture is turned counter-clockwise by 0, 90, 180 or 270 degrees.

    The places stay where they are. Raises ValueError for other angles.
    """
    dx, dy = values
    match degrees:
        case 0:
            return values
        case 90:
            return np.stack((dy, -dx))
        case 180:
            return -values
        case 270:
            return np.stack((-dy, dx))
    raise ValueError(f"rotation {degrees}: 0, 90, 180 and 270 are supported")


def to_flo(values: NDArray[np.float32]) -> bytes:
    """Vectors (2, H, W) as a Middlebury .flo file: magic, int32 width and height, then float32 dx, dy row by row."""
    _, height, width = values.shape
    return _FLO_HEADER.pack(_FLO_MAGIC, width, height) + values.transpose(1, 2, 0).astype("<f4").tobytes()


def from_flo(data: bytes) -> NDArray[np.float32]:
    """The vectors (2, H, W) of a .flo file. Raises MediaError where data is none."""
    if data[:4] != _FLO_MAGIC or len(data) < _FLO_HEADER.size:
        raise MediaError("no .flo data: it does not begin with PIEH and a size")
    _, width, height = _FLO_HEADER.unpack_from(data)
    if width < 1 or height < 1 or len(data) != _FLO_HEADER.size + 8 * width * height:
        raise MediaError(f".flo data of {width}x{height} vectors cannot have {len(data)} bytes")
    vectors = np.frombuffer(data, "<f4", offset=_FLO_HEADER.size).reshape(height, width, 2)
    return np.ascontiguousarray(vectors.transpose(2, 0, 1), np.float32)


def color_wheel() -> NDArray[np.uint8]:
    """The 55 colours (55, 3) RGB of the usual wheel, from red through yellow, green, cyan, blue and magenta.

    Baker et al., "A Database and Evaluation Methodology for Optical Flow", ICCV 2007, and its program flow-code.
    """
    wheel = np.zeros((_RY + _YG + _GC + _CB + _BM + _MR, 3), np.uint8)
    begin = 0
    # Between two hues one channel stays full while another rises or falls.
    for n_colors, full, moving, is_rising in (
        (_RY, 0, 1, True),
        (_YG, 1, 0, False),
        (_GC, 1, 2, True),
        (_CB, 2, 1, False),
        (_BM, 2, 0, True),
        (_MR, 0, 2, False),
    ):
        ramp = 255 * np.arange(n_colors) // n_colors
        wheel[begin : begin + n_colors, full] = 255
        wheel[begin : begin + n_colors, moving] = ramp if is_rising else 255 - ramp
        begin += n_colors
    return wheel


def default_flow_max(*, width: int, height: int) -> float:
    """The length of vector, in luma pixels, that gets full colour unless the user says otherwise.

    One 64th of the picture's longer side: 30 for 1920x1080, 6.5 for 416x240.
    """
    return max(width, height) / _PICTURE_WIDTHS_AT_FULL_COLOR


def flow_to_rgb(values: NDArray[np.float32], *, max_pixels: float) -> NDArray[np.uint8]:
    """Vectors (2, H, W) in the usual colours, as the program flow-code paints them: (H, W, 3) RGB.

    Hue is the direction (red: to the right), saturation the length: white stands still, full colour is max_pixels.
    Longer vectors are darker by a quarter, unknown ones (beyond 1e9, or not a number) black.
    """
    if not max_pixels > 0:
        raise ValueError(f"max_pixels {max_pixels}: must be above 0")
    known = np.all(np.abs(values) <= _FLO_UNKNOWN, axis=0)
    dx, dy = np.where(known, values, np.float32(0)) / np.float32(max_pixels)
    length = np.hypot(dx, dy)
    wheel = color_wheel().astype(np.float32)
    dx += 0  # -0 becomes +0: both point the same way
    dy += 0
    place = (np.arctan2(-dy, -dx) / np.float32(np.pi) + np.float32(1)) * np.float32((len(wheel) - 1) / 2)
    before = np.minimum(place.astype(np.intp), len(wheel) - 1)
    steps = np.roll(wheel, -1, 0) - wheel
    color = wheel[before] + (place - before)[..., None] * steps[before]
    inside = 255 - length[..., None] * (255 - color)
    color = np.where(length[..., None] <= 1, inside, color * _BEYOND_RANGE)
    return np.where(known[..., None], color, 0).astype(np.uint8)
