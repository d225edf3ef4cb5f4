"""Probability tables. Built once when a model is exported; streams use the stored integers."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "LAPLACE_MAX",
    "LAPLACE_MIN",
    "N_TABLES",
    "PRECISION",
    "SCALE_MAX",
    "SCALE_MIN",
    "gaussian_tables",
    "laplace_scale_of_index",
    "laplace_tables",
    "scale_of_index",
]

N_TABLES = 64
PRECISION = 24  # bits: the frequencies of a table add up to 2**24
SCALE_MIN = 0.11
SCALE_MAX = 64.0
LAPLACE_MIN = 0.05
LAPLACE_MAX = 45.0
TAIL_MASS = 2.0**-18  # beyond it a symbol is escaped


def scale_of_index(index: int) -> float:
    """Standard deviation, in quantiser steps, that a table index stands for."""
    return SCALE_MIN * (SCALE_MAX / SCALE_MIN) ** (index / (N_TABLES - 1))


def gaussian_tables() -> list[NDArray[np.uint32]]:
    """Frequencies of every table (docs/bitstream.md, section 5.3).

    Table t covers 0, -1, 1, -2, .. K_t and, last, the escape symbol: (2 K_t + 2,)
    uint32, all at least 1, adding up to 2**24. Frequencies are those of a
    zero-mean Gaussian over bins of unit width.
    """
    return [_table(scale_of_index(index)) for index in range(N_TABLES)]


def _table(scale: float) -> NDArray[np.uint32]:
    def tail(x: float) -> float:
        return 0.5 * math.erfc(x / (scale * math.sqrt(2)))

    reach = 1
    while 2 * tail(reach + 0.5) > TAIL_MASS:
        reach += 1
    return _shared(tail, reach)


def _shared(tail: Callable[[float], float], reach: int) -> NDArray[np.uint32]:
    """2**24 shared out over bins of unit width. tail: the probability of what is above a value."""
    half = [tail(k - 0.5) - tail(k + 0.5) for k in range(1, reach + 1)]
    total = 2**PRECISION
    counts = np.array([max(1, round(p * total)) for p in half], dtype=np.int64)
    escape = max(1, round(2 * tail(reach + 0.5) * total))
    centre = total - 2 * int(counts.sum()) - escape
    return np.concatenate([[centre], counts.repeat(2), [escape]]).astype(np.uint32)


def laplace_scale_of_index(index: int) -> float:
    """Decay length of the Laplace distribution, in quantiser steps, that a table index stands for."""
    return LAPLACE_MIN * (LAPLACE_MAX / LAPLACE_MIN) ** (index / (N_TABLES - 1))


def laplace_tables() -> list[NDArray[np.uint32]]:
    """As gaussian_tables, of zero-mean Laplace distributions."""
    tables: list[NDArray[np.uint32]] = []
    for index in range(N_TABLES):
        scale = laplace_scale_of_index(index)
        reach = max(1, math.ceil(0.5 - scale * math.log(TAIL_MASS)))
        tables.append(_shared(lambda x, scale=scale: 0.5 * math.exp(-x / scale), reach))
    return tables
