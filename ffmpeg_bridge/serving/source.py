"""An .ssv as it lies on the disk: its tracks, where each of its packets is, and when."""

from __future__ import annotations

import os
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ffmpeg_bridge import ebml
from ffmpeg_bridge.mux import FOURCC
from ffmpeg_bridge.serving.tags import timing_tags
from ffmpeg_bridge.timing import TimestampRestorer, Timing, nearest
from ssvc_codec.bitstream import SequenceHeader, parse_codec_private, parse_packet
from ssvc_codec.container.tracks import SourceTrack, read_source_tracks
from ssvc_codec.container.walk import FileWindow, walk
from ssvc_codec.errors import BitstreamError, LimitError, MediaError
from ssvc_codec.packet import Packet

__all__ = ["MS", "SsvSource"]

MS = Fraction(1, 1000)
_SCALE = 0x2AD7B1
_MAX_HEAD = 1 << 26
_MAX_TRACK = 126  # one byte in a block


@dataclass(frozen=True, slots=True)
class _Grid:
    """How a track's stored times become those that decoding to a pipe gives."""

    restorer: TimestampRestorer
    delay: int  # ms of codec delay, which a demuxer takes off and a muxer adds

    def time(self, stored: int) -> int:
        """In ms."""
        restored = self.restorer.restore(stored - self.delay)
        return nearest(restored * self.restorer.timing.time_base * 1000) + self.delay


