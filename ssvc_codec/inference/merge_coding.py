"""Merge indexes of a MOTION: their contexts, writing, reading, prices (docs/bitstream.md, section 5.7)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..entropy.blocks import IS_EVEN, N_BLOCKS
from ..entropy.plain_tables import MERGE_SHAPES, PlainTables
from ..errors import BitstreamError, ModelError
from ..weights import Model

__all__ = ["CellGrid", "MergeCoder", "MergeContext", "MergeTail", "load_merge_coder"]

LEVEL_EDGES = (1, 4, 12)  # of the sum of |y|

Part = tuple[str, NDArray[np.int64], NDArray[np.int64]]  # which tensor; (n,) symbols; (n,) rows of the tensor


class CellGrid(NamedTuple):
    """Where the cells of a group are."""

    rows: NDArray[np.intp]  # (n,) flat, in raster order
    n_columns: int  # of the picture

    def beside(self) -> NDArray[np.intp]:
        """(n, 4) numbers of the cells left, right, above and below within the group, n where there is none."""
        n = self.rows.size
        y, x = np.divmod(self.rows, self.n_columns)
        places = np.stack([self.rows - 1, self.rows + 1, self.rows - self.n_columns, self.rows + self.n_columns], 1)
        found = np.searchsorted(self.rows, places)
        there = self.rows[np.minimum(found, n - 1)] == places
        there &= np.stack([x > 0, x < self.n_columns - 1, y > 0, y >= 0], 1)
        return np.where(there, found, n)


class MergeContext(NamedTuple):
    """What the tables follow from, one row for each cell of a group."""

    q: NDArray[np.integer]  # (n,)
    y: NDArray[np.int32]  # (n, 4 C_y) symbols of MOTION in this frame
    before: NDArray[np.int32]  # (n, 16) merge indexes in the frame before
    known: NDArray[np.bool_]  # (n,) whether these count
    grid: CellGrid

    def cell_rows(self) -> NDArray[np.int64]:
        """(n,) of `merge.cell`."""
        state = np.where(self.known, 1 + self.before.any(axis=1), 0)
        level = np.searchsorted(LEVEL_EDGES, np.abs(self.y).sum(axis=1), side="right")
        return 12 * self._band() + 4 * state + level

    def first_rows(self) -> NDArray[np.int64]:
        """(n, 16) of `merge.first`, which the even blocks use."""
        return (3 * self._band() + np.where(self.known, 1, 0))[:, None] + ((self.before != 0) & self.known[:, None])

    def second_rows(self, flags: NDArray[np.integer]) -> NDArray[np.int64]:
        """(n, 16) of `merge.second`, which the odd blocks use. flags: (n, 16) of the even blocks, else 0."""
        return 5 * self._band()[:, None] + self.neighbours(flags)

    def neighbours(self, flags: NDArray[np.integer]) -> NDArray[np.int64]:
        """(n, 16) how many of the four blocks beside each have a flag. flags: (n, 16)."""
        n = flags.shape[0]
        cells = np.concatenate([flags, np.zeros((1, N_BLOCKS), flags.dtype)]).astype(np.int64).reshape(n + 1, 4, 4)
        around = np.zeros((n, 6, 6), np.int64)
        left, right, above, below = self.grid.beside().T
        around[:, 1:5, 1:5] = cells[:n]
        around[:, 1:5, 0], around[:, 1:5, 5] = cells[left, :, 3], cells[right, :, 0]
        around[:, 0, 1:5], around[:, 5, 1:5] = cells[above, 3], cells[below, 0]
        sums = around[:, 1:5, :4] + around[:, 1:5, 2:] + around[:, :4, 1:5] + around[:, 2:, 1:5]
        return sums.reshape(n, N_BLOCKS)

    def index_rows(self) -> NDArray[np.int64]:
        """(n,) of `merge.index`."""
        return self._band()

    def _band(self) -> NDArray[np.int64]:
        return self.q.astype(np.int64) >> 3


class MergeCoder:
    """The merge tables of one model."""

    def __init__(self, tensors: dict[str, NDArray[np.generic]]) -> None:
        """tensors: those of Table 12 without `merge.`. Raises ModelError."""
        found = {name: value.shape for name, value in tensors.items()}
        if found != MERGE_SHAPES:
            raise ModelError(f"merge tables of shapes {found}, not {MERGE_SHAPES} (docs/bitstream.md, section 5.7)")
        self.tables = {name: PlainTables(value, name=f"merge.{name}") for name, value in tensors.items()}

    @staticmethod
    def parts(merge: NDArray[np.int32], context: MergeContext) -> list[Part]:
        """What is coded of merge indexes (n, 16), in this order."""
        flags = (merge != 0).astype(np.int64)
        cells = flags.any(axis=1)
        even, odd = cells[:, None] & IS_EVEN, cells[:, None] & ~IS_EVEN
        second = context.second_rows(np.where(IS_EVEN, flags, 0))
        chosen = merge != 0
        return [
            ("cell", cells.astype(np.int64), context.cell_rows()),
            ("first", flags[even], context.first_rows()[even]),
            ("second", flags[odd], second[odd]),
            (
                "index",
                merge[chosen].astype(np.int64) - 1,
                np.broadcast_to(context.index_rows()[:, None], merge.shape)[chosen],
            ),
        ]

    def push(self, ans: Any, merge: NDArray[np.int32], context: MergeContext) -> None:
        """Codes merge indexes (n, 16)."""
        for name, symbols, rows in reversed(self.parts(merge, context)):
            self.tables[name].push(ans, symbols, rows)

    def pop(self, ans: Any, context: MergeContext) -> NDArray[np.int32]:
        """The inverse of push. Raises BitstreamError."""
        merge = np.zeros((context.q.size, N_BLOCKS), np.int32)
        cells = np.flatnonzero(self.tables["cell"].pop(ans, context.cell_rows()))
        if not cells.size:
            return merge
        there = np.zeros((context.q.size, 1), np.bool_)
        there[cells] = True
        even, odd = there & IS_EVEN, there & ~IS_EVEN
        merge[even] = self.tables["first"].pop(ans, context.first_rows()[even])
        second = context.second_rows(merge)
        merge[odd] = self.tables["second"].pop(ans, second[odd])
        if not merge[cells].any(axis=1).all():
            raise BitstreamError("a cell is said to merge and no block of it does (docs/bitstream.md, section 5.7)")
        chosen = merge != 0
        rows = np.broadcast_to(context.index_rows()[:, None], merge.shape)[chosen]
        merge[chosen] = self.tables["index"].pop(ans, rows) + 1
        return merge

    def bits(self, merge: NDArray[np.int32], context: MergeContext) -> float:
        """What push adds, about."""
        return sum(
            float(self.tables[name].bits[rows, symbols].sum()) for name, symbols, rows in self.parts(merge, context)
        )


class MergeTail(NamedTuple):
    """What a MOTION holds after its symbols."""

    coder: MergeCoder
    merge: NDArray[np.int32]  # (n, 16)
    context: MergeContext

    def push(self, ans: Any) -> None:
        """See SymbolCoder.encode."""
        self.coder.push(ans, self.merge, self.context)


def load_merge_coder(model: Model) -> MergeCoder | None:
    """That of a model, None where it has no merge tables. Raises ModelError where these are not valid."""
    tensors = model.group("merge")
    return MergeCoder(tensors) if tensors else None
