"""Flags of cells without symbols: do they show the warp, or what networks make of it? (docs/bitstream.md, 5.8)"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..entropy.blocks import N_BLOCKS
from ..entropy.offsets import N_OFFSETS
from ..entropy.plain_tables import MENDED_SHAPE, PlainTables
from ..weights import Model
from .latents import GroupSymbols, Past
from .loading import load_plain_tables
from .merge_coding import motion_level

__all__ = ["MENDED", "OFFSETS", "MendedFlags", "load_mended_flags", "without_symbols"]

OFFSETS = slice(N_BLOCKS, N_BLOCKS + N_OFFSETS)  # columns of z
MENDED = N_BLOCKS + N_OFFSETS


def without_symbols(z: NDArray[np.int32]) -> NDArray[np.bool_]:
    """(n,) cells of which every class is 0. z: (n, 26), see ResidualCoder."""
    return ~z[:, :N_BLOCKS].any(axis=1)


class MendedFlags:
    """The flags of one model, with tables that follow from the frame before and from motion."""

    def __init__(self, tables: PlainTables) -> None:
        """tables: `residual.mended`."""
        self._tables = tables

    @staticmethod
    def rows(q: NDArray[np.integer], past: Past) -> NDArray[np.int64]:
        """(n,) of `residual.mended`. q: (n,)."""
        if past.other is None or past.other_known is None:
            raise ValueError("tables of RESIDUAL need the MOTION of the frame")
        z = past.symbols.z
        state = np.where(past.known, np.where(without_symbols(z), 1 + z[:, MENDED], 3), 0)
        level = motion_level(past.other.y * past.other_known[:, None])
        return 16 * (q.astype(np.int64) >> 3) + 4 * state + level

    def bits(self, q: NDArray[np.integer], past: Past) -> NDArray[np.float32]:
        """(n, 2) of both values in every cell."""
        return self._tables.bits[self.rows(q, past)]

    def part(
        self, symbols: GroupSymbols, q: NDArray[np.integer], past: Past
    ) -> tuple[PlainTables, NDArray[np.integer], NDArray[np.integer]]:
        """What is coded, with tables and rows."""
        free = without_symbols(symbols.z)
        return self._tables, symbols.z[free, MENDED], self.rows(q, past)[free]

    def pop(self, ans: Any, z: NDArray[np.int32], q: NDArray[np.integer], past: Past) -> NDArray[np.int32]:
        """(n,) flags, 0 in cells with symbols. z: (n, 16 and more), of which classes count."""
        free = without_symbols(z)
        flags = np.zeros(q.size, np.int32)
        flags[free] = self._tables.pop(ans, self.rows(q, past)[free])
        return flags


def load_mended_flags(model: Model) -> MendedFlags:
    """Those of a model. Raises ModelError."""
    return MendedFlags(load_plain_tables(model, "residual.mended", MENDED_SHAPE))
