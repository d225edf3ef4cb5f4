"""Cells and groups of residuals that cost more than they give, found with the real tables (docs/decisions/0009)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .latents import GroupSymbols, LatentCoder, Past
from .rows import rows_by_group

__all__ = ["SymbolPrices", "skipped_cells"]

REACH = 256  # larger magnitudes count as escapes
# What an error costs against what lambda says where it stays in the pictures after this one, too: measured.
REFERENCE_WORTH = 2.0


class SymbolPrices:
    """Bits of symbols in each table."""

    def __init__(self, tables: Sequence[NDArray[np.uint32]]) -> None:
        """tables: the probability tables of the model."""
        self._bits = np.zeros((len(tables), REACH), np.float32)
        for row, table in zip(self._bits[1:], tables[1:], strict=True):
            known = 24 - np.log2(table[:-1:2].astype(np.float64))[:REACH]
            row[:] = 24 - np.log2(float(table[-1])) + 16
            row[: known.size] = known

    def of_cells(
        self, coder: LatentCoder, symbols: GroupSymbols, q: NDArray[np.integer], past: Past
    ) -> NDArray[np.float32]:
        """(n,) bits of every cell; every argument has one row for each of them."""
        z = self._of_rows(symbols.z, coder.z_indexes(q, past))
        return z + self._of_rows(symbols.y, coder.y_indexes(symbols.z, q, past))

    def _of_rows(self, symbols: NDArray[np.int32], index: NDArray[np.uint8]) -> NDArray[np.float32]:
        return self._bits[index, np.minimum(np.abs(symbols), REACH - 1)].sum(axis=1)


def skipped_cells(
    bits: NDArray[np.float32],
    error: NDArray[np.float32],
    bits_of_zeros: NDArray[np.float32],
    error_of_warp: NDArray[np.float32],
    groups: NDArray[np.integer],
) -> NDArray[np.bool_]:
    """(n,) cells that are better all zeros. Errors are times lambda; a group of nothing but zeros has an empty string.

    bits, error, bits_of_zeros, error_of_warp: (n,) of every cell; groups: (rows, columns).
    """
    coded, warped = bits + REFERENCE_WORTH * error, REFERENCE_WORTH * error_of_warp
    skipped = bits_of_zeros + warped <= coded
    for _, rows in rows_by_group(groups):
        left = np.where(skipped, bits_of_zeros + warped, coded)[rows].sum()
        if warped[rows].sum() <= left:
            skipped[rows] = True
    return skipped
