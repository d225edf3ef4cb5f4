"""An .ssv as a loader needs it: where each coded frame lies and when it is shown. Nothing stays open."""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bitstream import FOURCC, ParsedPacket, SequenceHeader, parse_codec_private, parse_packet
from ..container import ebml
from ..container.tracks import SourceTrack, read_source_tracks
from ..container.walk import FileWindow, walk
from ..errors import BitstreamError, LimitError, MediaError, TruncatedError
from ..packet import Packet

__all__ = ["OpenFile", "SsvFile"]

HEAD_BYTES = 2048  # holds nearly every packet's head
MAX_TRACKS_BYTES = 1 << 26
TIMESTAMP_SCALE = 0x2AD7B1


@dataclass(slots=True)
class OpenFile:
    """An .ssv open for reading."""

    file: SsvFile
    descriptor: int
    n_bytes_read: int = 0

    def read(self, number: int, n_bytes: int | None = None) -> bytes:
        """The coded frame of a number, or its first bytes. Raises MediaError where the file has become shorter."""
        size = int(self.file.sizes[number])
        if self.file.track.compression is not None:
            n_bytes = None
        wanted = size if n_bytes is None else min(n_bytes, size)
        try:
            data = os.pread(self.descriptor, wanted, int(self.file.starts[number]))
        except OSError as error:
            raise MediaError(f"cannot read {self.file.path}: {error.strerror}") from error
        if len(data) < wanted:
            raise MediaError(f"{self.file.path} has become shorter since it was indexed")
        self.n_bytes_read += wanted
        return self.file.track.unpack(data)

    def packet(self, number: int) -> Packet:
        """A whole coded frame."""
        return Packet(self.read(number), None, bool(self.file.is_key[number]))

    def head(self, number: int) -> ParsedPacket:
        """Its head: objects and directory. Raises BitstreamError, LimitError."""
        n_bytes = HEAD_BYTES
        while True:
            data = self.read(number, n_bytes)
            try:
                return parse_packet(data, partial=True)
            except TruncatedError:
                if len(data) < n_bytes:
                    raise
                n_bytes *= 8

    def parsed_up_to(self, number: int, wanted: Callable[[int], bool]) -> ParsedPacket:
        """The packet as far as its last substream of a wanted kind. Raises BitstreamError, LimitError."""
        head = self.head(number)
        ends = [entry.offset + entry.coded_size for entry in head.entries if wanted(entry.kind)]
        end = max(ends, default=head.head_length)
        return replace(head, data=head.data[:end] if end <= len(head.data) else memoryview(self.read(number, end)))


@dataclass(frozen=True, eq=False)
class SsvFile:
    """Index of one .ssv. Holds no open file, so it can be pickled."""

    path: Path
    header: SequenceHeader = field(init=False)
    track: SourceTrack = field(init=False)
    starts: NDArray[np.int64] = field(init=False)  # (frames,) where each coded frame begins
    sizes: NDArray[np.int64] = field(init=False)  # (frames,) bytes
    is_key: NDArray[np.bool_] = field(init=False)  # (frames,)
    seconds: NDArray[np.float64] = field(init=False)  # (frames,)

    def __post_init__(self) -> None:
        """Raises MediaError: the file cannot be read, or holds no SSVC video that begins with a key frame."""
        object.__setattr__(self, "path", Path(self.path))
        with self._descriptor() as descriptor:
            values = self._index(FileWindow(descriptor))
            for name, value in values.items():
                object.__setattr__(self, name, value)
            object.__setattr__(self, "header", self._find_header(descriptor))

    @contextmanager
    def _descriptor(self) -> Iterator[int]:
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise MediaError(f"cannot open {self.path}: {error.strerror}") from error
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    @contextmanager
    def open(self) -> Iterator[OpenFile]:
        """The file open for reading. Raises MediaError."""
        with self._descriptor() as descriptor:
            yield OpenFile(self, descriptor)

    def _index(self, window: FileWindow) -> dict[str, Any]:
        try:
            start, end = _find_segment(window)
            track = _find_track(window, start, end)
            blocks, elements = walk(window, start=start, end=end, video_track=track.number)
            info = b"".join(window.peek(first, size) for kind, first, size in elements if kind == ebml.INFO)
        except ValueError as error:
            raise MediaError(f"{self.path}: {error}") from error
        except OSError as error:
            raise MediaError(f"cannot read {self.path}: {error.strerror}") from error
        rows = np.flatnonzero(_column(blocks.track, np.uint16) == track.number)
        is_key = _column(blocks.is_key, np.uint8)[rows] > 0
        if not is_key.any():
            raise MediaError(f"{self.path} holds no key frames")
        rows = rows[int(is_key.argmax()) :]
        starts, sizes, ticks = (_column(c, np.int64)[rows] for c in (blocks.start, blocks.size, blocks.ticks))
        return {
            "track": track,
            "starts": starts,
            "sizes": sizes,
            "is_key": is_key[int(is_key.argmax()) :],
            "seconds": ticks * (_tick_ns(info) * 1e-9),
        }

    def _find_header(self, descriptor: int) -> SequenceHeader:
        """What CodecPrivate says, else the first key frames."""
        try:
            return parse_codec_private(self.track.track.codec_private)
        except (BitstreamError, LimitError) as error:
            reason = error
        opened = OpenFile(self, descriptor)
        for number in np.flatnonzero(self.is_key)[:100]:
            try:
                found = opened.head(int(number)).sequence_header
            except (BitstreamError, LimitError):
                continue
            if found is not None:
                return found
        raise MediaError(f"{self.path}: the size of its pictures cannot be told: {reason}") from reason

    @property
    def n_frames(self) -> int:
        """Coded frames, from the first key frame on."""
        return len(self.starts)

    @property
    def gop_starts(self) -> NDArray[np.int64]:
        """(GoPs,) number of each key frame."""
        return np.flatnonzero(self.is_key)


def _column(values: array[int], dtype: type[np.integer]) -> NDArray[np.integer]:
    return np.frombuffer(values, dtype) if len(values) else np.zeros(0, dtype)


def _tick_ns(info: bytes) -> int:
    """Nanoseconds in a tick of the file, from its Info element."""
    fields = {element: info[start:end] for element, _, start, end in ebml.iter_elements(info)}
    return int.from_bytes(fields[TIMESTAMP_SCALE], "big") if TIMESTAMP_SCALE in fields else 10**6


def _find_segment(window: FileWindow) -> tuple[int, int]:
    """Where the payload of the Segment begins and ends. Raises ValueError."""
    head = window.header(0) if window.size else None
    segment = window.header(head[2] + head[1]) if head is not None and head[0] == ebml.EBML else None
    if segment is None or segment[0] != ebml.SEGMENT:
        raise ValueError("it is no .ssv file" if window.size else "it is empty")
    _, size, start = segment
    return start, window.size if size == ebml.UNKNOWN_SIZE else min(start + size, window.size)


def _find_track(window: FileWindow, position: int, end: int) -> SourceTrack:
    """The SSVC track. Raises ValueError."""
    while position < end and (header := window.header(position)) is not None:
        element, size, start = header
        if element == ebml.TRACKS and 0 <= size < MAX_TRACKS_BYTES:
            tracks = read_source_tracks(window.peek(start, size))
            video = next((track for track in tracks if track.fourcc == FOURCC), None)
            if video is None:
                raise ValueError("it holds no SSVC video")
            return video
        if size == ebml.UNKNOWN_SIZE or element == ebml.CLUSTER:
            break
        position = start + size
    raise ValueError("it holds no list of tracks before its first frame")
