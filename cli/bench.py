"""`ssvc bench`: ssvc beside other codecs on clips of one's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from ssvc_codec.errors import MediaError

from .bench_options import parse_crfs, parse_points
from .bench_progress import BenchProgress
from .exit_codes import ExitCode, print_error, with_exit_code
from .interrupt import StopRequest
from .options import Device, Quiet, Verbose

if TYPE_CHECKING:
    from ffmpeg_bridge.bench.codec import Settings
    from ffmpeg_bridge.bench.comparisons import Pair
    from ffmpeg_bridge.bench.own_codec import OwnCodec
    from ffmpeg_bridge.bench.registry import Choice
    from ffmpeg_bridge.bench.run import Results

__all__ = ["bench"]


@with_exit_code
def bench(
    clips: Annotated[list[str], typer.Argument(metavar="CLIP...", help="Videos of any kind that ffmpeg reads.")],
    *,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where tables, report and plots go.")],
    codecs: Annotated[
        str,
        typer.Option(
            metavar="NAME[,NAME]",
            help="Of ssvc, ssvc-intra, x264, x264-psnr, x265, svtav1, av1, vvenc, mjpeg, libjpeg, and "
            "compressai:ARCHITECTURE:FILE.pth[,FILE.pth]; what is not installed is left out.",
        ),
    ] = "ssvc,x264,x265,svtav1,vvenc",
    keyint: Annotated[int, typer.Option("-g", "--keyint", min=1, help="Frames of a GoP; 1: key frames alone.")] = 12,
    frames: Annotated[int, typer.Option(min=1, help="First frames of each clip.")] = 48,
    crfs: Annotated[
        str, typer.Option(metavar="N[,N]", help="Quality points of ssvc, 0 to 63.")
    ] = "0,9,18,27,36,45,54,63",
    points: Annotated[
        list[str] | None, typer.Option(metavar="CODEC=N[,N]", help="Quality points of another codec; repeatable.")
    ] = None,
    model: Annotated[str, typer.Option(metavar="NAME", help="Which weights ssvc uses.")] = "base",
    preset: Annotated[str, typer.Option(help="Effort of the encoder of ssvc.")] = "medium",
    against: Annotated[
        str, typer.Option(metavar="NAME[,NAME]", help="Compare every codec with these; default: ssvc with every other.")
    ] = "",
    threads: Annotated[int, typer.Option(min=0, help="CPU threads of every codec; 0 takes all.")] = 1,
    device: Device = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Go on: keep what FOLDER has measured already.")] = False,
    overwrite: Annotated[bool, typer.Option("-y", help="Measure anew where FOLDER holds results.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the coded files in FOLDER/coded.")] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Measure rate and distortion of ssvc beside other codecs.

    All get the same samples. Writes results.tsv, bd_rate.tsv, report.md and a plot per clip. The first Ctrl-C ends
    after the point at hand, the second at once; --resume goes on after either.
    """
    if "-" in clips:
        raise typer.BadParameter("standard input cannot be read for every codec: name files", param_hint="CLIP")
    with StopRequest() as stop:
        own = _OwnOptions(parse_crfs(crfs), model, preset, device, lambda: stop.is_set)
        plan = _plan(codecs, parse_points(points or []), against, keyint=keyint, threads=threads, own=own)
        job = _Job(clips, out, frames, plan, keep=keep, quiet=quiet)
        results = job.run(stop, resume=resume, overwrite=overwrite)
    if not quiet:
        print(job.folder.report)
    if not results.is_complete:
        return stop.exit_code
    for failure in results.failures[:1]:
        print_error(
            f"points that failed: {len(results.failures)}; the first, {failure.codec} at {failure.point:g} on "
            f"{failure.clip}: {failure.reason}"
        )
    return ExitCode.FAILED if results.failures else ExitCode.OK


