"""`ssvc concat`: .ssv files one after the other, nothing coded anew."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from math import gcd
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ssvc_codec.errors import BitstreamError, LimitError, MediaError

from .editing import header_of
from .exit_codes import ExitCode, print_error, with_exit_code
from .interrupt import StopRequest
from .options import Overwrite, Quiet, Verbose
from .output import check_output
from .progress import Progress

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from ffmpeg_bridge.appending import AppendedSource
    from ffmpeg_bridge.reader import SsvReader
    from ssvc_codec.bitstream import SequenceHeader
    from ssvc_codec.packet import Packet

__all__ = ["concat"]


@with_exit_code
def concat(
    files: Annotated[
        list[str], typer.Argument(metavar="IN IN... OUT", help="The .ssv files in their order, then the joined one.")
    ],
    *,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Join .ssv files of the same format, model and classes.

    Sound and subtitles are joined where all files have the same ones, cut off where the video
    of their file ends. Tags, chapters and attachments are those of the first file.
    """
    *sources, target = files
    if len(sources) < 2:
        raise typer.BadParameter("two files and the joined one are the least", param_hint="IN IN... OUT")
    for source in sources:
        check_output(target, source=source, overwrite=True)
    check_output(target, source=None, overwrite=overwrite)
    parts = [_look_at(source) for source in sources]
    for part in parts[1:]:
        _check_match(parts[0], part)
    job = _ConcatJob(parts, target, Progress(quiet=quiet))
    with StopRequest() as stop:
        job.run(stop)
    job.progress.finish()
    if stop.is_set:
        return stop.exit_code
    for source, fault in job.damage:
        print_error(f"{source}: the rest is lost: {fault}")
    return ExitCode.DAMAGED if job.damage else ExitCode.OK


@dataclass(frozen=True, slots=True)
class _Part:
    """One input file, as far as it must agree with the others."""

    path: str
    header: SequenceHeader
    time_base: Fraction
    average_rate: Fraction | None
    layout: tuple[Hashable, ...]


def _look_at(path: str) -> _Part:
    from ffmpeg_bridge.appending import stream_layout
    from ffmpeg_bridge.reader import open_ssv
    from ssvc_codec.bitstream import parse_packet

    if not Path(path).is_file():
        raise MediaError(f"{'stdin' if path == '-' else path}: files are joined, not pipes")
    with open_ssv(path) as reader:
        first = next(iter(reader), None)
        if first is None:
            raise MediaError(f"{path} holds no frame")
        header = header_of(reader, first)
        with suppress(BitstreamError, LimitError):  # CodecPrivate need not have the class table
            header = parse_packet(first.data).sequence_header or header
        return _Part(path, header, reader.time_base, reader.average_rate, stream_layout(reader))


def _check_match(first: _Part, other: _Part) -> None:
    """Raises MediaError where one file cannot follow the other."""
    from ssvc_codec.bitstream import NO_CLASSES

    a, b = first.header, other.header
    faults = [
        f"{field.name} {getattr(a.format, field.name)} and {getattr(b.format, field.name)}"
        for field in fields(a.format)
        if getattr(a.format, field.name) != getattr(b.format, field.name)
    ]
    if (a.model, a.weights_hash) != (b.model, b.weights_hash):
        faults.append(f"model {a.model} ({a.weights_hash.hex()}) and {b.model} ({b.weights_hash.hex()})")
    if a.classes != b.classes and NO_CLASSES not in (a.classes, b.classes):
        faults.append("class tables")
    if faults:
        raise MediaError(f"{first.path} and {other.path} cannot be joined: they differ in {'; '.join(faults)}")


def _common_time_base(bases: Sequence[Fraction]) -> Fraction:
    """The longest tick of which all are multiples."""
    common = bases[0]
    for base in bases[1:]:
        numerator = gcd(common.numerator * base.denominator, base.numerator * common.denominator)
        common = Fraction(numerator, common.denominator * base.denominator)
    return common


class _ConcatJob:
    """Packets of one file after the other, shifted to follow one another."""

    def __init__(self, parts: Sequence[_Part], target: str, progress: Progress) -> None:
        self.progress = progress
        self.damage: list[tuple[str, Exception]] = []
        self._parts = parts
        self._target = target
        self._time_base = _common_time_base([part.time_base for part in parts])
        self._end = Fraction(0)  # of the video so far, seconds
        self._last_begin = Fraction(0)

    def run(self, stop: StopRequest) -> None:
        from ffmpeg_bridge.appending import AppendedSource
        from ffmpeg_bridge.reader import open_ssv
        from ffmpeg_bridge.writer import SsvWriter
        from ssvc_codec.bitstream import build_codec_private

        first = self._parts[0]
        keeps_streams = all(part.layout == first.layout for part in self._parts)
        if not keeps_streams:
            self.progress.add_notes(["sound and subtitles are left out: the files do not have the same ones"])
        rates = {part.average_rate for part in self._parts}
        with ExitStack() as files:
            reader = files.enter_context(open_ssv(first.path))  # its streams are needed to the end
            source = AppendedSource(reader, keeps_streams=keeps_streams)
            writer = files.enter_context(
                SsvWriter(
                    self._target,
                    format=first.header.format,
                    time_base=self._time_base,
                    codec_private=build_codec_private(first.header),
                    average_rate=first.average_rate if len(rates) == 1 else None,
                    source=source,
                    live=self._target == "-",
                )
            )
            for number, part in enumerate(self._parts):
                if number:
                    reader = files.enter_context(open_ssv(part.path))
                for packet in self._moved(part, reader, source, is_first=not number, stop=stop):
                    writer.write(packet)
                    self._count(packet)
                self.progress.add_notes([*reader.notes, *source.notes])
            writer.close()  # while the last file is open: its sound is not read to the end yet

    def _moved(
        self, part: _Part, reader: SsvReader, source: AppendedSource, *, is_first: bool, stop: StopRequest
    ) -> Iterator[Packet]:
        """The packets of one file from its first key frame on, in the time of the joined file."""
        from ffmpeg_bridge.timing import nearest

        offset: Fraction | None = None
        n_skipped = 0
        for packet in self._readable(part, reader, stop):
            due = (packet.pts or 0) * packet.time_base
            if offset is None:
                if not packet.is_keyframe:  # it refers to a frame that is not in this file
                    n_skipped += 1
                    continue
                offset = Fraction(0) if is_first else self._end - due
                if not is_first:
                    source.go_on_with(reader, offset=offset, end=self._end)
            ticks = nearest((due + offset) / self._time_base)
            length = nearest(packet.duration * packet.time_base / self._time_base)
            yield replace(packet, pts=ticks, duration=length, time_base=self._time_base)
        if n_skipped:
            self.progress.add_notes([f"{part.path}: {n_skipped} frames before its first key frame are left out"])

    def _readable(self, part: _Part, reader: SsvReader, stop: StopRequest) -> Iterator[Packet]:
        packets = iter(reader)
        while not stop.is_set:
            try:
                packet = next(packets, None)
            except (MediaError, BitstreamError) as error:
                if not stop.is_set:
                    self.damage.append((part.path, error))
                return
            if packet is None:
                if reader.truncated:
                    self.damage.append((part.path, MediaError("the file is truncated or damaged")))
                return
            yield packet

    def _count(self, packet: Packet) -> None:
        begin = (packet.pts or 0) * packet.time_base
        step = packet.duration * packet.time_base or begin - self._last_begin
        self._end, self._last_begin = begin + step, begin
        self.progress.add_frame(end_seconds=float(self._end), n_bytes=len(packet.data))
