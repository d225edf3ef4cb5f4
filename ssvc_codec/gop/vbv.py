"""The leaky bucket that --maxrate and --bufsize describe: a decoder's buffer, filled at a limited rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Self

__all__ = ["LeakyBucket"]

INITIAL_SHARE: Final = 0.9  # of the buffer, filled before the first frame is taken (x264's vbv-init)
RESERVE: Final = 0.1  # of the buffer, kept for what a model of bits does not foresee


@dataclass(slots=True)
class LeakyBucket:
    """Bits in a decoder's buffer. A frame may take no more than there are."""

    rate: float  # bits per second that flow in
    size: float  # bits that it holds
    fullness: float  # bits in it now; below 0 after a frame that did not fit
    n_overdrawn: int = 0  # frames that did not fit even at q 0

    @classmethod
    def for_rate(cls, bitrate: float, *, maxrate: float | None, bufsize: float | None) -> Self | None:
        """The bucket of these options, None without any. Raises ValueError where they cannot be met."""
        if maxrate is None and bufsize is None:
            return None
        rate = bitrate if maxrate is None else maxrate
        size = rate if bufsize is None else bufsize
        for name, value in (("maxrate", rate), ("bufsize", size)):
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} {value}: must be above 0")
        if rate < bitrate:
            raise ValueError(f"maxrate {rate:g} is below the bit rate {bitrate:g}")
        return cls(float(rate), float(size), INITIAL_SHARE * size)

    @property
    def notes(self) -> list[str]:
        """What the user should know."""
        if not self.n_overdrawn:
            return []
        return [f"--maxrate: {self.n_overdrawn} frames did not fit --bufsize even at the coarsest quality"]

    def refill(self, seconds: float) -> None:
        """Time passes."""
        self.fullness = min(self.fullness + self.rate * seconds, self.size)

    def take(self, n_bits: float) -> None:
        """A frame is taken out."""
        self.fullness -= n_bits

    def least_share(self, frames: Sequence[float], seconds: float) -> float:
        """Share of the size left at the worst moment, if frames of so many bits are taken, seconds apart."""
        fullness = least = self.fullness
        for n_bits in frames:
            fullness -= n_bits
            least = min(least, fullness)
            fullness = min(fullness + self.rate * seconds, self.size)
        return least / self.size

    def highest_q(self, bits_ahead: Callable[[int], Sequence[float]], *, low: int, high: int, seconds: float) -> int:
        """The highest base q of low..high with which frames to come should fit; low where none does.

        bits_ahead: bits of this frame and those after it, seconds apart, by base q.
        """
        while low < high:
            middle = (low + high + 1) // 2
            fits = self.least_share(bits_ahead(middle), seconds) >= RESERVE
            low, high = (middle, high) if fits else (low, middle - 1)
        return low

    def lower_q(self, n_bits: float, *, q: int, slope: float) -> int | None:
        """q_index for another trial of a frame that took n_bits at q; None where it fits or nothing helps.

        slope: log2 of bits per step of q, as far as known.
        """
        if n_bits <= self.fullness:
            return None
        if q <= 0:
            self.n_overdrawn += 1
            return None
        excess = math.log2(n_bits / max(0.95 * self.fullness, 1.0))
        return max(q - max(1, math.ceil(excess / slope)), 0)
