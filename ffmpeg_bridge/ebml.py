"""The little of EBML and Matroska (RFC 8794, RFC 9559) that libavformat does not write for us.

libavformat writes and reads the files; this module builds the header that serves as a template.
What reads is in ssvc_codec.container, and can be had from here too.
"""

from __future__ import annotations

import struct
from fractions import Fraction

from ssvc_codec.container.ebml import (
    CLUSTER,
    CODEC_ID,
    CODEC_PRIVATE,
    DEFAULT_DURATION,
    DISPLAY_HEIGHT,
    DISPLAY_UNIT,
    DISPLAY_WIDTH,
    EBML,
    INFO,
    NAME,
    SEGMENT,
    TRACK_ENTRY,
    TRACK_TYPE,
    TRACKS,
    UNKNOWN_SIZE,
    VIDEO,
    VOID,
    Track,
    find_tracks,
    iter_elements,
    read_element_header,
    read_tracks,
)
from ssvc_codec.frame import VideoFormat

__all__ = [
    "CLUSTER",
    "CODEC_ID",
    "CODEC_PRIVATE",
    "DEFAULT_DURATION",
    "DISPLAY_HEIGHT",
    "DISPLAY_UNIT",
    "DISPLAY_WIDTH",
    "EBML",
    "INFO",
    "NAME",
    "SEGMENT",
    "TRACKS",
    "TRACK_ENTRY",
    "TRACK_TYPE",
    "UNKNOWN_SIZE",
    "VIDEO",
    "VOID",
    "Track",
    "element",
    "find_tracks",
    "iter_elements",
    "read_element_header",
    "read_tracks",
    "template_header",
    "void",
]

_EBML_HEADER = ((0x4286, 1), (0x42F7, 1), (0x42F2, 4), (0x42F3, 8), (0x4282, "matroska"), (0x4287, 4), (0x4285, 2))
_CHROMA_SITING = {1: (1, 2), 2: (2, 2), 3: (1, 1), 4: (2, 1)}  # H.273 location + 1 -> ChromaSitingHorz, Vert


def element(element_id: int, payload: int | float | str | bytes) -> bytes:
    """One element with the shortest size field. Integers are unsigned, floats 64 bit."""
    if isinstance(payload, int):
        payload = payload.to_bytes(max(1, (payload.bit_length() + 7) // 8), "big")
    elif isinstance(payload, float):
        payload = struct.pack(">d", payload)
    elif isinstance(payload, str):
        payload = payload.encode()
    size = len(payload)
    n_bytes = next(n for n in range(1, 9) if size < (1 << 7 * n) - 1)
    id_bytes = element_id.to_bytes((element_id.bit_length() + 7) // 8, "big")
    return id_bytes + (size | 1 << 7 * n_bytes).to_bytes(n_bytes, "big") + payload


def void(n_bytes: int) -> bytes:
    """Padding of exactly n_bytes bytes (2 or more), which readers skip."""
    if n_bytes < 2:
        raise ValueError(f"an EBML Void takes 2 bytes or more, not {n_bytes}")
    if n_bytes <= 128:
        return bytes([VOID, 0x80 | n_bytes - 2]) + bytes(n_bytes - 2)
    return bytes([VOID]) + (n_bytes - 9 | 1 << 56).to_bytes(8, "big") + bytes(n_bytes - 9)


def template_header(video: VideoFormat, *, codec_id: str, codec_private: bytes, rate: Fraction | None) -> bytes:
    """A Matroska file of one video track and one empty frame, for libavformat to copy the track from."""
    color = video.color
    colour = b""
    if (color.primaries, color.transfer, color.matrix, color.full_range) != (2, 2, 2, False):
        colour += element(0x55B1, color.matrix) + element(0x55BA, color.transfer) + element(0x55BB, color.primaries)
        colour += element(0x55B9, 2 if color.full_range else 1)
    if color.chroma_location in _CHROMA_SITING:
        horizontal, vertical = _CHROMA_SITING[color.chroma_location]
        colour += element(0x55B7, horizontal) + element(0x55B8, vertical)
    picture = element(0xB0, video.width) + element(0xBA, video.height)
    picture += element(0x55B0, colour) if colour else b""
    if video.rotation:
        roll = float(video.rotation if video.rotation <= 180 else video.rotation - 360)
        picture += element(0x7670, element(0x7671, 0) + element(0x7675, roll))
    entry = element(0xD7, 1) + element(0x73C5, 1) + element(TRACK_TYPE, 1) + element(CODEC_ID, codec_id)
    entry += element(CODEC_PRIVATE, codec_private)
    entry += element(DEFAULT_DURATION, round(10**9 / rate)) if rate else b""
    entry += element(VIDEO, picture)
    info = element(INFO, element(0x2AD7B1, 10**6) + element(0x4D80, "ssvc") + element(0x5741, "ssvc"))
    cluster = element(CLUSTER, element(0xE7, 0) + element(0xA3, b"\x81\0\0\x80" + bytes(8)))
    body = info + element(TRACKS, element(TRACK_ENTRY, entry)) + cluster
    return element(EBML, b"".join(element(i, value) for i, value in _EBML_HEADER)) + element(SEGMENT, body)