@dataclass(frozen=True)
class _OwnOptions:
    """The options of ssvc itself."""

    crfs: tuple[float, ...]
    model: str
    preset: str
    device: str
    should_stop: Callable[[], bool]

    def codec(self, settings: Settings) -> OwnCodec:
        from ffmpeg_bridge.bench.own_codec import OwnCodec

        return OwnCodec(
            settings,
            self.crfs,
            model=self.model,
            preset=self.preset,
            device=self.device,
            should_stop=self.should_stop,
        )

    def check(self) -> None:
        """Raises typer.BadParameter for a preset, ModelError for a model that there is not."""
        from ssvc_codec.encoder import Preset
        from ssvc_codec.weights import find_model

        if self.preset not in get_args(Preset):
            raise typer.BadParameter(f"{self.preset!r} is none of {', '.join(get_args(Preset))}", param_hint="--preset")
        find_model(self.model)


@dataclass(frozen=True)
class _Plan:
    """What is measured, and what is compared with what."""

    settings: Settings
    choice: Choice
    pairs: list[Pair]


def _plan(
    codecs: str,
    points: dict[str, tuple[float, ...]],
    against: str,
    *,
    keyint: int,
    threads: int,
    own: _OwnOptions,
) -> _Plan:
    """Raises typer.BadParameter for names that there are not, MediaError where nothing named is installed."""
    from ffmpeg_bridge.bench.codec import Settings
    from ffmpeg_bridge.bench.comparisons import choose_pairs
    from ffmpeg_bridge.bench.compressai_codec import CompressaiCodec
    from ffmpeg_bridge.bench.registry import OWN_NAMES, choose_codecs, split_names

    settings = Settings(keyint=keyint, threads=threads)
    try:
        choice = choose_codecs(split_names(codecs), own=own.codec(settings), points=points)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--codecs") from error
    names = [codec.name for codec in choice.codecs]
    anchors = [name for name in against.split(",") if name]
    for name in anchors:
        if name not in (*names, *choice.missing):
            raise typer.BadParameter(f"{name} is none of --codecs", param_hint="--against")
    if not names:
        raise MediaError("nothing to measure: " + "; ".join(f"{name}: {why}" for name, why in choice.missing.items()))
    if any(name in OWN_NAMES for name in names):
        own.check()
    for codec in choice.codecs:
        if isinstance(codec, CompressaiCodec):
            codec.check()
    known = [name for name in anchors if name in names]
    pairs = choose_pairs(choice.codecs, own=OWN_NAMES, against=known) if known or not anchors else []
    return _Plan(settings, choice, pairs)


class _Job:
    """One run with its folder and its lines on stderr."""

    def __init__(self, clips: Sequence[str], out: Path, n_frames: int, plan: _Plan, *, keep: bool, quiet: bool) -> None:
        from ffmpeg_bridge.bench.folder import ResultFolder

        self.folder = ResultFolder(out)
        self._clips, self._n_frames, self._plan = clips, n_frames, plan
        self._kept = self.folder.coded if keep else None
        self._progress = BenchProgress(quiet=quiet)

    def run(self, stop: StopRequest, *, resume: bool, overwrite: bool) -> Results:
        """Everything. Tables are written after each clip, and whatever happens."""
        from ffmpeg_bridge.bench.clips import probe_clips
        from ffmpeg_bridge.bench.run import Bench

        sources = probe_clips(self._clips, n_frames=self._n_frames)
        cache = self.folder.open(resume=resume, overwrite=overwrite)
        choice = self._plan.choice
        self._progress.add_notes(f"{name} is left out: {reason}" for name, reason in choice.missing.items())
        results = Bench(
            sources,
            choice.codecs,
            n_frames=self._n_frames,
            cache=cache,
            kept=self._kept,
            should_stop=lambda: stop.is_set,
            on_point=self._progress.show,
            on_clip=self._write,
        ).run()
        self._write(results)
        return results

    def _write(self, results: Results) -> None:
        plan = self._plan
        self.folder.write(results, pairs=plan.pairs, settings=plan.settings, choice=plan.choice)
