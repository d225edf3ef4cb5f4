"""Section 8: limits, checked before anything is allocated."""

from __future__ import annotations

from typing import Final

from ssvc_codec.errors import LimitError

__all__ = [
    "CELL_LOG2",
    "MAX_CODED_PIXELS",
    "MAX_GROUPS",
    "MAX_HEADER_BODY_BYTES",
    "MAX_OBJECTS",
    "MAX_PACKET_BYTES",
    "MAX_SIDE",
    "MAX_SUBSTREAMS",
    "MAX_SUBSTREAM_BYTES",
    "check_limit",
    "check_picture_size",
    "coded_size",
]

CELL_LOG2: Final = 5  # grid cells of 32 x 32 luma samples
MAX_SIDE: Final = 16384
MAX_CODED_PIXELS: Final = 8192 * 4352
MAX_OBJECTS: Final = 256
MAX_GROUPS: Final = 255  # of objects; the background is one more
MAX_SUBSTREAMS: Final = 4096
MAX_SUBSTREAM_BYTES: Final = 1 << 28
MAX_PACKET_BYTES: Final = 1 << 30
MAX_HEADER_BODY_BYTES: Final = 65535


def check_limit(what: str, value: int, limit: int) -> int:
    """Return value; LimitError if it is above limit."""
    if value > limit:
        raise LimitError(f"{value} {what}, the limit is {limit} (bitstream.md 8)")
    return value


def coded_size(*, width: int, height: int) -> tuple[int, int]:
    """(height, width) of the coded picture: both rounded up to whole grid cells."""
    cell = 1 << CELL_LOG2
    return (height + cell - 1) // cell * cell, (width + cell - 1) // cell * cell


def check_picture_size(*, width: int, height: int) -> None:
    """LimitError if a side or the coded area is above its limit."""
    check_limit("luma samples wide", width, MAX_SIDE)
    check_limit("luma samples high", height, MAX_SIDE)
    coded_height, coded_width = coded_size(width=width, height=height)
    check_limit("luma samples in a coded picture", coded_height * coded_width, MAX_CODED_PIXELS)
