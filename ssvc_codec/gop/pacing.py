"""Time and whole numbers for rate controls: when frames are shown, and q between two steps."""

from __future__ import annotations

import math
from typing import Final

from ssvc_codec.frame import Frame

__all__ = ["Clock", "Dither", "RecentMean"]

_USUAL_DURATION: Final = 0.04  # seconds, of a frame about which nothing is known
_RECENT: Final = 2.0  # seconds


class Clock:
    """Time of frames by their pts, where they have any; durations until the next pts is known."""

    def __init__(self) -> None:
        self.now = 0.0  # start of the current frame, seconds after the first
        self.duration = _USUAL_DURATION  # of the current frame, as far as known
        self.usual_duration = _USUAL_DURATION  # slow mean
        self._first: float | None = None
        self._n_frames = 0

    def tick(self, frame: Frame) -> float:
        """Goes on to the next frame. Returns the seconds since the last one."""
        before = self.now
        seconds = frame.pts_seconds
        if seconds is None:
            self.now = before + (self.duration if self._n_frames else 0.0)
        else:
            self._first = seconds - before if self._first is None else self._first
            self.now = max(seconds - self._first, before)
        passed = self.now - before
        known = float(frame.duration * frame.time_base) or (passed if self._n_frames else 0.0)
        self.duration = known or self.usual_duration
        step = passed if self._n_frames and seconds is not None else self.duration
        self._n_frames += 1
        self.usual_duration += (step - self.usual_duration) / min(self._n_frames, 16)
        return passed

    @property
    def end(self) -> float:
        """End of the current frame in seconds after the first."""
        return self.now + self.duration


class Dither:
    """Whole numbers whose running mean follows a fraction."""

    def __init__(self) -> None:
        self._carry = 0.0

    def round(self, value: float) -> int:
        """The next whole number."""
        whole = math.floor(value + self._carry + 0.5)
        self._carry = min(max(self._carry + value - whole, -0.5), 0.5)
        return whole


class RecentMean:
    """Mean of a value over the last two seconds, about."""

    def __init__(self) -> None:
        self.value = 0.0

    def add(self, value: float, *, seconds: float, anew: bool) -> None:
        """The value of a frame. seconds: how long it lasts; anew: nothing before it counts."""
        share = 1.0 if anew else min(seconds / _RECENT, 1.0)
        self.value += share * (value - self.value)
