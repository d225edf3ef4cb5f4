"""Reads .ssv: Matroska with one track whose FourCC is SSV1."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from types import TracebackType
from typing import TYPE_CHECKING, Self

import av
from av.error import FFmpegError

from ffmpeg_bridge import ebml
from ffmpeg_bridge.copies import codec_name, collect_streams, cover_attachment, is_cover
from ffmpeg_bridge.demux import CopySource, Demuxer
from ffmpeg_bridge.files import InputFile, Source, media_errors
from ffmpeg_bridge.mux import FOURCC
from ffmpeg_bridge.structure import StructureScan, has_damaged_cluster, scan_file
from ffmpeg_bridge.timing import TIMING_TAG, TimestampRestorer, Timing, nearest
from ssvc_codec.errors import MediaError
from ssvc_codec.packet import Packet

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet as AvPacket
    from av.stream import Stream

    from ssvc_codec.frame import VideoFormat

__all__ = ["SsvReader", "open_ssv"]

_MS = Fraction(1, 1000)
_OPTIONS = {"probesize": "32", "analyzeduration": "0"}  # 5 MB are probed else, and a live pipe starts 4 s late


@dataclass(frozen=True, slots=True)
class _Stored:
    """A video packet as the file holds it."""

    packet: AvPacket
    ms: int


class SsvReader(CopySource):
    """Packets of one .ssv and all that goes with them. Iterate once, or again after seek()."""

    def __init__(self, source: Source, *, start_seconds: float | None = None, max_frames: int | None = None) -> None:
        """Opens source and reads up to its first packet. See open_ssv."""
        super().__init__()
        self.truncated = False  # or damaged inside; known once the last packet has been read
        self._container: InputContainer | None = None
        self._input = InputFile(source)
        self.name = self._input.name
        self._scan = StructureScan()
        self._restorers: dict[int, TimestampRestorer | None] = {}
        with contextlib.ExitStack() as on_failure:
            on_failure.callback(self.close)
            self._open()
            self._range(start_seconds, max_frames)
            on_failure.pop_all()

    def _open(self) -> None:
        if not self._input.seekable():
            self._input.on_read = self._scan.feed
        try:
            container = self._container = av.open(self._input, "r", options=_OPTIONS, metadata_errors="replace")
        except (FFmpegError, OSError, ValueError) as error:
            if not self._input.head:
                raise MediaError(f"{self.name} is empty") from error
            if self._input.head[:4] == b"\x1a\x45\xdf\xa3":
                scan = StructureScan()
                scan.feed(self._input.head)
                fault = "holds no frames" if scan.is_whole else "is cut off before its first frame"
                raise MediaError(f"{self.name} {fault}") from error
            raise MediaError(f"{self.name} is no .ssv file, nor any other that FFmpeg knows") from error
        head, self._input.head = self._input.head or b"", None
        self._stream, track = self._find_track(container, head)
        self.codec_private = track.codec_private
        collect_streams(self, container, self._stream)
        covers = [stream for stream in container.streams.video if is_cover(stream)]
        self._demuxer = Demuxer(container, self._stream, copies=self.copies, covers=covers)
        self.average_rate = track.rate
        self._ahead: deque[_Stored] = deque()
        self._stored = self._read_stored()
        first = next(self._stored, None)
        found = self._demuxer.covers
        self.attachments += [cover_attachment(cover, found[cover.index]) for cover in covers if cover.index in found]
        self._set_clock(first)
        if first is not None:
            self._ahead.append(first)

    def _find_track(self, container: InputContainer, head: bytes) -> tuple[Stream, ebml.Track]:
        try:
            tracks = ebml.read_tracks(head) or []
        except ValueError:
            tracks = []
        track = next((track for track in tracks if track.fourcc == FOURCC), None)
        streams = [stream for stream in container.streams.video if stream.codec_context is None]
        if track is not None and streams:
            return streams[0], track
        held = ", ".join(f"{stream.type} ({codec_name(stream)})" for stream in container.streams) or "nothing"
        raise MediaError(f"{self.name} holds no SSVC video: it is {container.format.name} with {held}")

    def _set_clock(self, first: _Stored | None) -> None:
        """Finds out on which grid the timestamps lie, and whether the file is cut from a longer one."""
        self._first_ms = first_ms = first.ms if first is not None else 0
        timing = Timing.from_tag(self._stream.metadata.get(TIMING_TAG))
        self._is_uncut = bool(timing and first and timing.is_start(first_ms, bytes(first.packet)))
        if timing is None and self.average_rate:
            timing = Timing.from_rate(self.average_rate, first_ms)
        timing = timing or Timing(_MS, Fraction(0), first_ms, 0)
        self._clock = TimestampRestorer(timing, first_ms=first_ms, uncut=self._is_uncut)
        self.time_base = timing.time_base

    def _range(self, start_seconds: float | None, max_frames: int | None) -> None:
        if max_frames is not None and max_frames < 1:
            raise ValueError(f"max_frames {max_frames}: 1 or more")
        if start_seconds is not None and start_seconds < 0:
            raise ValueError(f"start_seconds {start_seconds}: 0 or more")
        self._max_frames = max_frames
        self.is_trimmed = max_frames is not None or bool(start_seconds)
        if not self._ahead or not self.is_trimmed:
            return
        if start_seconds:
            self._go_to(start_seconds)
        wanted = self._ahead[-1]
        self._shift = self._clock.restore(wanted.ms) * self.time_base
        if max_frames and self.average_rate:
            self._expected_end = self._shift + max_frames / self.average_rate

    def _go_to(self, seconds: float) -> None:
        """Reads ahead from the key frame at or before a time to the first packet at or after it."""
        begin = self._clock.restore(self._ahead[0].ms) * self.time_base
        start = begin + Fraction(seconds).limit_denominator(10**6)
        self._demuxer.earliest = start
        self.seek(seconds)
        while True:
            stored = next(self._stored, None)
            if stored is None:
                raise MediaError(f"{self.name} ends before {seconds:.3f} s")
            if stored.packet.is_keyframe and self._clock.restore(stored.ms) * self.time_base <= start:
                self._ahead.clear()
            self._ahead.append(stored)
            if self._clock.restore(stored.ms) * self.time_base >= start - Fraction(1, 10**6):
                return

    def seek(self, seconds: float) -> None:
        """Goes to the last key frame at or before a time, counted from the first frame. Pipes stay where they are."""
        if self._container is None or not self._input.seekable():
            return
        with media_errors(f"cannot seek in {self.name}"):
            self._container.seek(self._first_ms + int(seconds * 1000), stream=self._stream, backward=True)
        self._demuxer.restart()
        self._stored = self._read_stored()
        self._ahead.clear()

    @property
    def sequence_header(self) -> bytes:
        """What follows the BITMAPINFOHEADER in CodecPrivate, without the byte by which ffmpeg makes it even."""
        return self.codec_private[40 : int.from_bytes(self.codec_private[:4], "little")]

    @property
    def format(self) -> VideoFormat:
        """The pictures' format. Raises BitstreamError where the sequence header is damaged."""
        from ssvc_codec.bitstream import parse_codec_private

        return parse_codec_private(self.codec_private).format

    @property
    def duration_seconds(self) -> float | None:
        """Length of the file, or None where it does not say, as with live streams."""
        duration = self._container.duration if self._container is not None else None
        return None if duration is None else duration / 1e6

    @property
    def n_frames_estimate(self) -> int | None:
        """About how many packets will come, for progress; None where unknown."""
        if self.duration_seconds is None or not self.average_rate:
            return self._max_frames
        total = max(0, round((self.duration_seconds - float(self._shift)) * self.average_rate))
        return min(total, self._max_frames or total)

    def _read_stored(self) -> Iterator[_Stored]:
        last = -1
        try:
            for packet in self._demuxer.video_packets():
                if packet.size:
                    last = last + 1 if packet.pts is None else _in_ms(packet.pts, packet)
                    yield _Stored(packet, last)
        except BrokenPipeError:
            raise
        except FFmpegError:
            self.truncated = True  # libavformat gives up in the middle of damaged bytes
        except OSError as error:
            raise MediaError(f"cannot read {self.name}: {error.strerror or error}") from error
        scan = scan_file(self._input) if self._input.seekable() else self._scan
        self.truncated = self.truncated or not scan.is_whole
        if self._input.seekable():
            self.truncated = self.truncated or has_damaged_cluster(self._input)

    def __iter__(self) -> Iterator[Packet]:
        """Packets with exact timestamps in units of time_base.

        With start_seconds the first ones may have negative pts: they lead up to the first
        frame wanted, which is at 0. Decode them and drop their frames.
        """
        offset = nearest(self._shift / self.time_base)
        n_frames = 0
        while n_frames != self._max_frames:
            stored = self._ahead.popleft() if self._ahead else next(self._stored, None)
            if stored is None:
                self._end = None
                return
            pts = self._clock.restore(stored.ms) - offset
            duration = self._duration_of(stored.packet)
            n_frames += pts >= 0 or not self.is_trimmed
            self._end = self._shift + (pts + duration) * self.time_base
            yield Packet(bytes(stored.packet), pts, stored.packet.is_keyframe, duration, self.time_base)

    def _duration_of(self, packet: AvPacket) -> int:
        duration = self._clock.restore_duration(_in_ms(packet.duration or 0, packet))
        if not duration and self.average_rate:
            duration = nearest(1 / self.average_rate / self.time_base)
        return duration

    def _restore(self, packet: AvPacket) -> None:
        """Exact times for a packet of another stream, by its own tag."""
        if packet.pts is None:
            return
        index, shift_ms = packet.stream_index, self._clock.timing.shift_ms
        if index not in self._restorers:
            timing = Timing.from_tag(packet.stream.metadata.get(TIMING_TAG)) if packet.stream.metadata else None
            if timing is not None:
                self._restorers[index] = TimestampRestorer(
                    timing, first_ms=_in_ms(packet.pts, packet), uncut=self._is_uncut
                )
            else:
                self._restorers[index] = None
        restorer = self._restorers[index]
        if restorer is None:
            shift = nearest(shift_ms * _MS / (packet.time_base or _MS))
            packet.pts -= shift if self._is_uncut else 0
            packet.dts = packet.pts
            return
        duration = restorer.restore_duration(_in_ms(packet.duration or 0, packet))
        packet.pts = packet.dts = restorer.restore(_in_ms(packet.pts, packet))
        packet.duration = duration
        packet.time_base = restorer.timing.time_base

    def close(self) -> None:
        """Closes the file."""
        if self._container is not None:
            self._container.close()
        self._input.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _in_ms(ticks: int, packet: AvPacket) -> int:
    """A time of a packet in milliseconds: what the writer counts in, but not every muxer."""
    return nearest(ticks * Fraction(packet.time_base or _MS) / _MS)


def open_ssv(source: Source, *, start_seconds: float | None = None, max_frames: int | None = None) -> SsvReader:
    """Opens a .ssv, or a Matroska file into which one was remuxed.

    source: a path, "-" for standard input, or a binary file object.
    start_seconds: begin with the key frame at or before this time, counted from the first frame.
    max_frames: at most so many frames from there. With either, times start at 0.
    Raises MediaError where there is no SSVC video.
    """
    return SsvReader(source, start_seconds=start_seconds, max_frames=max_frames)
