"""Ctrl-C: the first one asks to stop after the current frame, the second stops at once."""

from __future__ import annotations

import os
import signal
from types import FrameType, TracebackType
from typing import Self

__all__ = ["ImmediateStopError", "StopRequest"]


class ImmediateStopError(Exception):
    """The second Ctrl-C. Not KeyboardInterrupt: raised while libavformat calls back, PyAV would lose that."""


class StopRequest:
    """While the context lasts, SIGINT and SIGTERM are kept as a request instead of an exception.

    The second signal raises ImmediateStopError. With ends_stdin the first one also ends standard input: a read that
    waits for a silent pipe would last until its next byte.
    """

    def __init__(self, *, ends_stdin: bool = False) -> None:
        self.signal_number: int | None = None
        self._ends_stdin = ends_stdin
        self._before: dict[int, object] = {}

    @property
    def is_set(self) -> bool:
        """Whether a signal has come."""
        return self.signal_number is not None

    @property
    def exit_code(self) -> int:
        """128 + the number of the signal, as shells report it."""
        return 128 + (self.signal_number or signal.SIGINT)

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # pyright: ignore[reportArgumentType]

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self.is_set:
            raise ImmediateStopError
        self.signal_number = number
        if self._ends_stdin:
            nothing = os.open(os.devnull, os.O_RDONLY)
            os.dup2(nothing, 0)  # Python repeats the interrupted read, and now finds the end
            os.close(nothing)
