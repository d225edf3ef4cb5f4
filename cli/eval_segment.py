"""`ssvc eval segment`: masks of DAVIS carried by the flow in the stream."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .eval_options import (
    Anchors,
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
from .exit_codes import ExitCode, with_exit_code
from .options import Device, Quiet, Verbose

if TYPE_CHECKING:
    from ffmpeg_bridge.tasks.task import Task
    from ssvc_codec.semantics.detection import Detector

__all__ = ["segment"]


@with_exit_code
def segment(
    data: Data,
    *,
    out: Out,
    split: Annotated[str, typer.Option(metavar="NAME", help="A list in ImageSets/480p, such as val; or all.")] = "",
    frames: Annotated[
        int | None, typer.Option(min=2, metavar="N", help="First frames of each sequence; or all.")
    ] = None,
    keyint: Annotated[int, typer.Option("-g", "--keyint", min=2, help="Frames of a GoP.")] = 12,
    refiner: Annotated[Path | None, typer.Option(metavar="FILE", help="A U-Net that --train wrote.")] = None,
    encoder_detector: EncoderDetector = "none",
    full: Annotated[bool, typer.Option("--full", help="Decode ssvc in full as well.")] = False,
    train: Annotated[
        bool, typer.Option("--train", help="Train a U-Net on DATA, coded at --crfs: writes OUT/refiner.safetensors.")
    ] = False,
    minutes: Annotated[float, typer.Option(min=0, help="How long to train.")] = 5,
    seed: Annotated[int, typer.Option(help="Of training.")] = 1,
    limit: Limit = None,
    crfs: Crfs = "24,36,48,60",
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
    """Measure video object segmentation on a DAVIS 2016 data set: JPEGImages/480p and Annotations/480p.

    The mask of the first frame is given. Needs OpenCV: `pip install ssvc[eval]`.
    """
    from ffmpeg_bridge.tasks.davis import read_davis

    sequences = read_davis(data, split=split, limit=limit, n_frames=frames)
    job = EvalJob(out, keyint, crfs, anchors, points, model, preset, threads, device, resume, overwrite, quiet)
    if train:
        from ffmpeg_bridge.tasks.train_refiner import flows_in_streams, train_refiner

        path, flows = out / "refiner.safetensors", flows_in_streams(job.encoder())
        train_refiner(
            sequences, path, minutes=minutes, flows_of=flows, seed=seed, threads=threads, report=job.print_progress
        )
        print(path)
        return ExitCode.OK

    def make_task() -> Task:
        from ffmpeg_bridge.tasks.refiner import Refiner
        from ffmpeg_bridge.tasks.segment import SegmentTask

        network = None if refiner is None else Refiner(refiner)
        with_objects = encoder_detector != "none"
        return SegmentTask(sequences, keyint=keyint, refiner=network, with_full=full, with_objects=with_objects)

    def detector() -> Detector | None:
        from ssvc_codec.semantics.open import open_detector

        return open_detector(encoder_detector, device=device, threads=threads)

    return job.run(make_task, detector=detector)
