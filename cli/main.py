"""Puts the commands together and turns how they end into the exit code of the program."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import typer

from .bench import bench
from .concat import concat
from .cut import cut
from .decode import decode
from .demo import demo
from .encode import encode
from .eval import eval_app
from .exit_codes import ExitCode, print_error
from .extract import extract
from .info import info
from .query import query
from .redact import redact
from .serve import serve
from .show import show
from .train import train_app
from .version import version
from .worker import worker
from .wrapped import WRAPPED_SETTINGS, ffmpeg, ffplay, ffprobe, mpv

__all__ = ["app", "main", "run"]

app = typer.Typer(
    name="ssvc",
    help="SSVC, a learned video codec with a structured bitstream.",
    epilog="Exit codes: 0 ok, 1 it failed, 2 wrong usage, 3 damaged input and partial output, 130 interrupted.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (encode, decode, info, show, query, extract, redact, cut, concat, serve, demo, bench, version):
    app.command()(command)
for program in (ffmpeg, ffprobe, ffplay, mpv):
    app.command(context_settings=WRAPPED_SETTINGS)(program)
app.command(hidden=True)(worker)
app.add_typer(train_app)
app.add_typer(eval_app)


def run(arguments: Sequence[str]) -> int:
    """Run one command line, without the program's name. Returns the exit code."""
    try:
        code = app(list(arguments) or ["--help"], prog_name="ssvc", standalone_mode=False)
    except typer.TyperException as error:
        message = error.format_message()
        if message.startswith("Usage:"):  # a group without a command asks for its help
            print(message, file=sys.stderr)
        else:
            print_error(" ".join(message.split()) + " (see --help)")
        return int(error.exit_code)
    except typer.Abort:
        return ExitCode.INTERRUPTED
    if not arguments:
        return ExitCode.USAGE
    return int(code or ExitCode.OK)


def main() -> NoReturn:
    """Entry point of the program."""
    # OpenMP threads that spin while they wait starve each other where another program runs: 0.3 instead of
    # 7.7 frames a second on two busy cores. Read once, when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    sys.exit(run(sys.argv[1:]))
