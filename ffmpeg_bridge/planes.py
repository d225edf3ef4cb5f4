"""Frames between FFmpeg's memory and ours."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from ffmpeg_bridge.color import apply_color
from ssvc_codec.errors import MediaError
from ssvc_codec.frame import Color, Frame, VideoFormat

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

__all__ = ["PixelConverter", "from_av", "read_planes", "to_av"]

_DIRECT = {"yuv420p": 8, "yuvj420p": 8, "yuv420p10le": 10}
_BT709, _SMPTE170M = 1, 6


def read_planes(picture: VideoFrame, video: VideoFormat) -> list[np.ndarray]:
    """Copies of the three planes without the padding at the end of each line."""
    planes: list[np.ndarray] = []
    for index, plane in enumerate(picture.planes[:3]):
        height, width = (video.height, video.width) if index == 0 else (video.chroma_height, video.chroma_width)
        samples = np.frombuffer(memoryview(plane), video.dtype)  # pyright: ignore[reportArgumentType]
        stride = abs(plane.line_size) // video.dtype.itemsize
        rows = np.lib.stride_tricks.as_strided(samples, (height, width), (stride * samples.itemsize, samples.itemsize))
        planes.append(rows.copy())
    return planes


class PixelConverter:
    """Brings every picture to planar 4:2:0 of one size; formats that are 4:2:0 already pass untouched."""

    def __init__(self, first: VideoFrame, *, base: VideoFormat) -> None:
        """base: all but bit depth and matrix, which follow from the pixel format of the first picture."""
        self.note = ""
        self._name = first.format.name
        self._size = (first.width, first.height)
        self._reformatter: VideoReformatter | None = None
        depth = _DIRECT.get(self._name)
        color = base.color
        if depth is None:
            depth = 10 if max(component.bits for component in first.format.components) > 8 else 8
            color = _converted_color(first, base.color)
            self._reformatter = VideoReformatter()
            self.note = f"converting {self._name} to {_pixel_format(depth)}"
        self.format = replace(base, bit_depth=depth, color=color)

    def convert(self, picture: VideoFrame, *, pts: int, duration: int, time_base: Fraction) -> Frame:
        """One picture. Raises MediaError where its size differs from the first one's."""
        if (picture.width, picture.height) != self._size:
            raise MediaError(
                f"the picture size changes from {self._size[0]}x{self._size[1]} to "
                f"{picture.width}x{picture.height} at {float(pts * time_base):.3f} s: encode the parts one by one"
            )
        if self._reformatter is not None or picture.format.name != self._name:
            picture = self._reformat(picture)
        y, u, v = read_planes(picture, self.format)
        return Frame(y, u, v, self.format, pts=pts, duration=duration, time_base=time_base)

    def _reformat(self, picture: VideoFrame) -> VideoFrame:
        reformatter = self._reformatter = self._reformatter or VideoReformatter()
        color = self.format.color
        is_rgb = picture.format.is_rgb
        matrix = color.matrix if color.matrix != 2 else 2
        source_range = 2 if is_rgb or color.full_range else 1
        return reformatter.reformat(
            picture,
            format=_pixel_format(self.format.bit_depth),
            src_colorspace=None if is_rgb or matrix == 2 else matrix,
            dst_colorspace=None if matrix == 2 else matrix,
            src_color_range=source_range,
            dst_color_range=2 if color.full_range else 1,
        )


def _pixel_format(depth: int) -> str:
    return "yuv420p" if depth == 8 else "yuv420p10le"


def _converted_color(picture: VideoFrame, color: Color) -> Color:
    """What a picture of another pixel format declares after conversion."""
    if not picture.format.is_rgb:
        return color
    is_large = picture.width >= 1280 or picture.height > 576
    return replace(color, matrix=_BT709 if is_large else _SMPTE170M, full_range=False)


def from_av(picture: VideoFrame, video: VideoFormat, *, pts: int | None = None) -> Frame:
    """A picture that is planar 4:2:0 already."""
    y, u, v = read_planes(picture, video)
    return Frame(y, u, v, video, pts=pts)


def to_av(frame: Frame) -> VideoFrame:
    """A picture for FFmpeg's encoders, with pts, time base and colour."""
    video = frame.format
    picture = av.VideoFrame(video.width, video.height, _pixel_format(video.bit_depth))
    for plane, samples in zip(picture.planes, (frame.y, frame.u, frame.v), strict=True):
        target = np.frombuffer(memoryview(plane), video.dtype)  # pyright: ignore[reportArgumentType]
        stride = plane.line_size // video.dtype.itemsize
        height, width = samples.shape
        lines = np.lib.stride_tricks.as_strided(target, (height, width), (stride * target.itemsize, target.itemsize))
        lines[:] = samples
    picture.pts = frame.pts
    picture.time_base = frame.time_base
    apply_color(picture, video.color)
    return picture
