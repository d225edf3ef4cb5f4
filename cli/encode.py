"""`ssvc encode`: any video that ffmpeg reads becomes an .ssv file or a live pipe."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ssvc_codec.errors import BitstreamError, MediaError

from .encode_objects import ObjectOptions, parse_object_quality
from .exit_codes import ExitCode, print_error, with_exit_code
from .interrupt import StopRequest
from .keyint import ForcedKeyFrames, check_min_keyint, parse_key_times, parse_keyint
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
    preset: Annotated[
        Literal["fast", "medium", "slow"],
        typer.Option(help="Effort of the encoder; also chooses how hard motion is searched."),
    ] = "medium",
    keyint: Annotated[
        str,
        typer.Option(
            "-g", "--keyint", metavar="N|Ns", help="Most frames, or seconds (2s), from one key frame to the next."
        ),
    ] = "2s",
    min_keyint: Annotated[
        int | None,
        typer.Option(
            min=1, help="Fewest frames from a key frame to one at a scene cut; a tenth of --keyint if not set."
        ),
    ] = None,
    scenecut: Annotated[
        bool, typer.Option("--scenecut/--no-scenecut", help="Start each scene with a key frame.")
    ] = True,
    force_key_frames: Annotated[
        str | None,
        typer.Option(metavar="T[,T...]", help="Key frames at these times, counted from the first frame coded."),
    ] = None,
    detector: Annotated[
        str, typer.Option(metavar="parser|FILE.onnx|none", help="What finds objects: our own parser, or your network.")
    ] = "parser",
    detections: Annotated[
        str | None, typer.Option(metavar="FILE.json", help="Objects found elsewhere, as COCO results.")
    ] = None,
    classes: Annotated[str | None, typer.Option(metavar="NAME[,NAME]", help="Only these; default: all.")] = None,
    min_score: Annotated[float | None, typer.Option(min=0, max=1, help="Leave out objects less certain.")] = None,
    detect_every: Annotated[
        int, typer.Option(min=1, metavar="N", help="Frames from one detection to the next; key frames always.")
    ] = 4,
    object_quality: Annotated[
        str | None,
        typer.Option(metavar="CLASS=N[,...]", help="Finer (+) or coarser: person=+6,background=-6, as steps of --crf."),
    ] = None,
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
    interval = parse_keyint(keyint)
    quality = parse_object_quality(object_quality or "")
    options = ObjectOptions(detector, detections, classes, min_score, detect_every, quality, device, threads)
    options.check()
    forced = ForcedKeyFrames(parse_key_times(force_key_frames) if force_key_frames else ())
    check_output(target, source=source, overwrite=overwrite)
    from ffmpeg_bridge.reader import open_video
    from ffmpeg_bridge.writer import SsvWriter
    from ssvc_codec.bitstream import SequenceHeader, build_codec_private
    from ssvc_codec.encoder import Encoder

    from .bit_depth import with_bit_depth

    progress = Progress(quiet=quiet, q=crf)
    finder = options.open_detector()
    options.check_quality(finder)
    if finder is not None and verbose:
        progress.add_notes([f"objects: {finder.description}"])
    with (
        StopRequest(ends_stdin=source == "-") as stop,
        open_video(source, start_seconds=start, max_frames=frames) as reader,
    ):
        format = reader.format if bit_depth == "auto" else replace(reader.format, bit_depth=int(bit_depth))
        keyint_frames = interval.frames(reader.average_rate)
        check_min_keyint(min_keyint, keyint_frames)
        encoder = Encoder(
            format,
            time_base=reader.time_base,
            crf=crf,
            preset=preset,
            keyint=keyint_frames,
            min_keyint=min_keyint,
            scenecut=scenecut,
            object_source=options.source(finder, format),
            object_quality=quality,
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
        job = _EncodeJob(encoder, writer, progress, stop, forced, notes=reader.notes)
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
    forced: ForcedKeyFrames
    notes: list[str]  # of the bridge; grows as it finds out
    damage: MediaError | BitstreamError | None = None  # why reading ended early

    def run(self, frames: Iterator[Frame]) -> None:
        while not self.stop.is_set:
            frame = self._next(frames)
            if frame is None:
                break
            force_key = self.forced.is_due(pts=frame.pts, time_base=frame.time_base)
            self._write(self.encoder.send(frame, force_key=force_key))
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
