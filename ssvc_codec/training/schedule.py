"""The learning rate over a run."""

from __future__ import annotations

import math

__all__ = ["schedule"]


def schedule(progress: float, step: int) -> float:
    """Share of the peak rate: warm-up over 200 steps, flat to 40 % of the time, then a cosine to 1 %."""
    warm = min(1.0, (step + 1) / 200)
    if progress < 0.4:
        return warm
    return warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - 0.4) / 0.6))))
