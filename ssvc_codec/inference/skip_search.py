"""Cells and groups of residuals that cost more than they give, found with the real tables (docs/decisions/0009)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .rows import rows_by_group

__all__ = ["skipped_cells"]

# What an error costs against what lambda says where it stays in the pictures after this one, too: measured.
REFERENCE_WORTH = 2.0


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
