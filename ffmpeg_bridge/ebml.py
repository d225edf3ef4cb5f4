"""The little of EBML and Matroska (RFC 8794, RFC 9559) that libavformat does not give us.

libavformat writes and reads the files; this module builds the header that serves
as a template, reads the track list back, and tells whether a file ends whole.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from ssvc_codec.frame import VideoFormat

__all__ = ["Track", "element", "iter_elements", "read_tracks", "template_header", "void"]

EBML = 0x1A45DFA3
SEGMENT = 0x18538067
CLUSTER = 0x1F43B675
INFO = 0x1549A966
TRACKS = 0x1654AE6B
TRACK_ENTRY = 0xAE
TRACK_TYPE = 0x83
CODEC_ID = 0x86
CODEC_PRIVATE = 0x63A2
DEFAULT_DURATION = 0x23E383
NAME = 0x536E
VIDEO = 0xE0
DISPLAY_WIDTH, DISPLAY_HEIGHT, DISPLAY_UNIT = 0x54B0, 0x54BA, 0x54B2
VOID = 0xEC

UNKNOWN_SIZE = -1
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


def _read_vint(data: bytes, position: int, *, keep_marker: bool) -> tuple[int, int] | None:
    """The variable-size integer at position and the position after it, or None if data ends first."""
    if position >= len(data):
        return None
    first = data[position]
    n_bytes = 9 - first.bit_length()
    end = position + n_bytes
    if n_bytes > 8:
        raise ValueError("not EBML: an element starts with a zero byte")
    if end > len(data):
        return None
    value = int.from_bytes(data[position:end], "big")
    if keep_marker:
        return value, end
    value &= (1 << 7 * n_bytes) - 1
    return (UNKNOWN_SIZE if value == (1 << 7 * n_bytes) - 1 else value), end


def read_element_header(data: bytes, position: int) -> tuple[int, int, int] | None:
    """(id, payload size or UNKNOWN_SIZE, payload position), or None if data ends before."""
    head = _read_vint(data, position, keep_marker=True)
    size = None if head is None else _read_vint(data, head[1], keep_marker=False)
    if head is None or size is None:
        return None
    return head[0], size[0], size[1]


def iter_elements(data: bytes, start: int = 0, end: int | None = None) -> Iterator[tuple[int, int, int, int]]:
    """(id, element start, payload start, payload end) of each whole element in data[start:end]."""
    end = len(data) if end is None else end
    while start < end:
        header = read_element_header(data, start)
        if header is None or header[1] == UNKNOWN_SIZE or header[2] + header[1] > end:
            return
        yield header[0], start, header[2], header[2] + header[1]
        start = header[2] + header[1]


def find_tracks(head: bytes) -> tuple[int, int] | None:
    """Payload range of the Tracks element in the first bytes of a file; None if it is not whole yet.

    Raises ValueError if head is no Matroska or its clusters begin before any Tracks.
    """
    if head[:4] != EBML.to_bytes(4, "big")[: len(head)]:
        raise ValueError("not Matroska")
    position = 0
    while (header := read_element_header(head, position)) is not None:
        element_id, size, payload = header
        if element_id == CLUSTER or (size == UNKNOWN_SIZE and element_id != SEGMENT):
            raise ValueError("no track list before the first cluster")
        if element_id == TRACKS:
            return (payload, payload + size) if payload + size <= len(head) else None
        position = payload if element_id == SEGMENT else payload + size
    return None


@dataclass(frozen=True, slots=True)
class Track:
    """The fields of a TrackEntry that the bridge reads itself."""

    track_type: int  # 1 is video
    codec_id: str
    codec_private: bytes
    default_duration_ns: int  # 0 where unknown

    @property
    def fourcc(self) -> bytes:
        """The FourCC of a V_MS/VFW/FOURCC track, else empty."""
        return self.codec_private[16:20] if self.codec_id == "V_MS/VFW/FOURCC" else b""

    @property
    def rate(self) -> Fraction | None:
        """Frames a second: the simplest of the usual fractions that gives the stored duration."""
        if not self.default_duration_ns:
            return None
        exact = Fraction(10**9, self.default_duration_ns)
        for denominator in (1, 1001):
            usual = Fraction(round(exact * denominator), denominator)
            if abs(1 / usual * 10**9 - self.default_duration_ns) <= 1:
                return usual
        return exact.limit_denominator(30000)


def read_tracks(head: bytes) -> list[Track] | None:
    """All tracks, or None while head is too short to hold them. Raises ValueError: no Matroska."""
    tracks_range = find_tracks(head)
    if tracks_range is None:
        return None
    tracks: list[Track] = []
    for entry_id, _, start, end in iter_elements(head, *tracks_range):
        if entry_id == TRACK_ENTRY:
            fields = {field_id: head[a:b] for field_id, _, a, b in iter_elements(head, start, end)}
            tracks.append(
                Track(
                    track_type=int.from_bytes(fields.get(TRACK_TYPE, b""), "big"),
                    codec_id=fields.get(CODEC_ID, b"").rstrip(b"\0").decode("ascii", "replace"),
                    codec_private=fields.get(CODEC_PRIVATE, b""),
                    default_duration_ns=int.from_bytes(fields.get(DEFAULT_DURATION, b""), "big"),
                )
            )
    return tracks


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