class SsvSource:
    """One .ssv, open for reading at any place and by any thread. Its index is made when it is opened."""

    def __init__(self, path: str | Path) -> None:
        """Raises MediaError: the file cannot be read, or holds no SSVC video."""
        self.path = Path(path)
        self.name = str(path)
        try:
            self._descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise MediaError(f"cannot open {self.name}: {error.strerror}") from error
        try:
            self._read()
        except OSError as error:
            self.close()
            raise MediaError(f"cannot read {self.name}: {error.strerror}") from error
        except BaseException:
            self.close()
            raise

    def _read(self) -> None:
        window = FileWindow(self._descriptor)
        start, end = self._find_segment(window)
        self.tracks = self._find_tracks(window, start, end)
        video = next((track for track in self.tracks if track.fourcc == FOURCC), None)
        if video is None:
            raise MediaError(f"{self.name} holds no SSVC video")
        if video.number > _MAX_TRACK:
            raise MediaError(f"{self.name}: its video is track {video.number}: remux it, so that it has one below 127")
        self.video = video
        self.blocks, self.elements = walk(window, start=start, end=end, video_track=video.number)
        self.info = self.read_elements(ebml.INFO)
        self.is_video = np.frombuffer(self.blocks.track, np.uint16) == video.number
        self.video_rows: NDArray[np.int64] = np.flatnonzero(self.is_video)
        if not len(self.video_rows):
            raise MediaError(f"{self.name} holds no frames")
        self.is_key = np.frombuffer(self.blocks.is_key, np.uint8)[self.video_rows] > 0
        self.times = self._times()

    def _find_segment(self, window: FileWindow) -> tuple[int, int]:
        try:
            head = window.header(0)
            segment = window.header(head[2] + head[1]) if head is not None and head[0] == ebml.EBML else None
        except ValueError:
            segment = None
        if segment is None or segment[0] != ebml.SEGMENT:
            raise MediaError(f"{self.name} is {'no .ssv file' if window.size else 'empty'}")
        size, start = segment[1:]
        return start, window.size if size == ebml.UNKNOWN_SIZE else min(start + size, window.size)

    def _find_tracks(self, window: FileWindow, position: int, end: int) -> list[SourceTrack]:
        try:
            while position < end and (header := window.header(position)) is not None:
                element, size, start = header
                if element == ebml.TRACKS and 0 <= size < _MAX_HEAD:
                    return read_source_tracks(self.read(start, size))
                if size == ebml.UNKNOWN_SIZE or element == ebml.CLUSTER:
                    break
                position = start + size
        except ValueError:
            pass
        raise MediaError(f"{self.name} holds no list of tracks before its first frame")

    def read(self, start: int, size: int) -> bytes:
        """Bytes of the file. Raises MediaError where it has become shorter."""
        parts: list[bytes] = []
        while size:
            part = os.pread(self._descriptor, size, start)
            if not part:
                raise MediaError(f"{self.name} has become shorter while it was read")
            parts.append(part)
            start, size = start + len(part), size - len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def read_elements(self, element: int) -> bytes:
        """Payloads of all elements of level 1 with this id, one after the other."""
        return b"".join(self.read(start, size) for found, start, size in self.elements if found == element)

    def _times(self) -> NDArray[np.int64]:
        """Of each block in ms, as decoding to a pipe would give them, the track's codec delay included."""
        scale = next((ebml_uint(self.info[a:b]) for i, _, a, b in ebml.iter_elements(self.info) if i == _SCALE), 10**6)
        ticks = np.frombuffer(self.blocks.ticks, np.int64)
        stored = ticks if scale == 10**6 else np.round(ticks * (scale / 1e6)).astype(np.int64)
        laces = np.frombuffer(self.blocks.lace, np.uint8)
        stored = stored + self._lace_offsets(laces)
        timings = timing_tags(self)
        first_ms = int(stored[self.video_rows[0]])
        timing = timings.get(self.video.uid)
        is_uncut = timing is not None and timing.is_start(first_ms, self._payload(0))
        if timing is None and self.video.track.rate:
            timing = Timing.from_rate(self.video.track.rate, first_ms)
        if timing is not None:
            timings[self.video.uid] = timing
        times = stored - (timing.shift_ms if timing is not None and is_uncut else 0)
        numbers = np.frombuffer(self.blocks.track, np.uint16)
        firsts: list[int] = []
        for track in self.tracks:
            rows = np.flatnonzero(numbers == track.number)
            if not len(rows):
                continue
            own = timings.get(track.uid)
            if own is not None and not (is_uncut and not laces[rows].any()):  # else times come back as they were stored
                begin = int(stored[rows[0]]) - track.delay_ms
                grid = _Grid(TimestampRestorer(own, first_ms=begin, uncut=is_uncut), track.delay_ms)
                times[rows] = [grid.time(int(value)) for value in stored[rows]]
            firsts.append(int(times[rows[0]]) - track.delay_ms)
        return times + max(0, -min(firsts))

    def _lace_offsets(self, laces: NDArray[np.uint8]) -> NDArray[np.int64]:
        """ms from the time of a block to each of the frames laced into it, rounded as libavformat does."""
        offsets = np.zeros(len(laces), np.int64)
        laced = np.flatnonzero(laces)
        if not len(laced):
            return offsets
        block = np.cumsum(laces[laced] == 1) - 1
        n_frames = np.bincount(block)[block]
        durations = {track.number: track.track.default_duration_ns for track in self.tracks}
        numbers = np.frombuffer(self.blocks.track, np.uint16)[laced]
        length = np.array([durations.get(int(number), 0) for number in numbers], np.int64) * n_frames // 10**6
        offsets[laced] = length * (laces[laced].astype(np.int64) - 1) // n_frames
        return offsets

    @property
    def n_frames(self) -> int:
        """Coded frames."""
        return len(self.video_rows)

    def _payload(self, number: int) -> bytes:
        row = self.video_rows[number]
        return self.video.unpack(self.read(self.blocks.start[row], self.blocks.size[row]))

    def packet(self, number: int) -> Packet:
        """The coded frame of a number, counted from 0."""
        time = int(self.times[self.video_rows[number]])
        return Packet(self._payload(number), time, bool(self.is_key[number]), 0, MS)

    @cached_property
    def sequence_header(self) -> SequenceHeader:
        """What CodecPrivate says, else the first key frame that can be read. Raises MediaError where none can."""
        try:
            return parse_codec_private(self.video.track.codec_private)
        except (BitstreamError, LimitError) as error:
            first_error = error
        for number in np.flatnonzero(self.is_key)[:100]:
            try:
                header = parse_packet(self._payload(int(number))).sequence_header
            except (BitstreamError, LimitError):
                continue
            if header is not None:
                return header
        raise MediaError(f"{self.name}: the size of its pictures cannot be told: {first_error}") from first_error

    def close(self) -> None:
        """Closes the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def ebml_uint(data: bytes) -> int:
    """An unsigned integer's payload."""
    return int.from_bytes(data, "big")
