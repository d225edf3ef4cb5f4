"""Walks an .ssv from element to element: which block lies where. Payloads are not read."""

from __future__ import annotations

import os
from array import array
from dataclasses import dataclass, field

from . import ebml
from .lacing import lace_sizes

__all__ = ["BlockIndex", "FileWindow", "walk"]

CHAPTERS, TAGS, ATTACHMENTS, CUES, SEEK_HEAD = 0x1043A770, 0x1254C367, 0x1941A469, 0x1C53BB6B, 0x114D9B74
_CRC32 = 0xBF
_KEPT = (ebml.INFO, ebml.TRACKS, CHAPTERS, TAGS, ATTACHMENTS)
_LEVEL_1 = frozenset({*_KEPT, ebml.CLUSTER, CUES, SEEK_HEAD})
_FILLING = frozenset({ebml.VOID, _CRC32})
_CLUSTER_TIME, _BLOCK_GROUP, _BLOCK, _SIMPLE_BLOCK, _REFERENCE = 0xE7, 0xA0, 0xA1, 0xA3, 0xFB
_SMALL = frozenset({0xA7, 0xAB, *_FILLING})  # Position, PrevSize
_WINDOW_BYTES = 4096
_HEADER_BYTES = 16
_RESYNC_BYTES = 1 << 20


