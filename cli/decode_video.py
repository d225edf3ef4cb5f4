"""Packets in, frames out: the loop of `ssvc decode`, where its frames go, and what it says about damage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Protocol

from ssvc_codec.errors import BitstreamError, LimitError, MediaError

from .exit_codes import ExitCode, print_error
from .interrupt import StopRequest
from .packet_loop import until_stopped
from .progress import Progress

if TYPE_CHECKING:
    from ffmpeg_bridge.flow_writer import FlowFrame
    from ffmpeg_bridge.reader import SsvReader
    from ffmpeg_bridge.writer import VideoWriter
    from ssvc_codec.editing import GopFilter
    from ssvc_codec.frame import Frame, VideoFormat
    from ssvc_codec.packet import Packet

__all__ = ["DecodeJob", "LazyVideoSink", "report_damage"]


def report_damage(source: str, job: DecodeJob, decoder: _Decoder, *, outcome: str) -> ExitCode:
    """Lines about damage, and the exit code."""
    if decoder.n_concealed:
        print_error(
            f"{source}: {decoder.n_concealed} of {decoder.n_concealed + decoder.n_decoded} frames were damaged "
            f"or refer to one that was, and {outcome}; the first: {decoder.first_error}"
        )
    if job.damage is not None:
        print_error(f"{source}: the rest is lost after {job.progress.n_frames} frames, which were kept: {job.damage}")
    return ExitCode.DAMAGED if decoder.n_concealed or job.damage is not None else ExitCode.OK


class _Decoder(Protocol):
    """A ConcealingDecoder, or a FlowDecoder of the same manners."""

    n_decoded: int
    n_concealed: int
    first_error: BitstreamError | LimitError | None

    def send(self, packet: Packet) -> list[Any]: ...
    def flush(self) -> list[Any]: ...


class _Sink(Protocol):
    """Takes what the decoder gives: Frame or FlowFrame."""

    @property
    def notes(self) -> list[str]: ...
    def write(self, frame: Any, *, number: int) -> None: ...


class LazyVideoSink:
    """A VideoWriter that opens with the first frame: only then the format is certain."""

    def __init__(
        self,
        target: str,
        source: SsvReader,
        *,
        vcodec: str | None,
        vcodec_options: dict[str, str],
        acodec: str | None = None,
        container: str | None = None,
    ) -> None:
        self._target = target
        self._source = source
        self._how: dict[str, Any] = {"vcodec": vcodec, "vcodec_options": vcodec_options}
        self._how |= {"acodec": acodec, "container": container}
        self._writer: VideoWriter | None = None

    @property
    def notes(self) -> list[str]:
        """What was changed or left out, for the user."""
        return [*self._source.notes, *(self._writer.notes if self._writer else [])]

    def write(self, frame: Frame, *, number: int) -> None:
        """Adds one frame; number: its place in the stream. Raises MediaError."""
        del number
        writer = self._writer
        if writer is None:
            writer = self._writer = self._open(frame.format, frame.time_base)
        writer.write(frame)

    def close(self) -> None:
        """Writes what is left, and gives the output its name."""
        if self._writer is not None:
            self._writer.close()

    def abort(self) -> None:
        """Throws the output away."""
        if self._writer is not None:
            self._writer.abort()

    def _open(self, format: VideoFormat, time_base: Fraction) -> VideoWriter:
        from ffmpeg_bridge.writer import VideoWriter

        return VideoWriter(
            self._target,
            format=format,
            time_base=time_base,
            average_rate=self._source.average_rate,
            source=self._source,
            **self._how,
        )


@dataclass
class DecodeJob:
    """Packets in, frames out, until the input ends, breaks, or the user stops it."""

    decoder: _Decoder
    sink: _Sink
    progress: Progress
    stop: StopRequest
    wanted: GopFilter
    is_trimmed: bool  # frames before time 0 only lead up to the first one wanted
    damage: MediaError | BitstreamError | LimitError | None = None  # why reading ended early
    format: VideoFormat | None = None  # of the first frame, and so of all
    _n_passed: int = 0  # packets from the start on, those left out too

    def run(self, packets: Iterator[Packet]) -> None:
        """Everything, frame by frame."""
        for packet in until_stopped(packets, self.stop, self._end):
            self._n_passed += not self._leads_up(packet)
            if not self.wanted.wants(packet):
                continue
            try:
                frames = self.decoder.send(packet)
            except (BitstreamError, LimitError) as error:
                self.damage = error
                break
            self._write(frames)
            if self.damage is not None:
                break
        self._write(self.decoder.flush())

    def _end(self, damage: MediaError | BitstreamError) -> None:
        self.damage = damage

    def _leads_up(self, item: Packet | Frame | FlowFrame) -> bool:
        return self.is_trimmed and item.pts is not None and item.pts < 0

    def _write(self, frames: Sequence[Frame | FlowFrame]) -> None:
        for frame in frames:
            self.format = self.format or frame.format
            if frame.format != self.format:
                seconds = 0.0 if frame.pts_seconds is None else frame.pts_seconds
                self.damage = MediaError(f"the picture format changes at {seconds:.3f} s: decode the parts one by one")
                return
            if self._leads_up(frame):
                continue
            self.sink.write(frame, number=self._n_passed - 1)
            self.progress.add_notes(self.sink.notes)
            seconds = frame.pts_seconds
            end_seconds = None if seconds is None else seconds + float(frame.duration * frame.time_base)
            self.progress.add_frame(end_seconds=end_seconds)
