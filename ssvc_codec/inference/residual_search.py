"""Which symbols of RESIDUAL are worth their bits: single ones, whole blocks. Only an encoder does this."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ..entropy.blocks import BlockPast, busy_class
from ..nets.lagrangian import SYMBOL_WORTH
from .quantiser import SYMBOL_LIMIT

__all__ = ["ROUNDS", "Busy", "Known", "ResidualSearch", "Tables", "nearest_or_less", "rounded", "symbol_bits"]

REACH = 256  # larger magnitudes count as escapes
ROUGH_OFFSET = 0.4  # of rounding, before tables are known
ROUNDS = 2  # of rounding, each with the tables of the one before


class Busy(NamedTuple):
    """Classes of blocks in the order of cells, and of those beside them."""

    classes: NDArray[np.int64]  # (16 n,)
    around: NDArray[np.int64]  # (16 n, 8)


class Known(NamedTuple):
    """What tables of blocks follow from beside their symbols and classes."""

    q: NDArray[np.integer]  # (16 n,)
    past: BlockPast
    beside: NDArray[np.integer]  # (16 n, 8), see block_neighbours
    even: NDArray[np.uint8]  # (8 n, 7) tables of flags of the even blocks
    odd_inputs: NDArray[np.float32]  # (8 n, 28), see class_inputs, of the odd blocks


class Tables(Protocol):
    """Where tables come from: ResidualCoder."""

    def busy(self, classes: NDArray[np.int64], known: Known) -> Busy:
        """Of the classes of all blocks."""
        ...

    def class_bits(self, classes: NDArray[np.int64], known: Known) -> NDArray[np.float32]:
        """(16 n, 8) bits of every class of each block, if the even blocks have these classes."""
        ...

    def symbol_tables(
        self, busy: Busy, known: Known, y: NDArray[np.integer], rows: NDArray[np.integer]
    ) -> NDArray[np.uint8]:
        """(m, 96) of the symbols y (m, 96) of the blocks at rows."""
        ...


class ResidualSearch:
    """Bits of symbols in each table, and decisions by them. y: always (16 n, 96) int32."""

    def __init__(self, of: Tables, tables: Sequence[NDArray[np.uint32]]) -> None:
        """tables: of symbols. bits: of each table, by magnitude."""
        self._of = of
        self.bits = symbol_bits(tables)

    def worthwhile(self, steps: NDArray[np.float32], worth: NDArray[np.float32], known: Known) -> NDArray[np.int32]:
        """Symbols that save more than they cost. worth: (16 n, 96) bits of one squared step of error."""
        y = rounded(steps)
        rows = np.flatnonzero(y.any(axis=1))
        price = SYMBOL_WORTH * worth
        for _ in range(ROUNDS):
            y[rows] = nearest_or_less(self.bits, steps[rows], self._tables(y, known, rows), price[rows])
        none = self._of.class_bits(np.zeros(y.shape[0], np.int64), known)[:, 0]
        error = price[rows] * (steps[rows] ** 2 - (steps[rows] - y[rows]) ** 2)
        y[rows[(self.block_bits(y, known) - none)[rows] >= error.sum(axis=1)]] = 0
        return y

    def block_bits(self, y: NDArray[np.int32], known: Known) -> NDArray[np.float32]:
        """(16 n,) bits of every block: its class, and its symbols where it has any."""
        busy = self._of.busy(_classes(y), known)
        bits = np.take_along_axis(self._of.class_bits(busy.classes, known), busy.classes[:, None], axis=1)[:, 0]
        rows = np.flatnonzero(busy.classes)
        index = self._of.symbol_tables(busy, known, y[rows], rows)
        bits[rows] += self.bits[index, np.minimum(np.abs(y[rows]), REACH - 1)].sum(axis=1)
        return bits

    def _tables(self, y: NDArray[np.int32], known: Known, rows: NDArray[np.integer]) -> NDArray[np.uint8]:
        return self._of.symbol_tables(self._of.busy(_classes(y), known), known, y[rows], rows)


def symbol_bits(tables: Sequence[NDArray[np.uint32]]) -> NDArray[np.float32]:
    """(tables, 256) bits of a symbol in each table by its magnitude, its sign included."""
    bits = np.zeros((len(tables), REACH), np.float32)
    for row, table in zip(bits[1:], tables[1:], strict=True):
        known = 24 - np.log2(table[:-1:2].astype(np.float64))[:REACH]
        row[:] = 24 - np.log2(float(table[-1])) + 16
        row[: known.size] = known
    return bits


def rounded(steps: NDArray[np.float32]) -> NDArray[np.int32]:
    """Symbols without a search. steps: (16 n, 96) latents in quantiser steps."""
    return _signed(np.floor(np.abs(steps) + ROUGH_OFFSET), steps)


def nearest_or_less(
    bits: NDArray[np.float32], steps: NDArray[np.float32], index: NDArray[np.uint8], price: NDArray[np.float32]
) -> NDArray[np.int32]:
    """Nearest integers, or the smaller neighbour where it saves more bits than its error costs.

    bits: see symbol_bits; index: tables; price: bits of one squared step of error.
    """
    size = np.abs(steps)
    near = np.minimum(np.rint(size), SYMBOL_LIMIT).astype(np.int64)
    at = np.minimum(near, REACH - 1)
    saving = bits[index, at] - bits[index, np.maximum(at - 1, 0)]
    smaller = (near > 0) & (saving > price * (1 + 2 * (size - near)))
    return _signed(near - smaller, steps)


def _classes(y: NDArray[np.int32]) -> NDArray[np.int64]:
    return busy_class(np.abs(y.astype(np.int64)).sum(axis=1))


def _signed(size: NDArray[np.number], like: NDArray[np.floating]) -> NDArray[np.int32]:
    return np.copysign(np.minimum(size, SYMBOL_LIMIT), like).astype(np.int32)
