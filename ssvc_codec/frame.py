"""Pictures and their format, as they go into the encoder and come out of the decoder."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

__all__ = ["Color", "Frame", "VideoFormat"]

Plane = NDArray[np.uint8] | NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class Color:
    """How samples map to light: code points of ITU-T H.273. 2 means unspecified."""

    primaries: int = 2
    transfer: int = 2
    matrix: int = 2
    full_range: bool = False
    chroma_location: int = 0  # H.273 Chroma420SampleLocType + 1; 0 means unspecified


@dataclass(frozen=True, slots=True)
class VideoFormat:
    """What all frames of a stream have in common. Always planar YUV 4:2:0."""

    width: int  # luma samples, before rotation
    height: int  # luma samples, before rotation
    bit_depth: int = 8  # 8 or 10
    color: Color = field(default_factory=Color)
    rotation: int = 0  # degrees counter-clockwise at display: 0, 90, 180 or 270
    sample_aspect_ratio: Fraction = Fraction(1)

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise ValueError(f"picture size {self.width}x{self.height}: both sides must be 1 or more")
        if self.bit_depth not in (8, 10):
            raise ValueError(f"bit depth {self.bit_depth}: 8 and 10 are supported")
        if self.rotation not in (0, 90, 180, 270):
            raise ValueError(f"rotation {self.rotation}: 0, 90, 180 and 270 are supported")

    @property
    def chroma_width(self) -> int:
        """Width of each chroma plane: half of luma, rounded up."""
        return (self.width + 1) // 2

    @property
    def chroma_height(self) -> int:
        """Height of each chroma plane: half of luma, rounded up."""
        return (self.height + 1) // 2

    @property
    def dtype(self) -> np.dtype[np.uint8] | np.dtype[np.uint16]:
        """Sample type of the planes: uint8 for 8 bits, uint16 for 10."""
        return np.dtype(np.uint8) if self.bit_depth == 8 else np.dtype(np.uint16)


@dataclass(frozen=True, slots=True)
class Frame:
    """One planar YUV 4:2:0 picture.

    y: (height, width), u and v: (chroma_height, chroma_width); uint8, or uint16
    holding 10-bit values. pts counts units of time_base; None where unknown.
    """

    y: Plane
    u: Plane
    v: Plane
    format: VideoFormat
    pts: int | None = None
    duration: int = 0  # in units of time_base; 0 where unknown
    time_base: Fraction = Fraction(1, 25)

    def __post_init__(self) -> None:
        expected = (self.format.height, self.format.width)
        chroma = (self.format.chroma_height, self.format.chroma_width)
        for name, plane, shape in (("y", self.y, expected), ("u", self.u, chroma), ("v", self.v, chroma)):
            if plane.shape != shape or plane.dtype != self.format.dtype:
                raise ValueError(
                    f"plane {name} is {plane.shape} {plane.dtype}, the format needs {shape} {self.format.dtype}"
                )

    @property
    def pts_seconds(self) -> float | None:
        """Presentation time in seconds."""
        return None if self.pts is None else float(self.pts * self.time_base)
