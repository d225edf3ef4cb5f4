"""Which symbols of RESIDUAL are worth their bits: single ones, whole blocks. Only an encoder does this."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..entropy.blocks import BlockPast, busy_class
from ..entropy.plain_tables import PlainTables
from .quantiser import SYMBOL_LIMIT

__all__ = ["SymbolPrices"]

REACH = 256  # larger magnitudes count as escapes
ROUGH_OFFSET = 0.4  # of rounding, before tables are known
# What an error costs against what lambda says where it stays in the pictures after this one, too.
REFERENCE_WORTH = 1.5


class Tables(Protocol):
    """Where the tables of symbols come from: ResidualCoder."""

    def busy(self, classes, q, past, beside): ...
    def symbol_tables(self, busy, q, past, y, rows): ...


class SymbolPrices:
    """Bits of symbols in each table."""

    def __init__(self, tables: Sequence[NDArray[np.uint32]], classes: PlainTables) -> None:
        """tables: of symbols; classes: of classes of blocks."""
        self._bits = np.zeros((len(tables), REACH), np.float32)
        for row, table in zip(self._bits[1:], tables[1:], strict=True):
            known = 24 - np.log2(table[:-1:2].astype(np.float64))[:REACH]
            row[:] = 24 - np.log2(float(table[-1])) + 16
            row[: known.size] = known
        self._class_bits = classes.bits

    def choose(
        self,
        tables: Tables,
        steps: Tensor,
        worth: Tensor,
        q: NDArray[np.integer],
        past: BlockPast,
        beside: NDArray[np.integer],
        *,
        optimise: bool,
    ) -> NDArray[np.int32]:
        """(16 n, 96) symbols. steps: (16 n, 96) latents in quantiser steps; worth: (16 n, 96) bits of a squared step."""
        v = steps.cpu().numpy()
        y = _signed(np.floor(np.abs(v) + ROUGH_OFFSET), v)
        rows = np.flatnonzero(y.any(axis=1))
        if not optimise:
            tables_of = self._tables_of(tables, y, q, past, beside, rows)
            y[rows] = np.where(tables_of > 0, y[rows], 0)
            return y
        price = REFERENCE_WORTH * worth.cpu().numpy()
        for _ in range(2):
            index = self._tables_of(tables, y, q, past, beside, rows)
            y[rows] = self._worthwhile(v[rows], index, price[rows])
        bits = self.of_blocks(tables, y, q, past, beside)
        busy = tables.busy(np.zeros(y.shape[0], np.int64), q, past, beside)
        none = self._class_bits[busy.contexts, 0]
        gained = (price * (v**2 - (v - y) ** 2)).sum(axis=1)
        y[bits - none >= gained] = 0
        rows = np.flatnonzero(y.any(axis=1))
        index = self._tables_of(tables, y, q, past, beside, rows)
        y[rows] = np.where(index > 0, y[rows], 0)
        return y

    def _tables_of(self, tables, y, q, past, beside, rows) -> NDArray[np.uint8]:
        busy = tables.busy(busy_class(np.abs(y.astype(np.int64)).sum(axis=1)), q, past, beside)
        return tables.symbol_tables(busy, q, past, y[rows], rows)

    def _worthwhile(
        self, v: NDArray[np.float32], index: NDArray[np.uint8], price: NDArray[np.float32]
    ) -> NDArray[np.int32]:
        """Nearest integers, or the smaller neighbour where it saves more bits than its error costs."""
        near = np.minimum(np.rint(np.abs(v)), SYMBOL_LIMIT).astype(np.int64)
        at = np.minimum(near, REACH - 1)
        saving = self._bits[index, at] - self._bits[index, np.maximum(at - 1, 0)]
        smaller = (near > 0) & (saving > price * (1 + 2 * (np.abs(v) - near)))
        return np.where(index > 0, _signed(near - smaller, v), 0)

    def of_blocks(
        self, tables: Tables, y: NDArray[np.int32], q: NDArray[np.integer], past: BlockPast, beside: NDArray[np.integer]
    ) -> NDArray[np.float32]:
        """(16 n,) bits of every block: its class, and its symbols where it has any."""
        busy = tables.busy(busy_class(np.abs(y.astype(np.int64)).sum(axis=1)), q, past, beside)
        bits = self._class_bits[busy.contexts, busy.classes]
        rows = np.flatnonzero(busy.classes)
        index = tables.symbol_tables(busy, q, past, y[rows], rows)
        bits[rows] += self._bits[index, np.minimum(np.abs(y[rows]), REACH - 1)].sum(axis=1)
        return bits


def _signed(size: NDArray, like: NDArray) -> NDArray[np.int32]:
    return np.copysign(size, like).astype(np.int32)
