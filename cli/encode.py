"""`ssvc encode`: any video that ffmpeg reads becomes an .ssv file or a live pipe."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ssvc_codec.errors import BitstreamError, MediaError

from .encode_objects import ObjectOptions, parse_object_quality
from .exit_codes import ExitCode, print_error, with_exit_code
from .frame_statistics import FrameLog, check_statistics_file
from .interrupt import StopRequest
from .keyint import ForcedKeyFrames, check_min_keyint, parse_key_times, parse_keyint
from .options import Device, Frames, Overwrite, Quiet, Start, Threads, Verbose
from .output import check_output
from .progress import Progress
from .rate_options import (
    Bitrate,
    Bufsize,
    Crf,
    Maxrate,
    RateOptions,
    TargetMsSsim,
    TargetPsnr,
    TargetSize,
    TwoPass,
)
from .raw_input import InputFormat, PixelFormat, Rate, RawInput, Size

if TYPE_CHECKING:
    from ffmpeg_bridge.writer import SsvWriter
    from ssvc_codec.encoder import Encoder
    from ssvc_codec.frame import Frame
    from ssvc_codec.packet import Packet

__all__ = ["encode"]

MODELS = {"psnr": "base", "ms-ssim": "ms-ssim"}  # by --tune


@with_exit_code
def encode(
    source: Annotated[str, typer.Argument(metavar="IN", help="A video; - reads stdin.")],
    target: Annotated[str, typer.Argument(metavar="OUT", help="The .ssv file; - writes a live stream to stdout.")],
    *,
    crf: Crf = None,
    bitrate: Bitrate = None,
    maxrate: Maxrate = None,
    bufsize: Bufsize = None,
    two_pass: TwoPass = False,
    target_size: TargetSize = None,
    target_psnr: TargetPsnr = None,
    target_msssim: TargetMsSsim = None,
    stats: Annotated[
        Path | None, typer.Option(metavar="FILE.csv|FILE.json", help="What every frame cost: cli/frame_statistics.py.")
    ] = None,
    psnr: Annotated[bool, typer.Option("--psnr", help="Measure PSNR: printed at the end, and in --stats.")] = False,
    tune: Annotated[
        Literal["psnr", "ms-ssim"], typer.Option(help="What quality means: choose the weights made for it.")
    ] = "psnr",
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which weights to use; default: those of --tune.")
    ] = None,
    preset: Annotated[
        Literal["fast", "medium", "slow"],
        typer.Option(help="Effort of the encoder: how hard motion is searched, and what is tried to save bits."),
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
    format: InputFormat = None,
    size: Size = None,
    pix_fmt: PixelFormat = None,
    rate: Rate = None,
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
    if model is not None and tune != "psnr":
        raise typer.BadParameter("--model says which weights: --tune does the same", param_hint="--tune")
    quality = parse_object_quality(object_quality or "")
    options = ObjectOptions(detector, detections, classes, min_score, detect_every, quality, device, threads)
    options.check()
    key_times = parse_key_times(force_key_frames) if force_key_frames else []
    forced = ForcedKeyFrames(key_times)
    raw = RawInput(format, size, pix_fmt, rate)
    raw.check(source)
    sizing = RateOptions(crf, bitrate, maxrate, bufsize, two_pass, target_size, target_psnr, target_msssim)
    sizing.check(source=source)
    check_statistics_file(stats)
    check_output(target, source=source, overwrite=overwrite)
    if stats is not None:
        check_output(str(stats), source=source, overwrite=overwrite)
    from ffmpeg_bridge.reader import open_video
    from ffmpeg_bridge.writer import SsvWriter
    from ssvc_codec.bitstream import SequenceHeader, build_codec_private
    from ssvc_codec.encoder import Encoder

    from .bit_depth import with_bit_depth
    from .first_pass import code_first_pass, video_seconds

    progress = Progress(quiet=quiet, q=sizing.fixed_crf)
    finder = options.open_detector()
    options.check_quality(finder)
    if finder is not None and verbose:
        progress.add_notes([f"objects: {finder.description}"])
    with (
        StopRequest(ends_stdin=source == "-") as stop,
        open_video(source, start_seconds=start, max_frames=frames, **raw.reader_options) as reader,
    ):
        coded = reader.format if bit_depth == "auto" else replace(reader.format, bit_depth=int(bit_depth))
        keyint_frames = interval.frames(reader.average_rate)
        check_min_keyint(min_keyint, keyint_frames)
        settings: dict[str, Any] = {
            "time_base": reader.time_base,
            "keyint": keyint_frames,
            "min_keyint": min_keyint,
            "scenecut": scenecut,
            "model": model or MODELS[tune],
            "device": device,
            "threads": threads,
        }
        seconds = video_seconds(reader) if sizing.needs_seconds else None
        first = None
        if sizing.n_passes == 2:
            first = sizing.first_pass(seconds=seconds)
            with open_video(source, start_seconds=start, max_frames=frames, **raw.reader_options) as again:
                code_first_pass(
                    (with_bit_depth(frame, coded) for frame in again),
                    Encoder(coded, rate_control=first, preset="fast", **settings),
                    forced=ForcedKeyFrames(key_times),
                    stop=stop,
                    quiet=quiet,
                )
            if stop.is_set:
                return stop.exit_code
            progress = Progress(quiet=quiet)
            progress.add_notes(["pass 2 of 2"])
        control = sizing.open_control(coded, seconds=seconds, first=first)
        encoder = Encoder(
            coded,
            crf=sizing.fixed_crf,
            rate_control=control,
            preset=preset,
            object_source=options.source(finder, coded),
            object_quality=quality,
            keep_reconstruction=psnr or sizing.needs_reconstruction,
            **settings,
        )
        log = FrameLog(stats, psnr=psnr, bucket=getattr(control, "vbv", None)) if stats or psnr or control else None
        writer = SsvWriter(
            target,
            format=coded,
            time_base=reader.time_base,
            codec_private=build_codec_private(SequenceHeader.from_bytes(encoder.sequence_header)),
            average_rate=reader.average_rate,
            source=reader,
            live=target == "-",
        )
        job = _EncodeJob(encoder, writer, progress, stop, forced, notes=reader.notes, log=log)
        try:
            job.run(with_bit_depth(frame, coded) for frame in reader)
            if not progress.n_frames:
                raise job.damage or MediaError(f"{source}: no video frame to encode")
            writer.close()
        except BaseException:
            writer.abort()
            raise
        finally:
            if log is not None:
                log.close()
        progress.add_notes(reader.notes)
        damage = job.damage or reader.damage
    progress.finish()
    if log is not None:
        progress.add_notes(log.notes() + sizing.outcome(n_bits=8 * (progress.n_bytes or 0), seconds=log.seconds))
    progress.add_notes(control.notes if control else [])
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
    log: FrameLog | None = None
    damage: MediaError | BitstreamError | None = None  # why reading ended early

    def run(self, frames: Iterator[Frame]) -> None:
        while not self.stop.is_set:
            frame = self._next(frames)
            if frame is None:
                break
            force_key = self.forced.is_due(pts=frame.pts, time_base=frame.time_base)
            self._write(self.encoder.send(frame, force_key=force_key))
            if self.log is not None:
                self.log.add(frame, self.encoder)
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
