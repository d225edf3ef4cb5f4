"""`ssvc eval pose`: key points of people, of which alone the stream is decoded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from .eval_options import (
    Anchors,
    BoxScore,
    Crfs,
    Data,
    EncoderDetector,
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
from .exit_codes import with_exit_code
from .options import Device, Quiet, Verbose

if TYPE_CHECKING:
    from ffmpeg_bridge.tasks.task import Task

__all__ = ["pose"]


@with_exit_code
def pose(
    data: Data,
    *,
    out: Out,
    network: Annotated[
        Path, typer.Option(metavar="FILE", help="Finds 17 key points in a square crop: .onnx, or .tflite as MoveNet.")
    ],
    split: Annotated[str, typer.Option(metavar="NAME", help="val2017, val2014, .., where there are several.")] = "",
    reference: Annotated[
        Literal["original", "annotations"],
        typer.Option(help="What is right: the network on the original, or COCO's annotations."),
    ] = "original",
    frames: Annotated[int, typer.Option(min=1, metavar="N", help="First frames of each clip of a folder.")] = 12,
    keyint: Annotated[int, typer.Option("-g", "--keyint", min=1, help="Frames of a GoP.")] = 12,
    encoder_detector: EncoderDetector = "parser",
    box_score: BoxScore = None,
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
    """Measure pose on people alone: COCO with person_keypoints_SPLIT.json, or a folder of pictures and clips.

    In a folder people are found by the encoder's detector, in the originals.
    """
    from ssvc_codec.semantics.open import open_detector

    if encoder_detector == "none":
        raise typer.BadParameter("people must be found to be decoded alone", param_hint="--encoder-detector")
    if not network.is_file():
        raise typer.BadParameter(f"{network}: no such file", param_hint="--network")

    def make_task() -> Task:
        from ffmpeg_bridge.tasks.people import coco_people, folder_people, is_coco_people
        from ffmpeg_bridge.tasks.pose import PoseTask
        from ffmpeg_bridge.tasks.pose_network import open_pose_network

        if is_coco_people(data):
            items = coco_people(data, split=split, limit=limit)
        elif reference == "annotations":
            raise typer.BadParameter(f"{data} has no person_keypoints_*.json", param_hint="--reference")
        else:
            items = folder_people(data, limit=limit, n_frames=frames)
        finder = open_detector(encoder_detector, device=device, threads=threads)
        network_opened = open_pose_network(network, device=device, threads=threads)
        return PoseTask(items, network_opened, finder=finder, reference=reference)

    job = EvalJob(
        out,
        keyint,
        crfs,
        anchors,
        points,
        model,
        preset,
        threads,
        device,
        resume,
        overwrite,
        quiet,
        box_score=box_score,
    )
    return job.run(
        make_task,
        detector=lambda: open_detector(encoder_detector, device=device, min_score=box_score, threads=threads),
    )
