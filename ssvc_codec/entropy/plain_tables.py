"""Tables of symbols 0, 1, .. without escapes, for choices of few kinds (docs/bitstream.md, section 5.7)."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from .tables import PRECISION

__all__ = [
    "FLAGS_SHAPE",
    "KEY_TABLES",
    "MENDED_SHAPE",
    "MERGE_SHAPES",
    "OWN_VECTOR",
    "PlainTables",
    "plain_frequencies",
]

# Rows and symbols of the tensors `merge.*` (section 5.7).
MERGE_SHAPES = {"cell": (96, 2), "first": (24, 2), "second": (40, 2), "index": (8, 25), "vector": (16, 9)}
OWN_VECTOR = 25  # the merge index of a block that has a vector of its own
MENDED_SHAPE = (128, 2)  # of `residual.mended` (section 5.8)
FLAGS_SHAPE = (64, 2)  # of `residual.flags` (section 5.8)
KEY_TABLES = {"flags": FLAGS_SHAPE, "coding": (8, 2)}  # shapes of the tensors `blocks.*` (section 5.9)
LEAST = 2.0**-12  # likelihood of a symbol

stream: Any = import_module("constriction").stream  # an extension module without type stubs


class PlainTables:
    """Codes integer arrays of which each symbol names its row of one tensor of frequencies."""

    def __init__(self, frequencies: NDArray[np.generic], *, name: str) -> None:
        """frequencies: (rows, symbols), each row positive and adding up to 2**24. Raises ModelError otherwise."""
        rows = frequencies.astype(np.int64)
        if rows.ndim != 2 or rows.shape[1] < 2 or (rows < 1).any() or (rows.sum(axis=1) != 2**PRECISION).any():
            raise ModelError(f"{name} holds no valid tables (docs/bitstream.md, section 5.7)")
        self.bits = (PRECISION - np.log2(rows)).astype(np.float32)  # (rows, symbols) of every symbol
        # As in SymbolCoder: with perfect=False the integers come out exactly.
        self._models = [stream.model.Categorical((row - 1).astype(np.float64), perfect=False) for row in rows]

    def push(self, ans: Any, symbols: NDArray[np.integer], rows: NDArray[np.integer]) -> None:
        """Codes (n,) symbols so that they are read in the order of their rows, and of the array in each row."""
        order, bounds = self._by_row(rows)
        ordered = symbols[order].astype(np.int32)
        for row in range(len(self._models) - 1, -1, -1):
            if bounds[row] < bounds[row + 1]:
                part = np.ascontiguousarray(ordered[bounds[row] : bounds[row + 1]])
                ans.encode_reverse(part, self._models[row])

    def pop(self, ans: Any, rows: NDArray[np.integer]) -> NDArray[np.int32]:
        """The inverse of push."""
        order, bounds = self._by_row(rows)
        out = np.zeros(rows.size, np.int32)
        for row in np.flatnonzero(np.diff(bounds)).tolist():
            here = order[bounds[row] : bounds[row + 1]]
            out[here] = ans.decode(self._models[row], here.size)
        return out

    def _by_row(self, rows: NDArray[np.integer]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        order = np.argsort(rows, kind="stable")
        return order, np.searchsorted(rows[order], np.arange(len(self._models) + 1))


def plain_frequencies(weights: NDArray[np.generic]) -> NDArray[np.uint32]:
    """Frequencies in proportion to weights (rows, symbols), none of which is 0 in effect."""
    share = weights.astype(np.float64) / weights.sum(axis=1, keepdims=True, dtype=np.float64)
    share = np.maximum(share, LEAST)
    rows = np.maximum(np.floor(share / share.sum(axis=1, keepdims=True) * 2**PRECISION), 1).astype(np.int64)
    rows[np.arange(rows.shape[0]), rows.argmax(axis=1)] += 2**PRECISION - rows.sum(axis=1)
    return rows.astype(np.uint32)
