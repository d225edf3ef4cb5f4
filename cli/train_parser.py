"""`ssvc train label`, `parser` and `export-parser`: the object parser, from a teacher's labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .exit_codes import ExitCode, with_exit_code
from .options import Device, Quiet, Threads, Verbose
from .run_trainer import run_trainer

__all__ = ["export_parser", "label", "parser"]


@with_exit_code
def label(
    data: Annotated[list[Path], typer.Argument(metavar="FOLDER...", help="Shards made by `ssvc train pack`.")],
    *,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the labelled shards go.")],
    teacher: Annotated[Path, typer.Option(metavar="FILE.onnx", help="A detector of the DEIM kind, COCO's 80 classes.")],
    long_side: Annotated[int, typer.Option(min=64, help="Pictures are stored no larger.")] = 512,
    frames: Annotated[int, typer.Option(min=1, metavar="N", help="Of each clip, its first and last among them.")] = 2,
    min_score: Annotated[float, typer.Option(min=0, max=1, help="Boxes below are not kept.")] = 0.1,
    threads: Threads = 0,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Let a teacher label packed pictures for `ssvc train parser`."""
    from ssvc_codec.training.parser_labels import LabelOptions, label_pictures

    def report(n_pictures: int, n_boxes: int) -> None:
        if n_pictures % 200 == 0:
            typer.echo(f"{n_pictures} pictures, {n_boxes} boxes", err=True)

    options = LabelOptions(
        data=data,
        out=out,
        teacher=teacher,
        long_side=long_side,
        frames_per_clip=frames,
        min_score=min_score,
        threads=threads,
    )
    counts = label_pictures(options, None if quiet else report)
    print(", ".join(f"{number} {name}" for name, number in counts.items()))
    return ExitCode.OK


@with_exit_code
def parser(
    data: Annotated[Path, typer.Option(metavar="FOLDER", help="Shards made by `ssvc train label`.")],
    *,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="State and logs of the run.")] = Path("runs/parser"),
    backbone: Annotated[
        Path | None,
        typer.Option(metavar="FILE.onnx", help="Start the backbone from the weights of an HGNetV2 femto detector."),
    ] = None,
    minutes: Annotated[float, typer.Option(min=0, help="How long to train now.")] = 60,
    horizon_minutes: Annotated[
        float, typer.Option(min=0, help="Length of the learning-rate schedule over all runs; 0: this run.")
    ] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the state in OUT.")] = False,
    restart_schedule: Annotated[
        bool, typer.Option("--restart-schedule", help="With --resume: start the learning rate anew.")
    ] = False,
    batch: Annotated[int, typer.Option(min=2, help="Samples of a step.")] = 8,
    crop: Annotated[int, typer.Option(min=64, help="Side of a sample in pixels, a multiple of 32.")] = 256,
    late_crop: Annotated[int, typer.Option(min=64, help="The same for the last quarter of the schedule.")] = 320,
    learning_rate: Annotated[float, typer.Option(help="Peak learning rate of AdamW.")] = 1.5e-3,
    seed: Annotated[int, typer.Option(help="Of every random number.")] = 1,
    max_steps: Annotated[int, typer.Option(min=0, help="Stop after this many steps; 0: by time alone.")] = 0,
    threads: Threads = 0,
    device: Device = "auto",
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Train the object parser. Ctrl-C saves the state, --resume goes on from it."""
    from ssvc_codec.training.parser import ParserTrainer, ParserTrainOptions

    options = ParserTrainOptions(
        data=data,
        out=out,
        backbone=backbone,
        minutes=minutes,
        horizon_minutes=horizon_minutes,
        resume=resume,
        restart_schedule=restart_schedule,
        device=device,
        threads=threads,
        batch=batch,
        crop=crop,
        late_crop=late_crop,
        learning_rate=learning_rate,
        seed=seed,
        max_steps=max_steps,
    )
    return run_trainer(ParserTrainer(options), quiet=quiet)


@with_exit_code
def export_parser(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run of `ssvc train parser`.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Where parser.onnx, config.json and card.md go.")],
    *,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Write the averaged weights of a run as ONNX."""
    from ssvc_codec.training.parser_export import export_parser as export
    from ssvc_codec.training.parser_export import load_averaged

    net, about = load_averaged(run)
    export(net, out, about)
    return ExitCode.OK
