"""Colour and orientation between FFmpeg's fields and VideoFormat."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import av.logging

from ssvc_codec.frame import Color

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

__all__ = ["CHROMA_LOCATIONS", "apply_color", "chroma_location", "color_of", "rotation_of"]

CHROMA_LOCATIONS = ("unspecified", "left", "center", "topleft", "top", "bottomleft", "bottom")
"""FFmpeg's names, in the order of AVChromaLocation, which is H.273's type + 1."""

_RESERVED = frozenset({0, 3})
_LIMITED, _FULL = 1, 2  # AVColorRange


def _code_point(value: int) -> int:
    """An H.273 code point, with the reserved ones as unspecified."""
    return 2 if value in _RESERVED or not 0 <= value <= 255 else value


def color_of(frame: VideoFrame, *, location: int = 0) -> Color:
    """The colour a decoded frame declares. RGB frames have matrix 2 here: it is chosen when they are converted."""
    return Color(
        primaries=_code_point(int(frame.color_primaries)),
        transfer=_code_point(int(frame.color_trc)),
        matrix=_code_point(int(frame.colorspace)),
        full_range=int(frame.color_range) == _FULL or frame.format.name.startswith("yuvj"),
        chroma_location=location,
    )


def apply_color(target: VideoStream | VideoFrame, color: Color) -> None:
    """Sets primaries, transfer, matrix and range of an encoder's stream or of a frame."""
    specified = (color.primaries, color.transfer, color.matrix) != (2, 2, 2)
    target.color_primaries = color.primaries
    target.color_trc = color.transfer
    target.colorspace = color.matrix
    target.color_range = _FULL if color.full_range else _LIMITED if specified else 0


def chroma_location(container: InputContainer, stream_index: int) -> int:
    """Where chroma samples sit, as H.273's type + 1; 0 where unknown.

    PyAV has no attribute for it, but FFmpeg's own description of a stream names it:
    "Stream #0:0: Video: h264 (High), yuv420p(tv, bt709, left), ...".
    """
    level = av.logging.get_level()
    av.logging.set_level(av.logging.VERBOSE)
    av.logging.set_libav_level(av.logging.VERBOSE)
    try:
        description: str = container.dumps_format()  # pyright: ignore[reportAttributeAccessIssue]
    finally:
        av.logging.set_libav_level(av.logging.INFO)
        av.logging.set_level(level)
    match = re.search(rf"Stream #0:{stream_index}\b[^\n]*?Video:[^\n]*", description)
    words = re.findall(r"\(([^)]*)\)", match[0]) if match else []
    for word in (part.strip() for group in words for part in group.split(",")):
        if word in CHROMA_LOCATIONS:
            return CHROMA_LOCATIONS.index(word)
    return 0


def rotation_of(degrees: int) -> tuple[int, str]:
    """Rotation as 0, 90, 180 or 270 counter-clockwise, and a note where degrees is none of them."""
    nearest = round(degrees / 90) * 90 % 360
    note = "" if degrees % 90 == 0 else f"rotation by {degrees} degrees is stored as {nearest}"
    return nearest, note
