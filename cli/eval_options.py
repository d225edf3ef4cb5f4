"""What the commands of `ssvc eval` have in common: codecs, folder, progress, and the run itself."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from .bench_options import parse_crfs, parse_points
from .exit_codes import ExitCode, print_error
from .interrupt import StopRequest
from .timecode import format_time

if TYPE_CHECKING:
    from ffmpeg_bridge.bench.codec import Codec, Settings
    from ffmpeg_bridge.tasks.own_stream import TaskEncoder
    from ffmpeg_bridge.tasks.run import StepDone
    from ffmpeg_bridge.tasks.task import Task
    from ssvc_codec.semantics.detection import Detector

__all__ = [
    "Anchors",
    "BoxScore",
    "Crfs",
    "Data",
    "EncoderDetector",
    "EvalJob",
    "Limit",
    "Model",
    "Out",
    "Points",
    "PresetName",
    "Remeasure",
    "Resume",
    "TaskThreads",
    "default_points",
]

Data = Annotated[Path, typer.Argument(metavar="DATA", help="The data set, in its usual layout.")]
Out = Annotated[Path, typer.Option(metavar="FOLDER", help="Where tables, report and plot go.")]
Limit = Annotated[int | None, typer.Option(min=1, metavar="N", help="The first N items alone.")]
Crfs = Annotated[str, typer.Option(metavar="N[,N]", help="Quality points of ssvc, 0 to 63.")]
Anchors = Annotated[
    str, typer.Option(metavar="NAME[,NAME]", help="Codecs to compare with; what is not installed is left out.")
]
Points = Annotated[
    list[str] | None, typer.Option(metavar="CODEC=N[,N]", help="Quality points of an anchor; repeatable.")
]
Model = Annotated[str, typer.Option(metavar="NAME", help="Which weights ssvc uses.")]
PresetName = Annotated[str, typer.Option(help="Effort of the encoder of ssvc.")]
EncoderDetector = Annotated[
    str, typer.Option(metavar="NAME", help="Whose boxes ssvc writes: parser, none or FILE.onnx.")
]
BoxScore = Annotated[
    float | None,
    typer.Option(min=0, max=1, help="Least score of a box in the stream; the tracker's rule if not given."),
]
TaskThreads = Annotated[int, typer.Option(min=0, help="CPU threads of codecs and networks; 0 takes all.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on: keep what FOLDER has measured already.")]
Remeasure = Annotated[bool, typer.Option("-y", help="Measure anew where FOLDER holds results.")]

_POINTS = (27.0, 32.0, 37.0, 42.0)


def default_points(name: str) -> tuple[float, ...]:
    """Four quality points of an anchor: 27, 32, 37, 42 where it counts as H.264 does."""
    from ffmpeg_bridge.bench.registry import anchor_codec

    points = anchor_codec(name, _settings(1, 1)).points
    return _POINTS if max(points) < 60 else points[2:6]


def _settings(keyint: int, threads: int) -> Settings:
    from ffmpeg_bridge.bench.codec import Settings

    return Settings(keyint=keyint, threads=threads)


@dataclass(frozen=True)
class EvalJob:
    """One run of a task, from options to exit code."""

    out: Path
    keyint: int
    crfs: str
    anchors: str
    points: list[str] | None
    model: str
    preset: str
    threads: int
    device: str
    resume: bool
    overwrite: bool
    quiet: bool
    box_score: float | None = None

    def run(self, make_task: Callable[[], Task], *, detector: Callable[[], Detector | None] = lambda: None) -> int:
        """Measures a task. make_task is called once the options are known to be good. Returns the exit code."""
        from ffmpeg_bridge.tasks.report import TaskFolder
        from ffmpeg_bridge.tasks.run import TaskRun

        codecs, missing = self._codecs()
        own = self.encoder(detector())
        task = make_task()
        folder = TaskFolder(self.out)
        cache = folder.open(resume=self.resume, overwrite=self.overwrite)
        for name, reason in missing.items():
            self.print_progress(f"ssvc: note: {name} is left out: {reason}")
        with StopRequest() as stop:
            run = TaskRun(task, own, codecs, cache, should_stop=lambda: stop.is_set, on_step=self._show)
            results = run.run()
            if run.whole_items or results.is_complete:
                folder.write(run, missing=missing)
                if not self.quiet:
                    print(folder.report)
        if not results.is_complete:
            return stop.exit_code
        for failure in results.failures[:1]:
            n = len(results.failures)
            print_error(
                f"measurements that failed: {n}; the first, {failure.codec} on {failure.item}: {failure.reason}"
            )
        return ExitCode.FAILED if results.failures else ExitCode.OK

    def _codecs(self) -> tuple[list[Codec], dict[str, str]]:
        from ffmpeg_bridge.bench.registry import anchor_codec

        points = parse_points(self.points or [])
        codecs: list[Codec] = []
        missing: dict[str, str] = {}
        names = [name.strip() for name in self.anchors.split(",") if name.strip() not in ("", "none")]
        for name in dict.fromkeys(names):
            try:
                wanted = points.pop(name, None) or default_points(name)
                codec = anchor_codec(name, _settings(self.keyint, self.threads), points=wanted)
            except ValueError as error:
                raise typer.BadParameter(str(error), param_hint="--anchors") from error
            if reason := codec.missing():
                missing[name] = reason
            else:
                codecs.append(codec)
        if points:
            raise typer.BadParameter(f"{next(iter(points))} is none of --anchors", param_hint="--points")
        return codecs, missing

    def encoder(self, detector: Detector | None = None) -> TaskEncoder:
        """ssvc with the options. Raises BadParameter and ModelError."""
        from ffmpeg_bridge.tasks.own_stream import TaskEncoder
        from ssvc_codec.encoder import Preset
        from ssvc_codec.weights import find_model

        if self.preset not in get_args(Preset):
            raise typer.BadParameter(f"{self.preset!r} is none of {', '.join(get_args(Preset))}", param_hint="--preset")
        find_model(self.model)
        return TaskEncoder(
            _settings(self.keyint, self.threads),
            parse_crfs(self.crfs),
            model=self.model,
            preset=self.preset,
            device=self.device,
            detector=detector,
            box_score=self.box_score,
        )

    def _show(self, done: StepDone) -> None:
        width = len(str(done.n_steps))
        point = "" if done.point != done.point else f" {done.point:g}"
        state = " failed" if done.is_failed else " (known)" if done.is_cached else ""
        left = "" if done.seconds_left is None else f", left {format_time(done.seconds_left)}"
        self.print_progress(f"[{done.number:{width}}/{done.n_steps}] {done.item} {done.codec}{point}{state}{left}")

    def print_progress(self, line: str) -> None:
        """Prints to stderr, unless quiet."""
        if not self.quiet:
            print(line, file=sys.stderr, flush=True)
