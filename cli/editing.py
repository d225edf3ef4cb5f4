"""What `ssvc extract`, `redact` and `cut` have in common: packets of one .ssv into another, nothing decoded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ssvc_codec.errors import BitstreamError, LimitError, MediaError

from .exit_codes import ExitCode
from .interrupt import StopRequest
from .output import check_output
from .packet_loop import report_losses, until_stopped
from .progress import Progress
from .timecode import parse_time

if TYPE_CHECKING:
    from ffmpeg_bridge.reader import SsvReader
    from ffmpeg_bridge.writer import SsvWriter
    from ssvc_codec.bitstream import SequenceHeader
    from ssvc_codec.packet import Packet

__all__ = [
    "EditJob",
    "End",
    "Length",
    "Range",
    "copy_edited",
    "find_range",
    "header_of",
    "range_end",
]

End = Annotated[
    float | None, typer.Option("--to", parser=parse_time, metavar="TIME", help="End here, counted as --ss is.")
]
Length = Annotated[
    float | None, typer.Option("-t", parser=parse_time, metavar="TIME", help="End so long after --ss, instead of --to.")
]
_EPSILON_SECONDS = 1e-6


@dataclass(frozen=True, slots=True)
class Range:
    """A part of a file that begins with a key frame. Seconds count from its first frame."""

    start_seconds: float
    n_frames: int
    damage: MediaError | None = None  # why the file ends within it


def range_end(start: float | None, to: float | None, length: float | None) -> float | None:
    """Where a range ends, from --to or -t. Raises typer.BadParameter."""
    if to is not None and length is not None:
        raise typer.BadParameter("it says the same as --to: give one of them", param_hint="-t")
    end = to if length is None else (start or 0.0) + length
    if end is not None and end <= (start or 0.0):
        raise typer.BadParameter("the end does not lie after the start", param_hint="--to" if length is None else "-t")
    return end


def find_range(source: str, *, start: float | None, end: float | None) -> Range:
    """From the key frame at or before start up to the last frame that begins before end. Reads the file once.

    Raises MediaError where there is no such part.
    """
    from ffmpeg_bridge.reader import open_ssv

    if not Path(source).is_file():
        raise MediaError(f"{'stdin' if source == '-' else source}: a part is cut out of a file, not of a pipe")
    with open_ssv(source) as reader:
        first = next(iter(reader), None)
    if first is None or first.pts is None:
        raise MediaError(f"{source} holds no frame")
    begin = float(first.pts * first.time_base)
    with open_ssv(source) as reader:
        if start:
            reader.seek(start)
        return _find_range(reader, begin=begin, start=start or 0.0, end=end)


def _find_range(reader: SsvReader, *, begin: float, start: float, end: float | None) -> Range:
    key: float | None = None
    n_frames, last = 0, 0.0
    damage: MediaError | None = None
    try:
        for packet in reader:
            due = (packet.pts or 0) * packet.time_base
            reader.take_packets(before=due)  # else sound piles up
            seconds = float(due) - begin
            if end is not None and seconds >= end - _EPSILON_SECONDS:
                break
            if packet.is_keyframe and (key is None or seconds <= start + _EPSILON_SECONDS):
                key, n_frames = seconds, 0
            n_frames += key is not None
            last = seconds + float(packet.duration * packet.time_base)
    except MediaError as error:
        damage = error
    if reader.truncated:
        damage = damage or MediaError("the file is truncated or damaged")
    if key is None or (start and last <= start):
        fault = "holds no key frame there" if key is None else f"ends before {start:.3f} s"
        raise MediaError(f"{reader.name} {fault}") from damage
    return Range(max(key, 0.0), n_frames, damage)


@dataclass
class EditJob:
    """The packets of one input with what an edit makes of them, until it ends, breaks, or the user stops it."""

    edit: Callable[[Packet], bytes | None]  # None leaves a packet out
    stop: StopRequest
    n_packets: int = 0
    n_lost: int = 0  # packets that could not be read, and so were left out
    first_error: BitstreamError | LimitError | None = None
    ending: MediaError | BitstreamError | None = None  # why reading ended early

    def packets(self, reader: SsvReader) -> Iterator[Packet]:
        """The edited packets."""
        from ssvc_codec.editing import edited

        return edited(self._readable(iter(reader)), self._try_edit)

    def _readable(self, packets: Iterator[Packet]) -> Iterator[Packet]:
        for packet in until_stopped(packets, self.stop, self._end):
            self.n_packets += 1
            yield packet

    def _end(self, damage: MediaError | BitstreamError) -> None:
        self.ending = damage

    def _try_edit(self, packet: Packet) -> bytes | None:
        try:
            return self.edit(packet)
        except (BitstreamError, LimitError) as error:
            self.first_error = self.first_error or error
            self.n_lost += 1
            return None

    def report(self, source: str) -> ExitCode:
        """Lines about damage, and the exit code."""
        return report_losses(
            source,
            what="packets",
            n_lost=self.n_lost,
            n_all=self.n_packets,
            n_kept=self.n_packets,
            first_error=self.first_error,
            ending=self.ending,
        )


def copy_edited(
    source: str,
    target: str,
    *,
    edit: Callable[[Packet], bytes | None],
    part: Range | None = None,
    keeps_rate: bool = True,
    video_only: bool = False,
    progress: Progress,
    overwrite: bool = False,
) -> int:
    """One .ssv into another. Returns the exit code.

    edit: new bytes of a packet, or None for one that is left out; BitstreamError and LimitError leave it out and are
    counted. part: of the source, all if None. keeps_rate: the frame rate of the source holds for the target.
    video_only: no sound, subtitles or attachments. Raises MediaError, and what else edit raises.
    """
    check_output(target, source=source, overwrite=overwrite)
    from ffmpeg_bridge.reader import open_ssv

    start = part.start_seconds or None if part else None
    with (
        StopRequest(ends_stdin=source == "-") as stop,
        open_ssv(source, start_seconds=start, max_frames=part.n_frames if part else None) as reader,
    ):
        if video_only:
            reader.copies, reader.attachments = [], []
        job = EditJob(edit, stop)
        writer: SsvWriter | None = None
        try:
            for packet in job.packets(reader):
                writer = writer or _open_writer(target, reader, packet, keeps_rate=keeps_rate)
                writer.write(packet)
                progress.add_notes(reader.notes)
                end = None if packet.pts is None else float((packet.pts + packet.duration) * packet.time_base)
                progress.add_frame(end_seconds=end, n_bytes=len(packet.data))
            if writer is None:
                raise job.ending or job.first_error or MediaError(f"{source} holds no frame that can be read")
            writer.close()
        except BaseException:
            if writer is not None:
                writer.abort()
            raise
        progress.add_notes(reader.notes)
        if reader.truncated and not stop.is_set:
            job.ending = job.ending or MediaError("the file is truncated or damaged")
        if part is not None:
            job.ending = job.ending or part.damage
    progress.finish()
    return stop.exit_code if stop.is_set else job.report(source)


def header_of(reader: SsvReader, first: Packet) -> SequenceHeader:
    """The sequence header of a stream, of which first is the first packet. Raises BitstreamError, LimitError."""
    from ssvc_codec.bitstream import SequenceHeader, parse_packet

    try:
        return SequenceHeader.from_bytes(reader.sequence_header)
    except (BitstreamError, LimitError):
        header = parse_packet(first.data, partial=True).sequence_header  # every key frame repeats it
        if header is None:
            raise
        return header


def _open_writer(target: str, reader: SsvReader, first: Packet, *, keeps_rate: bool) -> SsvWriter:
    from ffmpeg_bridge.writer import SsvWriter
    from ssvc_codec.bitstream import build_codec_private

    header = header_of(reader, first)
    return SsvWriter(
        target,
        format=header.format,
        time_base=reader.time_base,
        codec_private=build_codec_private(header),
        average_rate=reader.average_rate if keeps_rate else None,
        source=reader,
        live=target == "-",
    )
