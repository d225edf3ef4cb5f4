"""What the exit code says, and the one place where an error becomes one.

| code | meaning |
|------|---------|
| 0    | everything asked for was done |
| 1    | it failed: a file, a device, a limit, a model; no output was left behind |
| 2    | wrong usage: an unknown option, a value out of range |
| 3    | the input is damaged: the output holds what could be saved |
| 130  | interrupted by Ctrl-C (143 by SIGTERM): the output is complete up to there |
| 141  | the reader of our output went away; nothing is printed |
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import ParamSpec

import typer

from ssvc_codec.errors import SsvcError

from .interrupt import ImmediateStopError

__all__ = ["ExitCode", "print_error", "with_exit_code"]

P = ParamSpec("P")


class ExitCode(IntEnum):
    """Exit codes of the program, as the table above."""

    OK = 0
    FAILED = 1
    USAGE = 2
    DAMAGED = 3
    INTERRUPTED = 130
    BROKEN_PIPE = 141


def print_error(message: str) -> None:
    """One red line on stderr; plain where stderr is no terminal or NO_COLOR is set."""
    prefix = "ssvc: error:"
    if sys.stderr.isatty() and not os.environ.get("NO_COLOR"):
        prefix = f"\033[31m{prefix}\033[0m"
    print(prefix, message, file=sys.stderr)


def with_exit_code(command: Callable[P, int]) -> Callable[P, None]:
    """Make a typer command of a function that returns an exit code and may raise."""

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            code = command(*args, **kwargs)
            sys.stdout.flush()
        except (typer.TyperException, typer.Exit):
            raise
        except (Exception, KeyboardInterrupt) as error:
            code = _code_of(error, verbose=bool(kwargs.get("verbose")))
        raise typer.Exit(code)

    return wrapper


def _code_of(error: BaseException, *, verbose: bool) -> ExitCode:
    """The exit code for an error, after the line that explains it."""
    if isinstance(error, (KeyboardInterrupt, ImmediateStopError)):
        _forget_stdout()  # its reader may be what we waited for
        return ExitCode.INTERRUPTED
    if any(isinstance(cause, BrokenPipeError) for cause in _causes(error)):
        _forget_stdout()
        return ExitCode.BROKEN_PIPE
    print_error(_describe(error))
    if verbose:
        traceback.print_exception(error)
    return ExitCode.FAILED


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _describe(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, MemoryError):
        return "out of memory"
    message = " ".join(str(error).split())
    if isinstance(error, (SsvcError, ValueError, OSError)) and message:
        return message
    return f"internal error, please report it ({type(error).__name__}: {message}); -v shows where"


def _forget_stdout() -> None:
    """Send what is still buffered nowhere, so that the interpreter does not complain while it ends."""
    with contextlib.suppress(OSError, ValueError):  # it may be closed, or no file at all
        number = sys.stdout.fileno()
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, number)
        os.close(devnull)
