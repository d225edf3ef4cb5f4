"""`ssvc decode`: an .ssv file becomes a video that any player shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

import typer

from ssvc_codec.errors import BitstreamError, LimitError, MediaError

from .decode_flow import FlowDecoder, FlowOutput, FlowSink
from .exit_codes import ExitCode, print_error, with_exit_code
from .interrupt import StopRequest
from .options import Device, Frames, Overwrite, Quiet, Start, Threads, Verbose
from .output import check_output
from .progress import Progress

if TYPE_CHECKING:
    from ffmpeg_bridge.flow_writer import FlowFrame
    from ffmpeg_bridge.reader import SsvReader
    from ffmpeg_bridge.writer import VideoWriter
    from ssvc_codec.frame import Frame, VideoFormat
    from ssvc_codec.packet import Packet

__all__ = ["decode", "parse_codec_options"]


def parse_codec_options(items: list[str]) -> dict[str, str]:
    """`["crf=18,preset=slow", "tune=film"]` as a dict. Raises typer.BadParameter."""
    options: dict[str, str] = {}
    for pair in (pair for item in items for pair in item.split(",") if pair):
        key, equals, value = pair.partition("=")
        if not (key and equals):
            raise typer.BadParameter(f"{pair!r} is not of the form key=value", param_hint="--vcodec-opts")
        options[key] = value
    return options


@with_exit_code
def decode(
    source: Annotated[str, typer.Argument(metavar="IN", help="An .ssv file; - reads stdin.")],
    target: Annotated[str, typer.Argument(metavar="OUT", help="The video; its extension chooses the container.")],
    *,
    frames: Frames = None,
    start: Start = None,
    vcodec: Annotated[str | None, typer.Option(metavar="NAME", help="ffmpeg's name of the video encoder.")] = None,
    vcodec_opts: Annotated[
        list[str] | None, typer.Option(metavar="K=V", help="Options for it: repeat, or separate by commas.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="Weights that are not installed; the file names its own.")
    ] = None,
    flow_only: Annotated[
        bool, typer.Option("--flow-only", help="Write the optical flow; nothing else is decoded.")
    ] = False,
    flow_scale: Annotated[
        Literal["1", "2", "4", "8"] | None,
        typer.Option(help="Pixels for each vector of the flow, each way; default 1."),
    ] = None,
    flow_max: Annotated[
        float | None,
        typer.Option(min=0.001, metavar="PIXELS", help="Motion with full colour; default: longer side / 64."),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first damaged frame.")] = False,
    threads: Threads = 0,
    device: Device = "auto",
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Decode an .ssv file into a video.

    Sound, subtitles, chapters and the like are copied. A damaged frame shows the frame
    before it (mid grey where there is none), is counted, and makes the exit code 3.

    With --flow-only OUT is a folder of .flo files (no extension), .zip or .tar of them,
    .npz, or a video in the usual colours. Damaged frames then have no flow.
    """
    codec_options = parse_codec_options(vcodec_opts or [])
    if not flow_only and (flow_scale or flow_max):
        raise typer.BadParameter("it goes with --flow-only", param_hint="--flow-scale" if flow_scale else "--flow-max")
    check_output(target, source=source, overwrite=overwrite)
    output = FlowOutput(target, int(flow_scale or 1), flow_max, overwrite, vcodec, codec_options)
    if flow_only:
        output.check()
    from ffmpeg_bridge.reader import open_ssv

    progress = Progress(quiet=quiet)
    with (
        StopRequest(ends_stdin=source == "-") as stop,
        open_ssv(source, start_seconds=start, max_frames=frames) as reader,
    ):
        how: dict[str, Any] = {"model": model, "device": device, "threads": threads, "conceal": not strict}
        if flow_only:
            decoder = FlowDecoder(reader.sequence_header, scale=output.scale, **how)
            sink = FlowSink(output, reader, decoder)
        else:
            from .concealment import ConcealingDecoder

            decoder = ConcealingDecoder(reader.sequence_header, **how)
            sink = _LazySink(target, reader, vcodec, codec_options)
        job = _DecodeJob(decoder, sink, progress, stop, is_trimmed=reader.is_trimmed)
        try:
            job.run(iter(reader))
            if not decoder.n_decoded:
                cut = "is cut off before the end of" if reader.truncated else "holds no packet of"
                raise job.damage or decoder.first_error or MediaError(f"{source} {cut} its first frame")
            sink.close()
        except BaseException:
            sink.abort()
            raise
        progress.add_notes(reader.notes)
        if reader.truncated and not stop.is_set and job.damage is None:
            job.damage = MediaError("the file is truncated or damaged")
    progress.finish()
    if stop.is_set:
        return stop.exit_code
    return _report_damage(source, job, decoder, outcome="have no flow" if flow_only else "are concealed")


def _report_damage(source: str, job: _DecodeJob, decoder: _Decoder, *, outcome: str) -> ExitCode:
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
    def write(self, frame: Any) -> None: ...


class _LazySink:
    """A VideoWriter that opens with the first frame: only then the format is certain."""

    def __init__(self, target: str, source: SsvReader, vcodec: str | None, vcodec_options: dict[str, str]) -> None:
        self._target = target
        self._source = source
        self._vcodec = vcodec
        self._vcodec_options = vcodec_options
        self._writer: VideoWriter | None = None

    @property
    def notes(self) -> list[str]:
        return [*self._source.notes, *(self._writer.notes if self._writer else [])]

    def write(self, frame: Frame) -> None:
        writer = self._writer
        if writer is None:
            writer = self._writer = self._open(frame.format, frame.time_base)
        writer.write(frame)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()

    def abort(self) -> None:
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
            vcodec=self._vcodec,
            vcodec_options=self._vcodec_options,
        )


@dataclass
class _DecodeJob:
    """Packets in, frames out, until the input ends, breaks, or the user stops it."""

    decoder: _Decoder
    sink: _Sink
    progress: Progress
    stop: StopRequest
    is_trimmed: bool  # frames before time 0 only lead up to the first one wanted
    damage: MediaError | BitstreamError | LimitError | None = None  # why reading ended early
    format: VideoFormat | None = None  # of the first frame, and so of all

    def run(self, packets: Iterator[Packet]) -> None:
        while not self.stop.is_set and self.damage is None:
            try:
                packet = next(packets, None)
            except (MediaError, BitstreamError) as error:
                if not self.stop.is_set:  # a signal also interrupts a read from a pipe
                    self.damage = error
                break
            if packet is None:
                break
            try:
                frames = self.decoder.send(packet)
            except (BitstreamError, LimitError) as error:
                self.damage = error
                break
            self._write(frames)
        self._write(self.decoder.flush())

    def _write(self, frames: Sequence[Frame | FlowFrame]) -> None:
        for frame in frames:
            self.format = self.format or frame.format
            if frame.format != self.format:
                seconds = 0.0 if frame.pts_seconds is None else frame.pts_seconds
                self.damage = MediaError(f"the picture format changes at {seconds:.3f} s: decode the parts one by one")
                return
            if self.is_trimmed and frame.pts is not None and frame.pts < 0:
                continue
            self.sink.write(frame)
            self.progress.add_notes(self.sink.notes)
            seconds = frame.pts_seconds
            end_seconds = None if seconds is None else seconds + float(frame.duration * frame.time_base)
            self.progress.add_frame(end_seconds=end_seconds)
