"""`ssvc train`: pack pictures and clips into shards, and train networks on them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from .exit_codes import ExitCode, with_exit_code
from .options import Device, Quiet, Threads, Verbose
from .run_trainer import run_trainer
from .train_auto import auto
from .train_parser import export_parser, label, parser

__all__ = ["train_app"]

train_app = typer.Typer(name="train", help="Train the networks.", no_args_is_help=True, rich_markup_mode=None)


@train_app.command()
@with_exit_code
def pack(
    source: Annotated[Path, typer.Argument(metavar="FOLDER", help="Pictures and clips, searched recursively.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Where the shards go.")],
    *,
    shard_mib: Annotated[float, typer.Option(min=1, metavar="MIB", help="Largest size of a shard.")] = 48,
    clip_frames: Annotated[int, typer.Option(min=1, metavar="N", help="Consecutive frames of a clip.")] = 9,
    clip_stride: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="From the start of one clip to the next; the clip's length.")
    ] = None,
    first_only: Annotated[bool, typer.Option("--first-only", help="Keep the first frame of each clip.")] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Pack the pictures and clips of FOLDER into uint8 shards."""
    from ffmpeg_bridge.pack import pack_folder

    def report(n_done: int, n_files: int) -> None:
        if n_done % 100 == 0 or n_done == n_files:
            typer.echo(f"{n_done} of {n_files} files", err=True)

    counts = pack_folder(
        source,
        out,
        shard_mib=shard_mib,
        clip_frames=clip_frames,
        clip_stride=clip_stride,
        first_only=first_only,
        progress=None if quiet else report,
    )
    print(", ".join(f"{number} {name}" for name, number in counts.items()))
    return ExitCode.OK


@train_app.command()
@with_exit_code
def intra(
    data: Annotated[Path, typer.Option(metavar="FOLDER", help="Shards made by `ssvc train pack`.")],
    *,
    minutes: Annotated[float, typer.Option(min=0, help="How long to train now.")] = 60,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="State and logs of the run.")] = Path("runs/intra"),
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the state in OUT.")] = False,
    init: Annotated[str, typer.Option(metavar="MODEL", help="Start from the weights of a model.")] = "",
    restart_schedule: Annotated[
        bool, typer.Option("--restart-schedule", help="With --resume: start the learning rate anew.")
    ] = False,
    horizon_minutes: Annotated[
        float, typer.Option(min=0, help="Length of the learning-rate schedule over all runs; 0: this run.")
    ] = 0,
    batch: Annotated[int, typer.Option(min=2, help="Crops of a step.")] = 8,
    crop: Annotated[int, typer.Option(min=64, help="Side of a crop in luma samples.")] = 128,
    learning_rate: Annotated[float, typer.Option(help="Peak learning rate of AdamW.")] = 1.5e-3,
    optimizer: Annotated[Literal["muon", "adamw"], typer.Option(help="What moves the matrices.")] = "adamw",
    tune: Annotated[
        Literal["psnr", "ms-ssim"], typer.Option(help="What distortion is; ms-ssim takes --crop 176 and more.")
    ] = "psnr",
    seed: Annotated[int, typer.Option(help="Of every random number.")] = 1,
    threads: Threads = 0,
    device: Device = "auto",
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Train the intra networks. Ctrl-C saves the state, --resume goes on from it."""
    from ssvc_codec.training.intra import IntraTrainer, TrainOptions

    options = TrainOptions(
        data=data,
        out=out,
        minutes=minutes,
        horizon_minutes=horizon_minutes,
        resume=resume,
        init=init,
        restart_schedule=restart_schedule,
        device=device,
        threads=threads,
        batch=batch,
        crop=crop,
        learning_rate=learning_rate,
        optimizer=optimizer,
        tune=tune,
        seed=seed,
    )
    return run_trainer(IntraTrainer(options), quiet=quiet)


@train_app.command()
@with_exit_code
def inter(
    data: Annotated[Path, typer.Option(metavar="FOLDER", help="Shards of clips made by `ssvc train pack`.")],
    *,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="State and logs of the run.")] = Path("runs/inter"),
    stage: Annotated[
        Literal["motion", "joint", "gop"],
        typer.Option(help="Motion alone; all of a frame, frame by frame; or all of several frames at once."),
    ],
    minutes: Annotated[float, typer.Option(min=0, help="How long to train now.")] = 60,
    horizon_minutes: Annotated[
        float, typer.Option(min=0, help="Length of the learning-rate schedule over all runs; 0: this run.")
    ] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the state in OUT.")] = False,
    init: Annotated[str, typer.Option(metavar="MODEL", help="Start from the weights of a model.")] = "base",
    batch: Annotated[int, typer.Option(min=1, help="Clips of a step.")] = 4,
    crop: Annotated[int, typer.Option(min=64, help="Side of a crop in luma samples.")] = 128,
    frames: Annotated[
        int, typer.Option(min=0, metavar="N", help="P frames in a row; 0: 1 (motion), 4 (joint), 3 (gop).")
    ] = 0,
    learning_rate: Annotated[float, typer.Option(help="Peak learning rate of AdamW.")] = 1e-3,
    intra_share: Annotated[
        float, typer.Option(min=0, max=1, help="Of the learning rate, for the intra networks in stage gop; 0: fixed.")
    ] = 0,
    mask_share: Annotated[float, typer.Option(min=0, max=1, help="Of the steps, with random groups.")] = 0.2,
    tune: Annotated[
        Literal["psnr", "ms-ssim"], typer.Option(help="What distortion is; ms-ssim takes --crop 176 and more.")
    ] = "psnr",
    seed: Annotated[int, typer.Option(help="Of every random number.")] = 1,
    max_steps: Annotated[int, typer.Option(min=0, help="Stop after this many steps; 0: by time alone.")] = 0,
    threads: Threads = 0,
    device: Device = "auto",
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Train the P-frame networks. Ctrl-C saves the state, --resume goes on from it."""
    from ssvc_codec.training.inter import InterTrainer, InterTrainOptions

    options = InterTrainOptions(
        data=data,
        out=out,
        stage=stage,
        init=init,
        minutes=minutes,
        horizon_minutes=horizon_minutes,
        resume=resume,
        device=device,
        threads=threads,
        batch=batch,
        crop=crop,
        n_frames=frames,
        learning_rate=learning_rate,
        intra_share=intra_share,
        tune=tune,
        seed=seed,
        mask_share=mask_share,
        max_steps=max_steps,
    )
    return run_trainer(InterTrainer(options), quiet=quiet)


train_app.command()(auto)
train_app.command()(label)
train_app.command()(parser)
train_app.command("export-parser")(export_parser)
