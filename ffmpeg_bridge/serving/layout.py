"""The virtual file: which byte of the decoded Matroska is what. Nothing is decoded to know it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ffmpeg_bridge import ebml
from ffmpeg_bridge.serving.head import build_head, sized
from ssvc_codec.frame import Color, VideoFormat

if TYPE_CHECKING:
    from ffmpeg_bridge.serving.part import Part
    from ffmpeg_bridge.serving.source import SsvSource

__all__ = ["VirtualFile", "cluster_starts", "flow_format"]

_SIMPLE_BLOCK, _BLOCK_GROUP, _BLOCK = 0xA3, 0xA0, 0xA1
_CLUSTER_HEAD_BYTES = 22  # id, size in 8 bytes, Timestamp in 8 bytes
_BLOCK_HEAD_BYTES = 13  # id, size in 8 bytes, track, 16-bit time, flags
_MAX_RELATIVE = 32767
_READ_BYTES = 1 << 20
_BT709 = Color(primaries=1, transfer=1, matrix=1, chroma_location=2)

Piece = bytes | memoryview


def flow_format(video: VideoFormat) -> VideoFormat:
    """Of pictures of the flow of `video`, as flow_video draws them."""
    return VideoFormat(
        video.width,
        video.height,
        color=_BT709,
        rotation=video.rotation,
        sample_aspect_ratio=video.sample_aspect_ratio,
    )


class VirtualFile:
    """A Matroska file of raw video with everything else of an .ssv, whose bytes are made when they are asked for."""

    def __init__(self, source: SsvSource, part: Part) -> None:
        """Lays the file out. Raises MediaError."""
        self._source = source
        video = source.sequence_header.format
        self.format = flow_format(video) if part.flow else video
        self.frames = part.wanted(source.is_key)  # numbers in the source
        samples = video.width * video.height + 2 * video.chroma_width * video.chroma_height
        self.frame_bytes = samples * self.format.dtype.itemsize
        rows, number = self._rows()
        self._rows_kept, self._number = rows, number
        times = np.maximum(source.times[rows], 0)
        sizes = np.frombuffer(source.blocks.size, np.int64)[rows]
        sizes = np.where(np.frombuffer(source.blocks.lace, np.uint8)[rows] > 0, sizes + _BLOCK_HEAD_BYTES, sizes)
        sizes = np.where(number >= 0, self.frame_bytes + _BLOCK_HEAD_BYTES, sizes)
        self._first = cluster_starts(number >= 0, times)
        self._base = times[self._first]
        cluster_sizes = np.add.reduceat(sizes, self._first) + _CLUSTER_HEAD_BYTES
        self._ends = np.cumsum(cluster_sizes)  # of clusters, counted from the first
        of_frame = np.searchsorted(self._first, np.flatnonzero(number >= 0), side="right") - 1
        self._head = build_head(
            source,
            self.format,
            duration_ms=self._duration(rows, times),
            times=times[number >= 0],
            clusters=(self._ends - cluster_sizes)[of_frame],
            n_cluster_bytes=int(self._ends[-1]),
        )
        self._head_bytes = sum(piece.size for piece in self._head)
        self.size = self._head_bytes + int(self._ends[-1])

    def _rows(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows of the source's blocks that are kept, and of each the place in self.frames, or -1."""
        source = self._source
        keep = ~source.is_video
        place = np.full(len(keep), -1, np.int64)
        wanted = source.video_rows[self.frames]
        keep[wanted] = True
        place[wanted] = np.arange(len(wanted))
        known = np.array([track.number for track in source.tracks], np.uint16)
        keep &= np.isin(np.frombuffer(source.blocks.track, np.uint16), known)
        rows = np.flatnonzero(keep)
        return rows, place[rows]

    def _duration(self, rows: NDArray[np.int64], times: NDArray[np.int64]) -> float:
        numbers = np.frombuffer(self._source.blocks.track, np.uint16)[rows]
        ends = [
            float(times[numbers == track.number].max()) + track.track.default_duration_ns / 1e6
            for track in self._source.tracks
            if (numbers == track.number).any()
        ]
        return max(ends)

    def pieces(self, start: int, stop: int, frame: Callable[[int], bytes]) -> Iterator[Piece]:
        """Bytes start to stop, one after the other. frame: gives the samples of a place in self.frames.

        A frame is asked for only when it is its turn. Raises MediaError where the source has changed.
        """
        position = 0
        for piece in self._head:
            first, last = max(start - position, 0), min(stop - position, piece.size)
            if first < last and piece.data is not None:
                yield memoryview(piece.data)[first:last]
            elif first < last:
                yield from self._from_source(piece.source_start + first, last - first)
            position += piece.size
        if stop > self._head_bytes:
            yield from self._clusters(max(start - self._head_bytes, 0), stop - self._head_bytes, frame)

    def _from_source(self, start: int, size: int) -> Iterator[bytes]:
        for offset in range(0, size, _READ_BYTES):
            yield self._source.read(start + offset, min(_READ_BYTES, size - offset))

    def _clusters(self, start: int, stop: int, frame: Callable[[int], bytes]) -> Iterator[Piece]:
        """The same, counted from the first cluster."""
        cluster = int(np.searchsorted(self._ends, start, side="right"))
        while cluster < len(self._ends) and (position := self._start_of(cluster)) < stop:
            size = int(self._ends[cluster]) - position
            base = int(self._base[cluster])
            head = sized(ebml.CLUSTER, size - 12) + b"\xe7\x88" + base.to_bytes(8, "big")
            if position + len(head) > start:
                yield memoryview(head)[max(start - position, 0) : stop - position]
            position += len(head)
            last = int(self._first[cluster + 1]) if cluster + 1 < len(self._first) else len(self._rows_kept)
            for index in range(int(self._first[cluster]), last):
                if position >= stop:
                    return
                size = self._block_size(index)
                if position + size > start:
                    cut = slice(max(start - position, 0), stop - position)
                    if self._number[index] >= 0:
                        yield from self._frame(index, base, cut, frame)
                    else:
                        yield self._copy(index, base, cut)
                position += size
            cluster += 1

    def _start_of(self, cluster: int) -> int:
        return int(self._ends[cluster - 1]) if cluster else 0

    def _block_size(self, index: int) -> int:
        if self._number[index] >= 0:
            return _BLOCK_HEAD_BYTES + self.frame_bytes
        row, blocks = self._rows_kept[index], self._source.blocks
        return blocks.size[row] + (_BLOCK_HEAD_BYTES if blocks.lace[row] else 0)

    def _relative(self, index: int, base: int) -> bytes:
        time = max(int(self._source.times[self._rows_kept[index]]), 0)
        return (time - base).to_bytes(2, "big", signed=True)

    def _block_head(self, index: int, n_bytes: int, base: int) -> bytes:
        track = self._source.blocks.track[self._rows_kept[index]]
        return sized(_SIMPLE_BLOCK, n_bytes + 4) + bytes([0x80 | track]) + self._relative(index, base) + b"\x80"

    def _frame(self, index: int, base: int, cut: slice, frame: Callable[[int], bytes]) -> Iterator[Piece]:
        head = self._block_head(index, self.frame_bytes, base)
        if cut.start < len(head):
            yield memoryview(head)[cut]
        if cut.stop > len(head):
            samples = frame(int(self._number[index]))
            yield memoryview(samples)[max(cut.start - len(head), 0) : cut.stop - len(head)]

    def _copy(self, index: int, base: int, cut: slice) -> Piece:
        """A block of another track, at its new time."""
        row = self._rows_kept[index]
        blocks = self._source.blocks
        data = self._source.read(blocks.start[row], blocks.size[row])
        if blocks.lace[row]:
            return memoryview(self._block_head(index, len(data), base) + data)[cut]
        place = _time_place(data)
        return memoryview(data[:place] + self._relative(index, base) + data[place + 2 :])[cut]


def cluster_starts(is_frame: NDArray[np.bool_], times: NDArray[np.int64]) -> NDArray[np.int64]:
    """Indexes of the blocks that begin a cluster: each frame, and where a block's 16-bit time would not suffice."""
    begins = is_frame.copy()
    begins[0] = True
    while True:
        first = np.flatnonzero(begins)
        lengths = np.diff(first, append=len(times))
        too_far = np.abs(times - np.repeat(times[first], lengths)) > _MAX_RELATIVE
        if not too_far.any():
            return first
        cluster = np.repeat(np.arange(len(first)), lengths)[too_far]
        begins[np.flatnonzero(too_far)[np.unique(cluster, return_index=True)[1]]] = True


def _time_place(element: bytes) -> int:
    """Where the 16-bit time stands in a SimpleBlock, or in the Block of a BlockGroup."""
    for found, _, start, end in ebml.iter_elements(element):
        if found == _BLOCK_GROUP:
            inner = next(a for i, _, a, _ in ebml.iter_elements(element, start, end) if i == _BLOCK)
            return inner + 9 - element[inner].bit_length()
        return start + 9 - element[start].bit_length()
    raise AssertionError("the walk found a block here")
