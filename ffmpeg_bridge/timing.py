"""Exact timestamps through Matroska's millisecond clock.

libavformat writes Matroska in units of 1 ms. Each track that ticks finer than that
gets a tag that names its own time base, its usual step and where it began; the
reader puts timestamps back on that grid. Constant-rate tracks come back exactly,
others to the nearest tick, at most 0.5 ms off.
"""

from __future__ import annotations

import math
import re
import zlib
from dataclasses import dataclass
from fractions import Fraction

__all__ = ["TIMING_TAG", "TimestampRestorer", "Timing", "nearest"]

TIMING_TAG = "SSVC_TIMING"
_FIELDS = re.compile(r"time_base=(\d+)/(\d+) step=(\d+(?:/[1-9]\d*)?) first=(-?\d+) shift_ms=(-?\d+) crc=([0-9a-f]{8})")
_HALF_MS = Fraction(1, 2000)  # the most that storing in milliseconds moves a timestamp


def nearest(value: Fraction) -> int:
    """The nearest integer, halves upwards."""
    return math.floor(value + Fraction(1, 2))


@dataclass(frozen=True, slots=True)
class Timing:
    """What a track's timing tag says. The stored time is nearest(pts * time_base * 1000) + shift_ms."""

    time_base: Fraction
    step: Fraction  # usual distance of two timestamps in units of time_base; 0 where it varies
    first: int  # the first timestamp, in units of time_base
    shift_ms: int  # added to all stored times so that none is negative
    first_crc: int = 0  # CRC-32 of the first packet, by which a cut is noticed; 0 where it does not matter

    def to_tag(self) -> str:
        """The tag's text."""
        base = f"{self.time_base.numerator}/{self.time_base.denominator}"
        crc = f"{self.first_crc:08x}"
        return f"time_base={base} step={self.step} first={self.first} shift_ms={self.shift_ms} crc={crc}"

    @classmethod
    def from_tag(cls, text: str | None) -> Timing | None:
        """The timing a tag's text describes; None if there is none or it makes no sense."""
        match = _FIELDS.fullmatch(text or "")
        if match is None or not int(match[1]) or not int(match[2]):
            return None
        base = Fraction(int(match[1]), int(match[2]))
        return cls(base, Fraction(match[3]), int(match[4]), int(match[5]), int(match[6], 16))

    @classmethod
    def from_rate(cls, rate: Fraction, first_ms: int) -> Timing:
        """A grid for a file without the tag: constant rate, starting with its first packet."""
        time_base = Fraction(1, math.lcm(rate.numerator, 1000))
        first = nearest(Fraction(first_ms, 1000) / time_base)
        return cls(time_base, 1 / rate / time_base, first, 0)

    def stored_ms(self, pts: int) -> int:
        """The time of pts as the file holds it."""
        return nearest(pts * self.time_base * 1000) + self.shift_ms

    def is_start(self, first_ms: int, data: bytes) -> bool:
        """Whether this packet is the one the track began with: false after a cut."""
        return self.stored_ms(self.first) == first_ms and zlib.crc32(data) == self.first_crc


class TimestampRestorer:
    """Turns the stored milliseconds of one track back into its own ticks."""

    def __init__(self, timing: Timing, *, first_ms: int, uncut: bool) -> None:
        self.timing = timing
        self._shift_ms = timing.shift_ms if uncut else 0
        self._tolerance = _HALF_MS if uncut else 2 * _HALF_MS  # a cut moves the first packet too
        self._anchor = timing.first if uncut else self._ticks(first_ms)

    def _ticks(self, stored_ms: int) -> int:
        return nearest(Fraction(stored_ms - self._shift_ms, 1000) / self.timing.time_base)

    def restore(self, stored_ms: int) -> int:
        """The timestamp, in units of timing.time_base, of a packet stored at stored_ms."""
        ticks = self._ticks(stored_ms)
        step = self.timing.step
        if not step:
            return ticks
        on_grid = self._anchor + nearest(step * nearest((ticks - self._anchor) / step))
        stored_seconds = Fraction(stored_ms - self._shift_ms, 1000)
        is_close = abs(on_grid * self.timing.time_base - stored_seconds) <= self._tolerance
        return on_grid if is_close else ticks

    def restore_duration(self, duration_ms: int) -> int:
        """A duration in ticks: the usual step where none is stored, or one that agrees with it within 1 ms."""
        step_seconds = self.timing.step * self.timing.time_base
        is_usual = not duration_ms or abs(step_seconds - Fraction(duration_ms, 1000)) <= 2 * _HALF_MS
        if self.timing.step and is_usual:
            return nearest(self.timing.step)
        return nearest(Fraction(duration_ms, 1000) / self.timing.time_base)
