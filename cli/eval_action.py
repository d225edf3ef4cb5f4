"""`ssvc eval action`: UCF-101 from a share of the key frames and a tenth of the flows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .eval_options import (
    Anchors,
    Crfs,
    Data,
    EvalJob,
    Limit,
    Model,
    Out,
    Points,
    PresetName,
    Remeasure,
    Resume,
    TaskThreads,
)
from .exit_codes import ExitCode, with_exit_code
from .options import Device, Quiet, Verbose

if TYPE_CHECKING:
    from ffmpeg_bridge.tasks.task import Task

__all__ = ["action"]


@with_exit_code
def action(
    data: Data,
    *,
    out: Out,
    lists: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Of classInd.txt and the lists, if not ucfTrainTestlist/.")
    ] = None,
    split: Annotated[int, typer.Option(min=1, metavar="N", help="1, 2 or 3.")] = 1,
    frames: Annotated[int, typer.Option(min=2, metavar="N", help="First frames of each clip.")] = 120,
    keyint: Annotated[int, typer.Option("-g", "--keyint", min=2, help="Frames of a GoP.")] = 12,
    backbone: Annotated[
        str, typer.Option(metavar="NAME", help="Of the picture stream: parser, or FILE.onnx trained on ImageNet.")
    ] = "parser",
    networks: Annotated[Path | None, typer.Option(metavar="FILE", help="What --train wrote.")] = None,
    train: Annotated[
        bool, typer.Option("--train", help="Train on the train list: writes OUT/action.safetensors.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of training.")] = 1,
    limit: Limit = None,
    crfs: Crfs = "21,30,39,48",
    anchors: Anchors = "x264,x265,vvenc",
    points: Points = None,
    model: Model = "base",
    preset: PresetName = "medium",
    threads: TaskThreads = 1,
    device: Device = "auto",
    resume: Resume = False,
    overwrite: Remeasure = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Measure action recognition on UCF-101: CLASS/VIDEO.avi and the lists of a split. --train comes first.

    Needs OpenCV: `pip install ssvc[eval]`.
    """
    if not train and networks is None:
        raise typer.BadParameter("train networks with --train, then name them", param_hint="--networks")
    from ffmpeg_bridge.tasks.two_stream import Backbone, TwoStream
    from ffmpeg_bridge.tasks.ucf101 import read_ucf101

    part = "train" if train else "test"
    clips = read_ucf101(data, part=part, split=split, lists=lists, limit=limit, n_frames=frames)
    opened = Backbone(backbone, device=device, threads=threads)
    if train:
        from ffmpeg_bridge.tasks.train_action import train_action

        path = out / "action.safetensors"
        report = None if quiet else lambda text: typer.echo(text, err=True)
        train_action(clips, opened, path, keyint=keyint, seed=seed, threads=threads, report=report)
        print(path)
        return ExitCode.OK

    def make_task() -> Task:
        from ffmpeg_bridge.tasks.action import ActionTask

        assert networks is not None
        return ActionTask(clips, TwoStream(networks, opened), keyint=keyint)

    job = EvalJob(out, keyint, crfs, anchors, points, model, preset, threads, device, resume, overwrite, quiet)
    return job.run(make_task)
