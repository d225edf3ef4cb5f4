"""Whether a Matroska file ends whole: libavformat does not tell a cut from an end."""

from __future__ import annotations

from typing import Protocol

from ffmpeg_bridge import ebml

__all__ = ["StructureScan", "has_damaged_cluster", "scan_file"]


class StructureScan:
    """Follows the elements of a Matroska file fed in pieces, to tell at its end whether one was cut.

    Works on pipes: nothing is kept but the unread part of one element header.
    """

    def __init__(self) -> None:
        self._pending = b""
        self._skip = 0
        self._position = 0
        self._segment_end: int | None = None
        self._lost = False

    @property
    def skip(self) -> int:
        """Bytes ahead that need not be fed: a file may be read on from there, see skipped()."""
        return self._skip

    def skipped(self, n_bytes: int) -> None:
        """Takes note that n_bytes were passed over without being fed."""
        self._skip -= n_bytes
        self._position += n_bytes

    def feed(self, data: bytes) -> None:
        """Takes the next bytes of the file."""
        if self._lost:
            return
        data = self._pending + data
        position = 0
        while not self._lost:
            step = min(self._skip, len(data) - position)
            self.skipped(step)
            position += step
            try:
                header = ebml.read_element_header(data, position) if not self._skip else None
            except ValueError:
                self._lost = True
                return
            if header is None:
                break
            element_id, size, payload = header
            self._position += payload - position
            if element_id == ebml.SEGMENT and size != ebml.UNKNOWN_SIZE:
                self._segment_end = self._position + size
            if element_id != ebml.SEGMENT and not (element_id == ebml.CLUSTER and size == ebml.UNKNOWN_SIZE):
                self._lost = size == ebml.UNKNOWN_SIZE
                self._skip = max(size, 0)
            position = payload
        self._pending = data[position:]

    @property
    def is_whole(self) -> bool:
        """True if the file may end here: between two elements, and not before its declared size.

        Bytes that are no EBML count as damage, not as a cut.
        """
        if self._lost:
            return True
        at_border = self._skip == 0 and not self._pending
        return at_border and (self._segment_end is None or self._position >= self._segment_end)


class _Seekable(Protocol):
    def read(self, n_bytes: int, /) -> bytes: ...
    def seek(self, offset: int, whence: int = 0, /) -> int: ...
    def tell(self) -> int: ...


def scan_file(file: _Seekable) -> StructureScan:
    """Walks a file from element to element, reading little of it, and leaves its position as it was."""
    scan = StructureScan()
    place = file.tell()
    size = file.seek(0, 2)
    position = file.seek(0)
    while position < size:
        data = file.read(64)
        scan.feed(data)
        skip = min(scan.skip, size - position - len(data))
        scan.skipped(skip)
        position = file.seek(position + len(data) + skip)
    file.seek(place)
    return scan


_SMALL_CHILDREN = {0xE7, 0xAB, 0xA7, 0xBF}  # numbers: at most 8 bytes
_BLOCK_GROUP, _SIMPLE_BLOCK, _TRACK_NUMBER = 0xA0, 0xA3, 0xD7
_LACING, _INVISIBLE = 0x06, 0x08
_VIDEO = 1


def has_damaged_cluster(file: _Seekable) -> bool:
    """True if a cluster holds what no muxer writes: libavformat passes over it without a word.

    Elements must be of known kinds and fill their cluster, simple blocks must be of a known track and
    visible, those of video without lacing. Leaves the position of the file as it was.
    """
    place = file.tell()
    size = file.seek(0, 2)
    position = file.seek(0)
    damaged = False
    tracks: dict[int, int] = {}
    while position < size and not damaged:
        try:
            header = ebml.read_element_header(file.read(16), 0)
        except ValueError:
            header = None
        if header is None or header[1] == ebml.UNKNOWN_SIZE:
            break  # live files and what is no EBML: StructureScan's business
        element, n_bytes, start = header
        if element == ebml.CLUSTER:
            file.seek(position + start)
            damaged = not _is_sound(file.read(n_bytes), tracks)
        elif element == ebml.TRACKS:
            file.seek(position + start)
            tracks = _track_types(file.read(n_bytes))
        position = file.seek(position + start + (0 if element == ebml.SEGMENT else n_bytes))
    file.seek(place)
    return damaged


def _track_types(payload: bytes) -> dict[int, int]:
    """TrackType by TrackNumber, of the tracks whose number takes one byte in a block."""
    types: dict[int, int] = {}
    for element, _, start, end in ebml.iter_elements(payload):
        if element == ebml.TRACK_ENTRY:
            children = {key: payload[first:last] for key, _, first, last in ebml.iter_elements(payload, start, end)}
            number, kind = (int.from_bytes(children.get(key, b"")) for key in (_TRACK_NUMBER, ebml.TRACK_TYPE))
            types[number] = kind
    return {number: kind for number, kind in types.items() if 0 < number < 127}


def _is_sound(cluster: bytes, tracks: dict[int, int]) -> bool:
    end = 0
    try:
        for element, _, start, stop in ebml.iter_elements(cluster):
            end = stop
            if element == _SIMPLE_BLOCK:
                if stop - start < 4 or not _is_possible(cluster[start] & 0x7F, cluster[start + 3], tracks):
                    return False
            elif element in _SMALL_CHILDREN:
                if stop - start > 8:
                    return False
            elif element not in (_BLOCK_GROUP, ebml.VOID):
                return False
    except ValueError:
        return False
    return end == len(cluster)


def _is_possible(track: int, flags: int, tracks: dict[int, int]) -> bool:
    """Whether a simple block can have such a track number and such flags."""
    if flags & _INVISIBLE or (tracks and track not in tracks):
        return False
    return not flags & _LACING or tracks.get(track, _VIDEO) != _VIDEO