class FileWindow:
    """Small reads from a file at any place, without a call to the system for each."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._begin = 0
        self._data = b""
        self.size = os.fstat(descriptor).st_size

    def peek(self, position: int, n_bytes: int) -> bytes:
        """Up to n_bytes bytes from position; fewer where the file ends."""
        offset = position - self._begin
        if offset < 0 or offset + n_bytes > len(self._data):
            self._data = os.pread(self._descriptor, max(n_bytes, _WINDOW_BYTES), position)
            self._begin, offset = position, 0
        return self._data[offset : offset + n_bytes]

    def header(self, position: int) -> tuple[int, int, int] | None:
        """(id, payload size, payload position) of the element at position; None at the end. Raises ValueError."""
        found = ebml.read_element_header(self.peek(position, _HEADER_BYTES), 0)
        return None if found is None else (found[0], found[1], position + found[2])


@dataclass(slots=True)
class BlockIndex:
    """Every block in the order of the file, as columns. A laced block has a row for each frame."""

    video_track: int  # its number
    ticks: array[int] = field(default_factory=lambda: array("q"))  # in units of the file's timestamp scale
    start: array[int] = field(default_factory=lambda: array("q"))  # of video and laced frames; else of the element
    size: array[int] = field(default_factory=lambda: array("q"))  # bytes of that
    track: array[int] = field(default_factory=lambda: array("H"))
    is_key: array[int] = field(default_factory=lambda: array("B"))
    lace: array[int] = field(default_factory=lambda: array("B"))  # place in its lace from 1 on; 0: no lace

    def __len__(self) -> int:
        return len(self.ticks)

    def add(self, ticks: int, start: int, size: int, track: int, *, is_key: bool, lace: int = 0) -> None:
        """Adds a row."""
        self.ticks.append(ticks)
        self.start.append(start)
        self.size.append(size)
        self.track.append(track)
        self.is_key.append(is_key)
        self.lace.append(lace)


@dataclass(slots=True)
class _Walk:
    """One pass over a Segment."""

    window: FileWindow
    index: BlockIndex
    elements: list[tuple[int, int, int]]  # id, payload start, payload size: those of level 1 that matter

    def segment(self, position: int, end: int) -> None:
        """Everything in a Segment's payload."""
        while position < end:
            position = self._level_1(position, end)

    def _level_1(self, position: int, end: int) -> int:
        """The element at position. Returns where the next one begins."""
        try:
            header = self.window.header(position)
        except ValueError:
            return self._next_cluster(position + 1)
        if header is None:
            return end
        element, size, start = header
        if element in (ebml.EBML, ebml.SEGMENT):
            return end
        if element == ebml.CLUSTER:
            is_open = size == ebml.UNKNOWN_SIZE
            return self._cluster(start, end if is_open else min(start + size, end))
        if (element not in _LEVEL_1 and element not in _FILLING) or size == ebml.UNKNOWN_SIZE:
            return self._next_cluster(position + 1)
        if element in _KEPT and start + size <= end:
            self.elements.append((element, start, size))
        return start + size

    def _cluster(self, position: int, end: int) -> int:
        time = 0
        while position < end:
            try:
                header = self.window.header(position)
            except ValueError:
                return self._next_cluster(position)
            if header is None:
                return end
            element, size, start = header
            if element in _LEVEL_1 or element in (ebml.EBML, ebml.SEGMENT):
                return position  # the end of a cluster of unknown size
            if size == ebml.UNKNOWN_SIZE or start + size > end:
                return self._next_cluster(position + 1)
            if element == _CLUSTER_TIME:
                time = int.from_bytes(self.window.peek(start, size), "big")
            elif element == _SIMPLE_BLOCK:
                self._block(time, start, size, (position, start + size - position), is_key=None)
            elif element == _BLOCK_GROUP:
                self._group(time, start, start + size, position)
            elif element not in _SMALL:
                return self._next_cluster(position + 1)
            position = start + size
        return position

    def _group(self, time: int, position: int, end: int, whole: int) -> None:
        block: tuple[int, int] | None = None
        is_key = True
        try:
            for element, start, size in self._children(position, end):
                if element == _BLOCK:
                    block = start, size
                is_key = is_key and element != _REFERENCE
        except ValueError:
            return
        if block is not None:
            self._block(time, *block, (whole, end - whole), is_key=is_key)

    def _children(self, position: int, end: int) -> list[tuple[int, int, int]]:
        found: list[tuple[int, int, int]] = []
        while position < end:
            header = self.window.header(position)
            if header is None or header[1] == ebml.UNKNOWN_SIZE or header[2] + header[1] > end:
                raise ValueError("a block group is damaged")
            element, size, start = header
            found.append((element, start, size))
            position = start + size
        return found

    def _block(self, time: int, start: int, size: int, whole: tuple[int, int], *, is_key: bool | None) -> None:
        """A block's payload, and the (start, size) of its whole element. is_key: None if the block says it itself."""
        head = self.window.peek(start, 5)
        n_track = 9 - head[0].bit_length() if head and head[0] else 0
        if not 1 <= n_track <= 2 or len(head) < n_track + 3 or size < n_track + 3:
            return
        track = int.from_bytes(head[:n_track], "big") & ((1 << 7 * n_track) - 1)
        ticks = time + int.from_bytes(head[n_track : n_track + 2], "big", signed=True)
        flags = head[n_track + 2]
        is_key = bool(flags & 0x80) if is_key is None else is_key
        first, end = start + n_track + 3, start + size
        if not flags & 0x06 or n_track > 1:
            if track != self.index.video_track:
                self.index.add(ticks, *whole, track, is_key=is_key)
            elif first < end:
                self.index.add(ticks, first, end - first, track, is_key=is_key)
            return
        head_size, sizes = lace_sizes(self.window.peek(first, min(end - first, 4096)), flags, end - first)
        first += head_size
        for lace, n_bytes in enumerate(sizes[:255], 1):
            self.index.add(ticks, first, n_bytes, track, is_key=is_key, lace=lace)
            first += n_bytes

    def _next_cluster(self, position: int) -> int:
        """Where the next Cluster begins after damaged bytes; the end of the file where there is none."""
        mark = ebml.CLUSTER.to_bytes(4, "big")
        while position < self.window.size:
            found = self.window.peek(position, _RESYNC_BYTES).find(mark)
            if found >= 0:
                return position + found
            position += _RESYNC_BYTES - 3
        return self.window.size


def walk(
    window: FileWindow, *, start: int, end: int, video_track: int
) -> tuple[BlockIndex, list[tuple[int, int, int]]]:
    """Goes through a Segment whose payload is [start, end).

    Returns its blocks, and (id, payload start, payload size) of the other elements that matter.
    """
    state = _Walk(window, BlockIndex(video_track), [])
    state.segment(start, end)
    return state.index, state.elements
