"""Cells and groups of residuals that cost more than they give, found with the real tables (docs/decisions/0009)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .rows import rows_by_group

__all__ = ["CellCosts", "mended_cells", "skipped_cells"]


class CellCosts(NamedTuple):
    """Bits and what errors are worth, of every cell: (n,) each."""

    coded: NDArray[np.floating]  # with its symbols
    warp: NDArray[np.floating]  # without symbols, showing the warp
    mended: NDArray[np.floating]  # without symbols, showing what the networks make of it
    nothing: NDArray[np.floating]  # showing the warp, in a group whose string is empty

    def without_symbols(self) -> NDArray[np.floating]:
        """(n,)."""
        return np.minimum(self.warp, self.mended)


def skipped_cells(costs: CellCosts, groups: NDArray[np.integer]) -> NDArray[np.bool_]:
    """(n,) cells that are better without symbols. groups: (rows, columns)."""
    skipped = costs.without_symbols() <= costs.coded
    for _, rows in rows_by_group(groups):
        left = np.where(skipped, costs.without_symbols(), costs.coded)[rows].sum()
        if costs.nothing[rows].sum() <= left:
            skipped[rows] = True
    return skipped


def mended_cells(
    costs: CellCosts, without: NDArray[np.bool_], empty: NDArray[np.bool_], groups: NDArray[np.integer]
) -> NDArray[np.bool_]:
    """(n,) cells whose flag is 1: of those without symbols, unless the string of a group would be for it alone.

    without: (n,) cells without symbols; empty: (n,) cells of which nothing else is coded.
    """
    mended = without & (costs.mended < costs.warp)
    for _, rows in rows_by_group(groups):
        alone = empty[rows].all()
        if alone and costs.nothing[rows].sum() <= costs.without_symbols()[rows].sum():
            mended[rows] = False
    return mended
