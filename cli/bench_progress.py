"""The line on stderr for each point that `ssvc bench` has measured."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, TextIO

from .timecode import format_time

if TYPE_CHECKING:
    from ffmpeg_bridge.bench.run import PointDone

__all__ = ["BenchProgress"]


class BenchProgress:
    """Prints a line for each point: how far the run is, what came out, how long the rest will take."""

    def __init__(self, *, quiet: bool, stream: TextIO | None = None) -> None:
        self._quiet = quiet
        self._stream = stream or sys.stderr

    def add_notes(self, notes: Iterable[str]) -> None:
        """A line for each."""
        for note in notes:
            self._print(f"ssvc: note: {note}")

    def show(self, done: PointDone) -> None:
        """One point more."""
        width = len(str(done.n_points))
        head = f"[{done.number:{width}}/{done.n_points}] {done.clip} {done.codec} {done.point:g}:"
        if done.row is None:
            what = "failed"
        else:
            what = f"{done.row.bpp:.4f} bpp {done.row.psnr_611:.2f} dB"
            if done.row.ms_ssim == done.row.ms_ssim:
                what += f" MS-SSIM {done.row.ms_ssim:.4f}"
        known = " (known)" if done.is_cached else ""
        left = "" if done.seconds_left is None else f", left {format_time(done.seconds_left)}"
        self._print(f"{head} {what}{known}{left}")

    def _print(self, line: str) -> None:
        if not self._quiet:
            print(line, file=self._stream, flush=True)
