"""Where key frames go: `--keyint` and `--force-key-frames`."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

import typer

from .timecode import parse_time

__all__ = ["ForcedKeyFrames", "KeyInterval", "check_min_keyint", "parse_key_times", "parse_keyint"]

_KEYINT = re.compile(r"(?P<number>\d+(?:\.\d*)?|\.\d+)(?P<unit>s|ms)?")
_UNKNOWN_RATE = Fraction(25)  # of a video that does not say its frame rate
_MICROSECOND = Fraction(1, 10**6)


@dataclass(frozen=True, slots=True)
class KeyInterval:
    """A distance between key frames: frames, or seconds that become frames once the rate is known."""

    length: Fraction  # above 0
    is_seconds: bool

    def frames(self, rate: Fraction | None) -> int:
        """Frames at a rate of frames per second, 25 where it is None: the nearest number, 1 at least."""
        if not self.is_seconds:
            return int(self.length)
        return max(1, round(self.length * (rate or _UNKNOWN_RATE)))


def parse_keyint(text: str) -> KeyInterval:
    """`48` frames, `2s`, `0.5s` or `500ms`. Raises typer.BadParameter."""
    match = _KEYINT.fullmatch(text)
    if match is None or (match["unit"] is None and not match["number"].isdecimal()):
        raise typer.BadParameter(f"{text!r} is neither a number of frames (48) nor seconds (2s)", param_hint="--keyint")
    length = Fraction(match["number"]) / (1000 if match["unit"] == "ms" else 1)
    if not length:
        raise typer.BadParameter(f"{text}: 1 frame is the least", param_hint="--keyint")
    return KeyInterval(length, is_seconds=match["unit"] is not None)


def check_min_keyint(min_keyint: int | None, keyint: int) -> None:
    """Raises typer.BadParameter where the smallest distance of key frames is above the largest, in frames."""
    if min_keyint is not None and min_keyint > keyint:
        raise typer.BadParameter(f"{min_keyint} frames are more than --keyint, {keyint}", param_hint="--min-keyint")


def parse_key_times(text: str) -> list[float]:
    """Seconds of `1.5,00:01:30`: times as in --ss, parted by commas. Raises typer.BadParameter."""
    try:
        return [parse_time(part.strip()) for part in text.split(",")]
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--force-key-frames") from error


class ForcedKeyFrames:
    """Times at which a key frame must stand; the first frame at or after each is one."""

    def __init__(self, times: Iterable[float]) -> None:
        """times: seconds from the first frame, in any order."""
        self._times = deque(sorted(Fraction(time).limit_denominator(10**6) for time in times))
        self._first: Fraction | None = None  # seconds

    def is_due(self, *, pts: int | None, time_base: Fraction) -> bool:
        """Whether the next frame must be a key frame. Ask once for each, in order; one without pts is not due."""
        if pts is None:
            return False
        seconds = pts * time_base
        if self._first is None:
            self._first = seconds
        n_times = len(self._times)
        while self._times and self._times[0] <= seconds - self._first + _MICROSECOND:
            self._times.popleft()
        return len(self._times) < n_times
