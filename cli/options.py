"""Options that several commands share, so that they read the same everywhere."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from .timecode import parse_time

__all__ = ["Device", "Frames", "Overwrite", "Quiet", "Start", "Threads", "Verbose"]

Overwrite = Annotated[bool, typer.Option("-y", help="Overwrite the output without asking.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Print errors only.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Say more; show where an error came from.")]
Threads = Annotated[int, typer.Option(min=0, help="CPU threads; 0 takes all.")]
Device = Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="Where the networks run.")]
Frames = Annotated[int | None, typer.Option(min=1, help="Stop after this many frames.")]
Start = Annotated[
    float | None,
    typer.Option("--ss", parser=parse_time, metavar="TIME", help="Start here: seconds or [HH:]MM:SS[.ms]."),
]
