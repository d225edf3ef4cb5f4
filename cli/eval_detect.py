"""`ssvc eval detect`: COCO detection from heads alone, from objects alone and from full pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

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

__all__ = ["detect"]

_LEAST_SCORE = 0.01  # average precision looks at every box, however doubtful


@with_exit_code
def detect(
    data: Data,
    *,
    out: Out,
    split: Annotated[str, typer.Option(metavar="NAME", help="val2017, val2014, .., where there are several.")] = "",
    detector: Annotated[
        str, typer.Option(metavar="NAME", help="Who looks at decoded pictures: parser or FILE.onnx.")
    ] = "parser",
    encoder_detector: EncoderDetector = "parser",
    box_score: BoxScore = None,
    headers_only: Annotated[
        bool, typer.Option("--headers-only", help="Decode no picture of ssvc: quick, for many pictures.")
    ] = False,
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
    """Measure detection on a COCO data set: annotations/instances_SPLIT.json and SPLIT/, or instances.json and images/.

    Every picture is coded as one I frame. Needs pycocotools: `pip install ssvc[eval]`.
    """
    from ssvc_codec.semantics.open import open_detector

    def make_task() -> Task:
        from ffmpeg_bridge.tasks.coco import read_coco
        from ffmpeg_bridge.tasks.detect import DetectTask

        judge = open_detector(detector, device=device, min_score=_LEAST_SCORE, threads=threads)
        if judge is None:
            raise typer.BadParameter("a detector must look at the pictures", param_hint="--detector")
        return DetectTask(read_coco(data, split=split, limit=limit), judge, headers_only=headers_only)

    job = EvalJob(
        out, 1, crfs, anchors, points, model, preset, threads, device, resume, overwrite, quiet, box_score=box_score
    )
    return job.run(
        make_task,
        detector=lambda: open_detector(encoder_detector, device=device, min_score=box_score, threads=threads),
    )
