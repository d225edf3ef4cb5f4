"""The line on stderr that says how far a command has come, in ffmpeg's words."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from typing import TextIO

from .timecode import format_time

__all__ = ["Progress"]

_TERMINAL_PERIOD_SECONDS = 0.2
_LOG_PERIOD_SECONDS = 5.0


class Progress:
    """Counts frames and bytes, and prints them now and then.

    On a terminal one line is refreshed; elsewhere a line is added every few seconds.
    """

    def __init__(
        self,
        *,
        quiet: bool = False,
        q: float | None = None,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.n_frames = 0
        self.n_bytes: int | None = None
        self.media_seconds = 0.0
        self._quiet = quiet
        self._q = q
        self._stream = stream or sys.stderr
        self._clock = clock
        self._on_terminal = self._stream.isatty()
        self._period = _TERMINAL_PERIOD_SECONDS if self._on_terminal else _LOG_PERIOD_SECONDS
        self._start = self._last_print = clock()
        self._width = 0
        self._noted: set[str] = set()

    def add_frame(self, *, end_seconds: float | None, n_bytes: int | None = None) -> None:
        """One more frame is done. end_seconds: how much video there is now; n_bytes: what the frame took."""
        self.n_frames += 1
        if n_bytes is not None:
            self.n_bytes = (self.n_bytes or 0) + n_bytes
        if end_seconds is not None:
            self.media_seconds = max(self.media_seconds, end_seconds)
        if self._clock() - self._last_print >= self._period:
            self._print()

    def add_notes(self, notes: Iterable[str]) -> None:
        """Print those notes that were not printed yet, each on a line of its own. Nothing when quiet."""
        for note in notes:
            if note not in self._noted and not self._quiet:
                self._clear()
                print(f"ssvc: note: {note}", file=self._stream)
            self._noted.add(note)

    def finish(self) -> None:
        """The last state, and the end of the line."""
        if self._quiet or not self.n_frames:
            return
        self._print()
        if self._on_terminal:
            print(file=self._stream)
        self._width = 0

    def line(self) -> str:
        """The state as one line, with ffmpeg's field names."""
        elapsed = max(self._clock() - self._start, 1e-9)
        fps = self.n_frames / elapsed
        fields = [f"frame={self.n_frames:5d}", f"fps={fps:3.0f}" if fps >= 10 else f"fps={fps:3.1f}"]
        if self._q is not None:
            fields.append(f"q={self._q:.1f}")
        if self.n_bytes is not None:
            fields.append(f"size={self.n_bytes / 1024:8.0f}KiB")
        fields.append(f"time={format_time(self.media_seconds)}")
        if self.n_bytes is not None and self.media_seconds > 0:
            fields.append(f"bitrate={self.n_bytes * 8 / 1000 / self.media_seconds:6.1f}kbits/s")
        fields.append(f"speed={self.media_seconds / elapsed:5.3g}x")
        return " ".join(fields)

    def _print(self) -> None:
        self._last_print = self._clock()
        if self._quiet:
            return
        line = self.line()
        if self._on_terminal:
            self._stream.write("\r" + line.ljust(self._width))
            self._stream.flush()
            self._width = len(line)
        else:
            print(line, file=self._stream, flush=True)

    def _clear(self) -> None:
        if self._on_terminal and self._width:
            self._stream.write("\r" + " " * self._width + "\r")
            self._width = 0
