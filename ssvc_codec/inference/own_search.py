"""Own vectors of a P frame: for blocks that no place of the flow predicts, but something else in the reference does.

Only an encoder does this, after merge indexes are chosen. Every choice is made within its group, as a decoder of the
group sees it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..entropy.blocks import POSITION
from ..entropy.plain_tables import OWN_VECTOR
from ..nets.block_search import SEARCH_REACH, Sought, find_vectors, lasting_worth, vector_errors
from ..nets.lagrangian import lambda_of
from ..nets.merge_choice import Pictures
from .compensation import reached_planes
from .latents import GroupSymbols, LatentCoder
from .merge_coding import CellGrid, MergeCoder, MergeContext
from .merge_search import MergeTarget
from .merging import mean_vectors
from .rows import rows_by_group
from .windows import group_window

__all__ = ["search_own_vectors"]

LEAST_WORTH = 24.0  # bits that the error of a block must be worth: an own vector costs about as many


class _Blocks(NamedTuple):
    """Blocks of a group that may get an own vector. Every part: (m,)."""

    cell: NDArray[np.intp]  # number in the group
    block: NDArray[np.intp]  # 0..15 in the cell
    worth: NDArray[np.float32]  # bits that the error is worth as it is
    price: NDArray[np.float32]  # bits that an own vector costs more than what the block has now, the vector not counted

    def place(self) -> NDArray[np.intp]:
        """Number of the position in the group."""
        return 4 * self.cell + POSITION[self.block]

    def slot(self) -> NDArray[np.intp]:
        """Number of the block in its position."""
        return self.block // 4 % 2 * 2 + self.block % 2


class _Searched(NamedTuple):
    """Where they are sought, and what that is worth."""

    sought: Sought
    pictures: Pictures
    lmbda: Tensor  # ()
    bits: Tensor  # (2, 256) of dx and dy of each magnitude


class _Chosen(NamedTuple):
    """What is chosen for the positions of some blocks."""

    place: NDArray[np.intp]  # (p,) numbers of the positions
    saved: NDArray[np.float64]  # (p,) bits, the vector paid
    vector: NDArray[np.int64]  # (p, 2)
    used: NDArray[np.bool_]  # (m,) blocks that use it


def search_own_vectors(coder: LatentCoder, motion: GroupSymbols, target: MergeTarget) -> GroupSymbols:
    """The symbols of motion with own vectors; the same object where none is worth it."""
    assert coder.merge is not None
    flow, maps, error = target.flow, target.maps, target.errors()
    merge, own = motion.merges().copy(), motion.owns().copy()
    for group, rows in rows_by_group(maps.groups):
        q = int(maps.q.flat[rows[0]])
        lmbda = lambda_of(torch.tensor(float(q), device=flow.device))
        context = target.context(coder, motion, rows)
        price, cell_price = _prices(coder.merge, merge[rows], context)
        at_stake = _by_cell(lasting_worth(error, lmbda))[rows]
        cell, block = (at_stake >= LEAST_WORTH).nonzero()
        if not cell.size:
            continue
        blocks = _Blocks(cell, block, at_stake[cell, block], price[cell, block])
        bits = torch.from_numpy(coder.merge.vector_bits(q)).to(flow.device)
        searched = _Searched(*_sought(blocks, context.grid, target, group), lmbda, bits)
        chosen = _choose(blocks, searched)
        saved = np.bincount(chosen.place // 4, chosen.saved, rows.size)
        kept = (chosen.saved > 0) & (saved > cell_price)[chosen.place // 4]
        cell_of, position = np.divmod(chosen.place[kept], 4)
        own.reshape(-1, 4, 2)[rows[cell_of], position] = chosen.vector[kept]
        used = chosen.used & np.isin(blocks.place(), chosen.place[kept])
        merge[rows[cell[used]], block[used]] = OWN_VECTOR
    return motion._replace(merge=merge, own=own) if (merge == OWN_VECTOR).any() else motion


def _sought(blocks: _Blocks, grid: CellGrid, target: MergeTarget, group: int) -> tuple[Sought, Pictures]:
    """The blocks of a group, and the part of its source in which they are sought."""
    flow, groups = target.flow, target.maps.groups
    wanted, reference = target.planes()
    window = group_window(groups == group)
    y, x = np.divmod(grid.rows[blocks.cell], grid.n_columns)
    at = np.stack([4 * (y - window.top) + blocks.block // 4, 4 * (x - window.left) + blocks.block % 4])
    row, column = torch.from_numpy(at.astype(np.int64)).to(flow.device)
    mean = mean_vectors(window.crop(flow, 8), row, column).t()
    farthest = torch.cat([mean - SEARCH_REACH, mean + SEARCH_REACH], dim=1)[None, :, None]
    planes, area = reached_planes(reference, target.before.source(target.maps.members[group]), farthest, window)
    place = 32 * (window.top - area.top), 32 * (window.left - area.left)
    pictures = Pictures(window.crop(wanted.y, 32), window.crop(wanted.uv, 16), *planes, *place)
    return Sought.of(pictures, row, column, mean.t()), pictures


def _choose(blocks: _Blocks, searched: _Searched) -> _Chosen:
    """Of the vectors found for the blocks of each position the one that saves most, over all that would use it."""
    sought, pictures, lmbda, bits = searched
    at_stake = torch.from_numpy(blocks.worth).to(bits.device)
    numbers, found = (part.cpu().numpy() for part in find_vectors(sought, pictures, at_stake, lmbda, bits))
    prices = bits.cpu().numpy()
    place, number = np.unique(blocks.place(), return_inverse=True)
    slot = blocks.slot()
    best, vector = np.zeros(place.size), np.zeros((place.size, 2), np.int64)
    used = np.zeros(number.size, np.bool_)
    for candidate in range(4):
        first = slot[numbers] == candidate
        there, tried = np.zeros(place.size, np.bool_), np.zeros((place.size, 2), np.int64)
        there[number[numbers[first]]], tried[number[numbers[first]]] = True, found[first]
        here = np.flatnonzero(there[number])
        if not here.size:
            continue
        chosen = torch.from_numpy(here).to(sought.row.device)
        vectors = torch.from_numpy(tried[number[here]]).to(sought.row.device)
        left = lasting_worth(vector_errors(sought.take(chosen), pictures, vectors), lmbda).cpu().numpy()
        gain = np.zeros(number.size)
        gain[here] = blocks.worth[here] - left - blocks.price[here]
        paid = prices[0][np.abs(tried[:, 0])] + prices[1][np.abs(tried[:, 1])]
        saved = np.where(there, np.bincount(number, np.maximum(gain, 0), place.size) - paid, 0)
        better = saved > best
        best[better], vector[better] = saved[better], tried[better]
        used = np.where(better[number], gain > 0, used)
    return _Chosen(place, best, vector, used)


def _prices(
    coder: MergeCoder, merge: NDArray[np.int32], context: MergeContext
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What the index of an own vector costs more than what each block has, (n, 16), and what its cell does, (n,).

    Contexts are those of the indexes merge (n, 16).
    """
    flags, cell = coder.flag_bits(merge, context)
    index = coder.tables["index"].bits[context.index_rows()]
    has_now = np.take_along_axis(index, np.maximum(merge - 1, 0).astype(np.int64), axis=1)
    now = np.where(merge != 0, has_now, flags[:, :, 0] - flags[:, :, 1])
    return index[:, OWN_VECTOR - 1 :] - now, np.where(merge.any(axis=1), 0, cell)


def _by_cell(blocks: Tensor) -> NDArray[np.float32]:
    """(1, 4 rows, 4 columns) to (all cells, 16)."""
    return (
        blocks[0].unflatten(0, (-1, 4)).unflatten(2, (-1, 4)).permute(0, 2, 1, 3).flatten(0, 1).flatten(1).cpu().numpy()
    )
