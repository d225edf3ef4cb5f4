"""Merge indexes and own vectors of a MOTION: contexts, writing, reading, prices (docs/bitstream.md, section 5.7)."""

from __future__ import annotations

from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..entropy.blocks import IS_EVEN, N_BLOCKS
from ..entropy.neighbours import SIDES, neighbours
from ..entropy.plain_tables import MERGE_SHAPES, OWN_VECTOR, PlainTables
from ..errors import BitstreamError, ModelError
from ..weights import Model

__all__ = [
    "OWN_LIMIT",
    "CellGrid",
    "MergeCoder",
    "MergeContext",
    "MergeTail",
    "load_merge_coder",
    "motion_level",
    "owner_positions",
]

LEVEL_EDGES = (1, 4, 12)  # of the sum of |y|
OWN_LIMIT = 255  # largest magnitude of a component of an own vector, in quarter samples
MAGNITUDE_CLASSES = np.array([number.bit_length() for number in range(OWN_LIMIT + 1)])

stream: Any = import_module("constriction").stream  # an extension module without type stubs
REST_MODELS = {c: stream.model.Uniform(2**c) for c in range(1, int(MAGNITUDE_CLASSES[-1]) + 1)}

Part = tuple[str, NDArray[np.int64], NDArray[np.int64]]  # which tensor; (n,) symbols; (n,) rows of the tensor


class CellGrid(NamedTuple):
    """Where the cells of a group are."""

    rows: NDArray[np.intp]  # (n,) flat, in raster order
    n_columns: int  # of the picture


