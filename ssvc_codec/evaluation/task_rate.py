"""Rate against a task's metric: Bjontegaard with accuracy in the place of PSNR.

A task's metric is noisy: more bits may find less. Curves are therefore thinned to their Pareto front (no other point of
the curve has as much accuracy for as few bits) before they are compared, and results say how many points are left.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ssvc_codec.evaluation.bd_rate import BdRate, RatePoint, bd_rate

__all__ = ["RateAtEqual", "pareto_front", "rate_at_equal", "task_bd_rate"]

MIN_OVERLAP = 0.1
"""Share of the range of the metric that two curves must have in common for a BD-rate to be told."""


def pareto_front(points: Sequence[RatePoint]) -> list[RatePoint]:
    """Points that no other one beats in rate and quality, by rising rate; quality then rises strictly."""
    front: list[RatePoint] = []
    for point in sorted(points, key=lambda p: (p.rate, -p.quality)):
        if not front or point.quality > front[-1].quality:
            front.append(point)
    return front


def task_bd_rate(anchor: Sequence[RatePoint], test: Sequence[RatePoint]) -> BdRate:
    """BD-rate of the Pareto fronts, in percent; NaN and the reason where it cannot be told."""
    fronts = pareto_front(anchor), pareto_front(test)
    result = bd_rate(*fronts)
    if result.is_known and result.overlap < MIN_OVERLAP:
        reason = f"below {100 * MIN_OVERLAP:.0f} % of the range in common"
        return BdRate(math.nan, result.overlap, reason)
    return result


class RateAtEqual(NamedTuple):
    """How many bits another codec needs for the same result."""

    percent: float  # of the point against the anchor: negative needs fewer; NaN where the anchor has no such result
    bound: str = ""  # "<": the anchor needs still more than its best point; ">": its cheapest point is better already


def rate_at_equal(anchor: Sequence[RatePoint], point: RatePoint) -> RateAtEqual:
    """The rate of one point against that of the anchor's front where its quality is the same.

    Log rate is interpolated linearly. Beyond the front's ends the nearest end is taken, and bound tells that the true
    number is smaller (the anchor never is as good) or larger (the anchor is better at its least rate).
    """
    front = pareto_front(anchor)
    if not front:
        return RateAtEqual(math.nan)
    qualities = [p.quality for p in front]
    rate = math.exp(float(np.interp(point.quality, qualities, [math.log(p.rate) for p in front])))
    bound = "<" if point.quality > qualities[-1] else ">" if point.quality < qualities[0] else ""
    return RateAtEqual(100 * (point.rate / rate - 1), bound)
