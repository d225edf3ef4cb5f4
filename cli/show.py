"""`ssvc show`: pictures of what a stream says: boxes, groups of cells, and the bytes of each part of a frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ssvc_codec.bitstream import parse_packet
from ssvc_codec.errors import BitstreamError, LimitError, MediaError

from .drawing_sinks import DrawingSink, PictureSink, VideoSink
from .exit_codes import ExitCode, with_exit_code
from .interrupt import StopRequest
from .options import Device, Frames, Overwrite, Quiet, Start, Threads, Verbose
from .output import check_output
from .packet_loop import report_losses, until_stopped
from .painter import Painter
from .progress import Progress
from .selecting import Background, Exclude, Objects, make_selection
from .timecode import parse_time

if TYPE_CHECKING:
    from ffmpeg_bridge.reader import SsvReader
    from ssvc_codec.frame import Frame
    from ssvc_codec.packet import Packet

__all__ = ["show"]

_PICTURES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp"})


@with_exit_code
def show(
    source: Annotated[str, typer.Argument(metavar="IN", help="An .ssv file; - reads stdin.")],
    target: Annotated[str, typer.Argument(metavar="OUT", help="A picture (.png, .jpg) or a video (.mp4, .mkv).")],
    *,
    at: Annotated[
        float | None,
        typer.Option("--at", parser=parse_time, metavar="TIME", help="One frame: the first at or after this time."),
    ] = None,
    start: Start = None,
    frames: Frames = None,
    objects: Objects = None,
    exclude: Exclude = None,
    background: Background = None,
    model: Annotated[str | None, typer.Option(metavar="FOLDER", help="Weights that are not installed.")] = None,
    threads: Threads = 0,
    device: Device = "auto",
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Draw boxes, groups and bytes over the decoded picture.

    Cells of a group are tinted with the colour of its first track; the background is not. The bar below
    the picture shows how the bytes of the frame are shared out. A picture without --at shows the first key frame with
    objects, or the first key frame where there are none.
    """
    is_picture = Path(target).suffix.lower() in _PICTURES and "%" not in Path(target).name
    if at is not None and (start is not None or frames is not None):
        raise typer.BadParameter("it names one frame: --ss and --frames do not go with it", param_hint="--at")
    check_output(target, source=source, overwrite=overwrite)
    from ffmpeg_bridge.reader import open_ssv

    options: dict[str, Any] = {"model": model, "device": device, "threads": threads}
    select = make_selection(objects, exclude, background)
    first = at if at is not None else start
    limit = 1 if at is not None else frames
    progress = Progress(quiet=quiet)
    with (
        StopRequest(ends_stdin=source == "-") as stop,
        open_ssv(source, start_seconds=first, max_frames=limit) as reader,
    ):
        sink = PictureSink(target) if is_picture else VideoSink(target, reader)
        job = _ShowJob(Painter(select, options=options), reader, sink, progress, stop, at)
        try:
            packets = job.packets()
            job.run(_best_first(packets) if is_picture and first is None else packets, only_one=is_picture)
            if not job.n_drawn:
                raise job.ending or job.first_error or MediaError(f"{source} holds no frame that can be drawn")
            sink.close()
        except BaseException:
            sink.abort()
            raise
        if reader.truncated and not stop.is_set and not is_picture:
            job.ending = job.ending or MediaError("the file is truncated or damaged")
        progress.add_notes([*reader.notes, *sink.notes])
    progress.finish()
    return stop.exit_code if stop.is_set else job.report(source)


def _best_first(packets: Iterator[tuple[int, Packet]]) -> Iterator[tuple[int, Packet]]:
    """From the first key frame with objects on; if there is none, the first key frame alone."""
    fallback: tuple[int, Packet] | None = None
    is_found = False
    for number, packet in packets:
        if not is_found and packet.is_keyframe:
            try:
                is_found = bool(parse_packet(packet.data).objects)
            except (BitstreamError, LimitError):
                continue
            fallback = fallback or (number, packet)
        if is_found:
            yield number, packet
    if not is_found and fallback is not None:
        yield fallback


@dataclass
class _ShowJob:
    """Packets in, drawings out, until the input ends, breaks, or the user stops it."""

    painter: Painter
    reader: SsvReader
    sink: DrawingSink
    progress: Progress
    stop: StopRequest
    at: float | None = None  # the time asked for, from where times start anew
    n_drawn: int = 0
    n_lost: int = 0
    first_error: BitstreamError | LimitError | None = None
    ending: MediaError | BitstreamError | None = None  # why reading ended early

    def packets(self) -> Iterator[tuple[int, Packet]]:
        """With the place of each frame among those wanted, from 0; below 0 those that lead up to them."""
        number = 0
        for packet in until_stopped(iter(self.reader), self.stop, self._end):
            leads_up = self.reader.is_trimmed and packet.pts is not None and packet.pts < 0
            yield -1 if leads_up else number, packet
            number += not leads_up

    def _end(self, damage: MediaError | BitstreamError) -> None:
        self.ending = damage

    def run(self, packets: Iterator[tuple[int, Packet]], *, only_one: bool) -> None:
        for number, packet in packets:
            try:
                frame = self.painter.decode(packet)
            except (BitstreamError, LimitError) as error:
                self.first_error = self.first_error or error
                self.n_lost += number >= 0
                continue
            if number < 0:
                continue
            drawing = self.painter.draw(frame, place=self._place(number, frame))
            self.sink.write(drawing, self.painter.overlay_of(frame), frame)
            self.n_drawn += 1
            if only_one:
                return
            seconds = frame.pts_seconds
            self.progress.add_frame(
                end_seconds=None if seconds is None else seconds + float(frame.duration * frame.time_base)
            )

    def _place(self, number: int, frame: Frame) -> str:
        if self.at is not None:
            return f"at {self.at:.3f} s"
        return f"frame {number}" + ("" if frame.pts_seconds is None else f"   {frame.pts_seconds:.3f} s")

    def report(self, source: str) -> ExitCode:
        return report_losses(
            source,
            what="frames",
            n_lost=self.n_lost,
            n_all=self.n_lost + self.n_drawn,
            n_kept=self.n_drawn,
            first_error=self.first_error,
            ending=self.ending,
        )