def motion_level(y: NDArray[np.int32]) -> NDArray[np.intp]:
    """(n,) 0..3, how much a cell moves. y: (n, 4 C_y) symbols of MOTION, 0 where they do not count."""
    return np.searchsorted(LEVEL_EDGES, np.abs(y).sum(axis=1), side="right")


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
        return 12 * self._band() + 4 * state + motion_level(self.y)

    def first_rows(self) -> NDArray[np.int64]:
        """(n, 16) of `merge.first`, which the even blocks use."""
        return (3 * self._band() + np.where(self.known, 1, 0))[:, None] + ((self.before != 0) & self.known[:, None])

    def second_rows(self, flags: NDArray[np.integer]) -> NDArray[np.int64]:
        """(n, 16) of `merge.second`, which the odd blocks use. flags: (n, 16) of the even blocks, else 0."""
        return 5 * self._band()[:, None] + self.neighbours(flags)

    def neighbours(self, flags: NDArray[np.integer]) -> NDArray[np.int64]:
        """(n, 16) how many of the four blocks beside each have a flag. flags: (n, 16)."""
        beside = neighbours(self.grid.rows, self.grid.n_columns, 4)[:, SIDES]
        return np.append(flags.reshape(-1).astype(np.int64), 0)[beside].sum(axis=1).reshape(flags.shape)

    def index_rows(self) -> NDArray[np.int64]:
        """(n,) of `merge.index`."""
        return self._band()

    def vector_rows(self) -> NDArray[np.int64]:
        """(n, 2) of `merge.vector`, for dx and for dy."""
        return 2 * self._band()[:, None] + np.arange(2)

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
    def parts(merge: NDArray[np.int32], own: NDArray[np.int32], context: MergeContext) -> list[Part]:
        """What is coded by tables of merge indexes (n, 16) and own vectors (n, 8), in this order."""
        flags = (merge != 0).astype(np.int64)
        cells = flags.any(axis=1)
        even, odd = cells[:, None] & IS_EVEN, cells[:, None] & ~IS_EVEN
        second = context.second_rows(np.where(IS_EVEN, flags, 0))
        chosen = merge != 0
        owners, vectors = _vectors(merge, own)
        return [
            ("cell", cells.astype(np.int64), context.cell_rows()),
            ("first", flags[even], context.first_rows()[even]),
            ("second", flags[odd], second[odd]),
            (
                "index",
                merge[chosen].astype(np.int64) - 1,
                np.broadcast_to(context.index_rows()[:, None], merge.shape)[chosen],
            ),
            (
                "vector",
                MAGNITUDE_CLASSES[np.abs(vectors)].reshape(-1),
                context.vector_rows()[owners.nonzero()[0]].reshape(-1),
            ),
        ]

    def push(self, ans: Any, merge: NDArray[np.int32], own: NDArray[np.int32], context: MergeContext) -> None:
        """Codes merge indexes (n, 16) and own vectors (n, 8). Raises ValueError for a vector beyond OWN_LIMIT."""
        _, vectors = _vectors(merge, own)
        if vectors.size and int(np.abs(vectors).max()) > OWN_LIMIT:
            raise ValueError(f"an own vector is beyond {OWN_LIMIT} quarter samples")
        _push_rests(ans, vectors.reshape(-1))
        for name, symbols, rows in reversed(self.parts(merge, own, context)):
            self.tables[name].push(ans, symbols, rows)

    def pop(self, ans: Any, context: MergeContext) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """The inverse of push: merge indexes (n, 16) and own vectors (n, 8). Raises BitstreamError."""
        merge, own = self._pop_indexes(ans, context), np.zeros((context.q.size, 8), np.int32)
        owners = owner_positions(merge)
        if owners.any():
            rows = context.vector_rows()[owners.nonzero()[0]].reshape(-1)
            classes = self.tables["vector"].pop(ans, rows)
            own.reshape(-1, 4, 2)[owners] = _pop_rests(ans, classes).reshape(-1, 2)
        return merge, own

    def _pop_indexes(self, ans: Any, context: MergeContext) -> NDArray[np.int32]:
        """(n, 16). Raises BitstreamError."""
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

    def flag_bits(
        self, merge: NDArray[np.int32], context: MergeContext
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """What both values of the flag of every block cost, (n, 16, 2), and how much more the first block that merges
        in a cell does, (n,), if those of the even blocks are those of merge (n, 16).
        """
        tables = {name: table.bits for name, table in self.tables.items()}
        second = tables["second"][context.second_rows(np.where(IS_EVEN, merge != 0, 0))]
        flags = np.where(IS_EVEN[:, None], tables["first"][context.first_rows()], second)
        cell = tables["cell"][context.cell_rows()] @ np.array([-1, 1], np.float32) + flags[:, :, 0].sum(axis=1)
        return flags, cell

    def vector_bits(self, q: int) -> NDArray[np.float32]:
        """(2, 256) what dx and dy of each magnitude cost."""
        rows = 2 * (q >> 3) + np.arange(2)
        return self.tables["vector"].bits[rows][:, MAGNITUDE_CLASSES] + MAGNITUDE_CLASSES.astype(np.float32)


def owner_positions(merge: NDArray[np.int32]) -> NDArray[np.bool_]:
    """(n, 4) positions of the 2 x 2 of each cell that have an own vector. merge: (n, 16)."""
    return (merge.reshape(-1, 2, 2, 2, 2) == OWN_VECTOR).any(axis=(2, 4)).reshape(-1, 4)


def _vectors(merge: NDArray[np.int32], own: NDArray[np.int32]) -> tuple[NDArray[np.bool_], NDArray[np.int32]]:
    """Positions that have an own vector (n, 4), and these vectors (m, 2). merge: (n, 16); own: (n, 8)."""
    owners = owner_positions(merge)
    return owners, own.reshape(-1, 4, 2)[owners]


def _push_rests(ans: Any, values: NDArray[np.int32]) -> None:
    """Codes what classes do not say of components (n,) of own vectors: magnitude and sign."""
    magnitudes = np.abs(values)
    classes = MAGNITUDE_CLASSES[magnitudes]
    for c, model in reversed(REST_MODELS.items()):
        here = classes == c
        rests = 2 * (magnitudes[here] - 2 ** (c - 1)) + (values[here] < 0)
        ans.encode_reverse(rests.astype(np.int32), model)


def _pop_rests(ans: Any, classes: NDArray[np.int32]) -> NDArray[np.int32]:
    """The inverse of _push_rests: (n,) components, from their classes."""
    values = np.zeros(classes.size, np.int32)
    for c, model in REST_MODELS.items():
        here = np.flatnonzero(classes == c)
        rests = ans.decode(model, here.size)
        values[here] = (2 ** (c - 1) + (rests >> 1)) * np.where(rests & 1, -1, 1)
    return values


class MergeTail(NamedTuple):
    """What a MOTION holds after its symbols."""

    coder: MergeCoder
    merge: NDArray[np.int32]  # (n, 16)
    own: NDArray[np.int32]  # (n, 8)
    context: MergeContext

    def push(self, ans: Any) -> None:
        """See SymbolCoder.encode."""
        self.coder.push(ans, self.merge, self.own, self.context)


def load_merge_coder(model: Model) -> MergeCoder | None:
    """That of a model, None where it has no merge tables. Raises ModelError where these are not valid."""
    tensors = model.group("merge")
    return MergeCoder(tensors) if tensors else None
