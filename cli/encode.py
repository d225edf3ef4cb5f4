"""`ssvc encode`: any video that ffmpeg reads becomes an .ssv file or a live pipe."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ssvc_codec.errors import BitstreamError, MediaError

from .exit_codes import ExitCode, print_error, with_exit_code
from .interrupt import StopRequest
from .options import Device, Frames, Overwrite, Quiet, Start, Threads, Verbose
from .output import check_output
from .progress import Progress

if TYPE_CHECKING:
    from ffmpeg_bridge.writer import SsvWriter
    from ssvc_codec.encoder import Encoder
    from ssvc_codec.frame import Frame
    from ssvc_codec.packet import Packet

__all__ = ["encode"]


@with_exit_code
def encode(
    source: Annotated[str, typer.Argument(metavar="IN", help="A video; - reads stdin.")],
    target: Annotated[str, typer.Argument(metavar="OUT", help="The .ssv file; - writes a live stream to stdout.")],
    *,
    crf: Annotated[float, typer.Option(min=0, max=63, help="Quality: 0 is best, 63 smallest.")] = 28,
    model: Annotated[str, typer.Option(metavar="NAME", help="Which weights to use.")] = "base",
    preset: Annotated[Literal["fast", "medium", "slow"], typer.Option(help="Effort of the encoder.")] = "medium",
    keyint: Annotated[int, typer.Option("-g", "--keyint", min=1, help="Frames from one key frame to the next.")] = 1,
    bit_depth: Annotated[Literal["auto", "8", "10"], typer.Option(help="Of samples; auto keeps the input's.")] = "auto",
    frames: Frames = None,
    start: Start = None,
    threads: Threads = 0,
    device: Device = "auto",
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Encode a video into an .ssv file.

    Sound, subtitles, chapters and the like are copied. The first Ctrl-C finishes
    the frame and leaves a playable file, the second stops at once.
    """
    check_output(target, source=source, overwrite=overwrite)
    from ffmpeg_bridge.reader import open_video
    from ffmpeg_bridge.writer import SsvWriter
    from ssvc_codec.bitstream import SequenceHeader, build_codec_private
    from ssvc_codec.encoder import Encoder

    from .bit_depth import with_bit_depth

    progress = Progress(quiet=quiet, q=crf)
    with (
        StopRequest(ends_stdin=source == "-") as stop,
        open_video(source, start_seconds=start, max_frames=frames) as reader,
    ):
        format = reader.format if bit_depth == "auto" else replace(reader.format, bit_depth=int(bit_depth))
        encoder = Encoder(
            format,
            time_base=reader.time_base,
            crf=crf,
            preset=preset,
            keyint=keyint,
            model=model,
            device=device,
            threads=threads,
        )
        writer = SsvWriter(
            target,
            format=format,
            time_base=reader.time_base,
            codec_private=build_codec_private(SequenceHeader.from_bytes(encoder.sequence_header)),
            average_rate=reader.average_rate,
            source=reader,
            live=target == "-",
        )
        job = _EncodeJob(encoder, writer, progress, stop, notes=reader.notes)
        try:
            job.run(with_bit_depth(frame, format) for frame in reader)
            if not progress.n_frames:
                raise job.damage or MediaError(f"{source}: no video frame to encode")
            writer.close()
        except BaseException:
            writer.abort()
            raise
        progress.add_notes(reader.notes)
        damage = job.damage or reader.damage
    progress.finish()
    if stop.is_set:
        return stop.exit_code
    if job.damage is not None:
        print_error(f"{source}: reading stopped after {progress.n_frames} frames, which were kept: {job.damage}")
    elif damage is not None:
        print_error(f"{source} is damaged: {damage}; the {progress.n_frames} frames that decode were kept")
    if damage is not None:
        return ExitCode.DAMAGED
    return ExitCode.OK


@dataclass
class _EncodeJob:
    """Frames in, packets out, until the input ends, breaks, or the user stops it."""

    encoder: Encoder
    writer: SsvWriter
    progress: Progress
    stop: StopRequest
    notes: list[str]  # of the bridge; grows as it finds out
    damage: MediaError | BitstreamError | None = None  # why reading ended early

    def run(self, frames: Iterator[Frame]) -> None:
        while not self.stop.is_set:
            frame = self._next(frames)
            if frame is None:
                break
            self._write(self.encoder.send(frame))
        self._write(self.encoder.flush())

    def _next(self, frames: Iterator[Frame]) -> Frame | None:
        try:
            return next(frames, None)
        except (MediaError, BitstreamError) as error:
            if not self.stop.is_set:  # a signal also interrupts a read from a pipe
                self.damage = error
            return None

    def _write(self, packets: list[Packet]) -> None:
        for packet in packets:
            self.writer.write(packet)
            self.progress.add_notes(self.notes)
            end_seconds = None if packet.pts is None else float((packet.pts + packet.duration) * packet.time_base)
            self.progress.add_frame(end_seconds=end_seconds, n_bytes=len(packet.data))
