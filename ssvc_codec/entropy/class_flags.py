"""Classes of blocks as flags, each with a table of its own (docs/bitstream.md, section 5.8)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .blocks import N_CLASSES, N_FLAGS
from .plain_tables import PlainTables, plain_frequencies
from .tables import N_TABLES

__all__ = ["FLAG_MIDDLE", "FLAG_STEP", "ClassFlags", "flag_frequencies"]

FLAG_MIDDLE = 31.5  # table in which both values would be as likely
FLAG_STEP = 5.0  # tables on which the odds rise by e


def flag_frequencies() -> NDArray[np.uint32]:
    """(64, 2) frequencies of 0 and 1 in each table."""
    odds = np.exp((np.arange(N_TABLES) - FLAG_MIDDLE) / FLAG_STEP)
    return plain_frequencies(np.stack([np.ones_like(odds), odds], axis=1))


class ClassFlags:
    """Codes classes 0..7 by the flags "above 0", "above 1", .., of which the first that is 0 is the last."""

    def __init__(self, tables: PlainTables) -> None:
        """tables: `residual.flags`."""
        self._tables = tables

    def parts(
        self, classes: NDArray[np.integer], index: NDArray[np.uint8]
    ) -> list[tuple[PlainTables, NDArray[np.integer], NDArray[np.integer]]]:
        """Arrays to code one after another, with tables and rows. classes: (n,); index: (n, 7) table of each flag."""
        parts: list[tuple[PlainTables, NDArray[np.integer], NDArray[np.integer]]] = []
        for j in range(N_FLAGS):
            flags = classes > j
            parts.append((self._tables, flags.astype(np.int32), index[:, j]))
            classes, index = classes[flags], index[flags]
        return parts

    def pop(self, ans: Any, index: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Classes (n,) from the arrays of parts. index: (n, 7)."""
        classes = np.zeros(index.shape[0], np.int64)
        rows = np.arange(index.shape[0])
        for j in range(N_FLAGS):
            rows = rows[self._tables.pop(ans, index[rows, j]) == 1]
            classes[rows] = j + 1
        return classes

    def bits(self, index: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(n, 8) bits of every class. index: (n, 7)."""
        none, one = self._tables.bits.T
        bits = np.zeros((index.shape[0], N_CLASSES), np.float32)
        np.cumsum(one[index], axis=1, out=bits[:, 1:])
        bits[:, :N_FLAGS] += none[index]
        return bits
