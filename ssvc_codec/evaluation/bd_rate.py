"""Bjontegaard's mean rate difference between two rate-distortion curves (VCEG-M33).

Interpolation is piecewise cubic (PCHIP) of log rate over quality, as in the JVET common test conditions: it has no
overshoot and takes any number of points. scipy's interpolator is used directly, because the PyPI package
`bjontegaard` brings matplotlib into a library; the tests hold its values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

__all__ = ["BdRate", "RatePoint", "bd_rate"]


class RatePoint(NamedTuple):
    """One coded version of a clip."""

    rate: float  # any unit, the same in both curves
    quality: float  # dB, larger is better


class BdRate(NamedTuple):
    """How much more rate the test curve needs at equal quality."""

    percent: float  # negative: the test needs less; NaN where reason is given
    overlap: float  # quality range of both curves over that of either, 0..1: below about 0.5 percent says little
    reason: str = ""  # why there is no number

    @property
    def is_known(self) -> bool:
        """Whether percent is a number."""
        return not self.reason


def bd_rate(anchor: Sequence[RatePoint], test: Sequence[RatePoint]) -> BdRate:
    """Mean rate difference of test against anchor over the quality range that both have, in percent.

    Curves that cannot be compared (no common range, fewer than two points, quality that does not rise with
    rate) give NaN and the reason. Raises ValueError for a rate that is not above 0 or a number that is not finite.
    """
    for name, points in (("anchor", anchor), ("test", test)):
        if any(not (math.isfinite(p.rate) and math.isfinite(p.quality) and p.rate > 0) for p in points):
            raise ValueError(f"{name} has a point without a positive rate and a finite quality")
        if len(points) < 2:
            return BdRate(math.nan, 0.0, f"{name} has {len(points)} of the 2 or more points needed")
    anchor_log, anchor_quality = curve(anchor)
    test_log, test_quality = curve(test)
    low = max(anchor_quality.min(), test_quality.min())
    high = min(anchor_quality.max(), test_quality.max())
    span = max(anchor_quality.max(), test_quality.max()) - min(anchor_quality.min(), test_quality.min())
    overlap = float(max(0.0, high - low) / span) if span > 0 else 0.0
    for name, quality in (("anchor", anchor_quality), ("test", test_quality)):
        if np.any(np.diff(quality) <= 0):
            return BdRate(math.nan, overlap, f"quality of {name} does not rise with rate")
    if overlap == 0:
        return BdRate(math.nan, 0.0, "the quality ranges do not overlap")
    anchor_area = float(PchipInterpolator(anchor_quality, anchor_log).integrate(low, high))
    test_area = float(PchipInterpolator(test_quality, test_log).integrate(low, high))
    return BdRate(100 * math.expm1((test_area - anchor_area) / float(high - low)), overlap)


def curve(points: Sequence[RatePoint]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Natural log of the rates, and the qualities, in order of rising rate."""
    ordered = np.array(sorted(points), dtype=np.float64)
    return np.log(ordered[:, 0]), ordered[:, 1]
