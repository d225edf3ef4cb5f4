"""Runs a training from the command line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import typer

from .exit_codes import ExitCode

__all__ = ["run_trainer"]


class _Trainer(Protocol):
    def train(self, progress_line: Callable[[str], None]) -> None: ...

    def save(self) -> None: ...


def run_trainer(trainer: _Trainer, *, quiet: bool) -> int:
    """Trains; Ctrl-C saves the state."""
    try:
        trainer.train(_ignore if quiet else _report)
    except KeyboardInterrupt:
        trainer.save()
        return ExitCode.INTERRUPTED
    return ExitCode.OK


def _report(line: str) -> None:
    typer.echo(line, err=True)


def _ignore(_line: str) -> None:
    pass
