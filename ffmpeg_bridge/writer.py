"""Writes .ssv files, and decoded frames to any container that FFmpeg writes."""

from __future__ import annotations

import contextlib
import math
import zlib
from collections.abc import Iterator
from fractions import Fraction
from types import TracebackType
from typing import TYPE_CHECKING, Self

import av
from av.stream import Disposition

from ffmpeg_bridge.containers import LIVE_MATROSKA
from ffmpeg_bridge.copies import CopyPlan
from ffmpeg_bridge.demux import CopySource
from ffmpeg_bridge.files import OutputFile, Sink, media_errors
from ffmpeg_bridge.mux import SsvFile, add_ssv_stream, display_size
from ffmpeg_bridge.timing import TIMING_TAG, Timing, nearest
from ffmpeg_bridge.video_writer import VideoWriter
from ssvc_codec.frame import VideoFormat
from ssvc_codec.packet import Packet

if TYPE_CHECKING:
    from av.packet import Packet as AvPacket

__all__ = ["SsvWriter", "VideoWriter"]

_MS = Fraction(1, 1000)


class SsvWriter:
    """One .ssv in the making. The file has its name only after close(); abort() leaves nothing."""

    def __init__(
        self,
        sink: Sink,
        *,
        format: VideoFormat,
        time_base: Fraction,
        codec_private: bytes,
        average_rate: Fraction | None = None,
        source: CopySource | None = None,
        live: bool = False,
    ) -> None:
        """sink: a path, "-" for standard output, or a binary file object.

        codec_private: BITMAPINFOHEADER with FourCC SSV1, then the sequence header.
        source: where sound, subtitles, chapters, tags and attachments come from.
        live: no index, and each packet leaves when the next arrives; always so on pipes.
        Raises MediaError where nothing can be written.
        """
        self._output = OutputFile(sink)
        self.name = self._output.name
        self._format = format
        self._time_base = time_base
        self._codec_private = codec_private
        self._rate = average_rate
        self._source = source or CopySource()
        self._live = live or not self._output.seekable()
        self._last_ms: dict[int, int] = {}
        self._shift_ms = 0
        self._is_open = True
        self._is_started = False
        options = {"write_crc32": "0"}  # the stand-in's track entry is replaced after the sum is made
        if self._live:
            options |= LIVE_MATROSKA
        file = SsvFile(self._output, display_size=display_size(format))
        with self._aborting():
            self._container = av.open(file, "w", format="matroska", options=options)
            self._stream = add_ssv_stream(self._container, format, codec_private=codec_private, rate=average_rate)

    @contextlib.contextmanager
    def _aborting(self) -> Iterator[None]:
        """Leaves nothing behind when the body fails, and names the file in the error."""
        try:
            with media_errors(f"cannot write {self.name}"):
                yield
        except BaseException:
            self.abort()
            raise

    def _start(self, first_pts: int, first_data: bytes) -> None:
        """Writes the header: all that must be known before the first packet."""
        source = self._source
        source.peek_sound()
        waiting = source.take_packets(before=first_pts * self._time_base + 2)
        self._plan = CopyPlan(self._container, source, keeps_attachments=True)
        first_of: dict[int, AvPacket] = {}
        for packet in waiting:
            if packet.stream_index in self._plan.streams:
                first_of.setdefault(packet.stream_index, packet)
        starts = [first_pts * self._time_base]
        starts += [p.pts * Fraction(p.time_base) for p in first_of.values() if p.pts is not None and p.time_base]
        self._shift_ms = max(0, math.ceil(-min(starts) * 1000))
        step = 1 / self._rate / self._time_base if self._rate else Fraction(0)
        self._stream.metadata.update(source.video_metadata)
        self._stream.disposition = Disposition(source.video_disposition or 1)
        timing = Timing(self._time_base, step, first_pts, self._shift_ms, zlib.crc32(first_data))
        self._stream.metadata[TIMING_TAG] = timing.to_tag()
        for index, packet in first_of.items():
            if packet.pts is not None and packet.time_base is not None:
                base = Fraction(packet.time_base)
                step = Fraction(packet.duration or 0) if packet.stream.type == "audio" else Fraction(0)
                timing = Timing(base, step, packet.pts, self._shift_ms)
                self._plan.streams[index].metadata[TIMING_TAG] = timing.to_tag()
        self._container.metadata.update(source.metadata)
        if chapters := source.chapters():
            self._container.set_chapters(chapters)  # pyright: ignore[reportArgumentType]
        self._container.start_encoding()
        self._is_started = True
        for packet in waiting:
            self._copy(packet)

    def write(self, packet: Packet) -> None:
        """Adds one coded frame, and what the source has that is due before it.

        Raises MediaError where the disk is full, BrokenPipeError where the reader has gone. Nothing is left then.
        """
        if not self._is_open:
            raise ValueError(f"{self.name} is closed")
        if packet.pts is None:
            raise ValueError("a packet without pts cannot be written")
        with self._aborting():
            if not self._is_started:
                self._start(packet.pts, packet.data)
            for other in self._source.take_packets(before=packet.pts * packet.time_base):
                self._copy(other)
            coded = av.Packet(packet.data)
            coded.stream = self._stream
            coded.is_keyframe = packet.is_keyframe
            self._mux(coded, packet.pts * packet.time_base, packet.duration * packet.time_base)

    def _copy(self, packet: AvPacket) -> None:
        if packet.pts is None or packet.time_base is None:
            return
        base = Fraction(packet.time_base)
        seconds, duration = packet.pts * base, (packet.duration or 0) * base
        ready = self._plan.packet(packet)
        if ready is not None:
            self._mux(ready, seconds, duration)

    def _mux(self, packet: AvPacket, seconds: Fraction, duration: Fraction) -> None:
        """Hands a packet to libavformat in milliseconds, rounded here so that the reader can undo it."""
        index = packet.stream_index
        ms = max(nearest(seconds * 1000) + self._shift_ms, self._last_ms.get(index, 0))
        self._last_ms[index] = ms
        packet.pts = packet.dts = ms
        packet.duration = nearest(duration * 1000)
        packet.time_base = _MS
        self._container.mux(packet)

    def close(self) -> None:
        """Writes what is left and the index, and gives the file its name. Also after an interruption."""
        if not self._is_open:
            return
        with self._aborting():
            if not self._is_started:
                self._start(0, b"")
            for other in self._source.take_packets(before=None):
                self._copy(other)
            self._container.close()
        self._is_open = False
        self._output.commit()

    def abort(self) -> None:
        """Throws the file away."""
        if self._is_open:
            self._is_open = False
            self._output.discard()
            container = getattr(self, "_container", None)
            if container is not None:
                with contextlib.suppress(Exception):
                    container.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.abort()
