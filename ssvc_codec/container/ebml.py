"""EBML and Matroska as they are read (RFC 8794, RFC 9559): elements and tracks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

__all__ = ["Track", "find_tracks", "iter_elements", "read_element_header", "read_tracks"]

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
