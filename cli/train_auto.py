"""`ssvc train auto`: training in slices that nobody watches."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from .exit_codes import with_exit_code
from .options import Device, Quiet, Threads, Verbose
from .run_trainer import run_trainer

__all__ = ["auto"]


@with_exit_code
def auto(
    clips: Annotated[Path, typer.Option(metavar="FOLDER", help="Shards of clips made by `ssvc train pack`.")],
    stills: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Shards for the networks of I frames; default: the clips.")
    ] = None,
    *,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Best weights, ledger and logs.")] = Path("runs/auto"),
    minutes: Annotated[float, typer.Option(min=0, help="How long to train now.")] = 60,
    slice_minutes: Annotated[float, typer.Option(min=0.01, help="Length of a slice.")] = 20,
    init: Annotated[str, typer.Option(metavar="MODEL", help="Where a new OUT starts.")] = "base",
    name: Annotated[str, typer.Option(metavar="NAME", help="Of the model that comes out.")] = "base",
    tune: Annotated[Literal["psnr", "ms-ssim"], typer.Option(help="What distortion is.")] = "psnr",
    seed: Annotated[int, typer.Option(help="Of every random number.")] = 1,
    threads: Threads = 0,
    device: Device = "auto",
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Train whatever gains most, slice by slice; better weights replace worse, never the other way round.

    OUT/best is a model folder at every moment. Another run with the same OUT goes on from there.
    """
    from ssvc_codec.training.auto import AutoOptions, AutoTrainer

    options = AutoOptions(
        stills=stills or clips,
        clips=clips,
        out=out,
        init=init,
        name=name,
        tune=tune,
        minutes=minutes,
        slice_minutes=slice_minutes,
        device=device,
        threads=threads,
        seed=seed,
    )
    return run_trainer(AutoTrainer(options), quiet=quiet)
