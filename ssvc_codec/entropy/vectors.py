"""What the tables of MOTION's latents follow from: integers alone (docs/bitstream.md, section 5.4).

Latents of a cell stand at 2 x 2 positions, and are read in three passes: the tables of one follow from the
hyper-latents of its cell, from the frame before, and from the passes before, at its position and the eight around it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .activity import FLAG, activity_levels, band_edges
from .neighbours import neighbours

__all__ = [
    "N_PASSES",
    "N_POSITIONS",
    "PASS_RUN",
    "VectorContext",
    "n_vector_inputs",
    "pass_numbers",
    "position_neighbours",
]

N_POSITIONS = 4  # of latents in a cell, in raster order
N_PASSES = 3
PASS_RUN = 8  # channels that go through the passes together
CENTRE = 4  # of 3 x 3 positions


def n_vector_inputs(n_y: int) -> int:
    """How many inputs the head has beside the hyper-latents, for n_y channels."""
    return 2 * 9 * (len(band_edges(n_y)) - 1) + 5


@lru_cache
def pass_numbers(n_y: int) -> NDArray[np.int64]:
    """(4, C_y) the pass of each latent of a cell: of a quarter, of those diagonal to them, of the rest."""
    at = np.arange(N_POSITIONS)[:, None]
    row, column = at // 2, (at + np.arange(n_y) // PASS_RUN) % 2
    return np.where(row == column, row, 2)


def position_neighbours(
    cells: NDArray[np.integer], n_columns: int, groups: NDArray[np.integer] | None = None
) -> NDArray[np.int64]:
    """(4 n, 9): the positions around each and, in the middle, itself; -1 where none of its group is.

    cells: (n,) flat indexes of cells; groups: (n,), None for one group.
    """
    beside = neighbours(cells, n_columns, 2, groups)
    beside = np.insert(beside, CENTRE, np.arange(beside.shape[0]), axis=1)
    return np.where(beside == beside.shape[0], -1, beside)


class VectorContext(NamedTuple):
    """What the tables of the latents of some cells follow from."""

    q: NDArray[np.integer]  # (4 n,)
    inputs: NDArray[np.float32]  # (4 n, .) that are the same in every pass
    beside: NDArray[np.int64]  # (4 n, 9), see position_neighbours

    @classmethod
    def of(
        cls,
        z_inputs: NDArray[np.float32],
        q: NDArray[np.integer],
        before: NDArray[np.integer],
        known: NDArray[np.bool_],
        beside: NDArray[np.int64],
    ) -> VectorContext:
        """z_inputs: (n, C_z) see IntegerScaleHead; q: (n,); before: (n, 4 C_y) symbols of the frame before; known: (n,)
        where they count.
        """
        n = q.size
        past = _around(np.where(known[:, None], before, 0), beside)
        at = np.arange(N_POSITIONS)
        flags = np.stack([np.ones(N_POSITIONS), at // 2, at % 2], axis=1) * FLAG
        rows = np.broadcast_to(flags, (n, N_POSITIONS, 3)).copy()
        rows[:, :, 0] *= known[:, None]
        columns = [np.repeat(z_inputs, N_POSITIONS, axis=0), past, rows.reshape(-1, 3)]
        return cls(np.repeat(q, N_POSITIONS), np.concatenate(columns, axis=1).astype(np.float32), beside)

    def inputs_of(self, number: int, y: NDArray[np.integer]) -> NDArray[np.float32]:
        """(4 n, .) of a pass, from the symbols y (n, 4 C_y) of the passes before; all others are not looked at."""
        n, columns = y.shape
        earlier = pass_numbers(columns // N_POSITIONS).reshape(-1) < number
        now = _around(np.where(earlier, y, 0), self.beside)
        flags = np.broadcast_to(np.float32(FLAG) * (number == np.arange(1, N_PASSES)), (N_POSITIONS * n, N_PASSES - 1))
        return np.concatenate([self.inputs, now, flags], axis=1, dtype=np.float32)

    @classmethod
    def joined(cls, parts: list[VectorContext]) -> VectorContext:
        """Of the cells of all parts; parts do not see one another."""
        if len(parts) == 1:
            return parts[0]
        starts = np.cumsum([0] + [part.q.size for part in parts[:-1]])
        beside = [np.where(p.beside < 0, -1, p.beside + start) for p, start in zip(parts, starts, strict=True)]
        return cls(
            np.concatenate([part.q for part in parts]),
            np.concatenate([part.inputs for part in parts]),
            np.concatenate(beside),
        )


def _around(y: NDArray[np.integer], beside: NDArray[np.int64]) -> NDArray[np.float32]:
    """(4 n, 9 bands): of each band of channels, the level at the 3 x 3 positions."""
    size = np.abs(y.reshape(beside.shape[0], -1).astype(np.int64))
    sums = np.add.reduceat(size, band_edges(size.shape[1])[:-1], axis=1)
    levels = activity_levels(sums).astype(np.float32)
    padded = np.concatenate([levels, np.zeros((1, levels.shape[1]), np.float32)])
    return padded[beside].transpose(0, 2, 1).reshape(beside.shape[0], -1)
