"""Merge indexes of a P frame, chosen by the bits that they cost and what the error of the warp is worth.

Only an encoder does this. Every choice is made within its group, as a decoder of the group sees it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..nets.inter import Planes, half_to_planes
from ..nets.lagrangian import lambda_of
from ..nets.merge import N_MERGES
from ..nets.merge_choice import MergeGain, Pictures, block_errors, merge_gains, pick_merges
from .compensation import Compensated, reached_planes
from .latents import GroupSymbols, LatentCoder, Past
from .maps import cell_mask
from .merge_coding import CellGrid, MergeCoder, MergeContext
from .merging import FAR, group_field
from .reference import FrameMaps, InterReference
from .rows import rows_by_group
from .windows import group_window

__all__ = ["MergeTarget", "search_merges"]

ROUNDS = 2  # the second knows what the first chose beside each block
LEAST_FLAG = 1.0  # bits that a block's flag costs at the least


class MergeTarget(NamedTuple):
    """What is coded, and what is known of it."""

    past: Past  # of MOTION
    flow: Tensor  # (1, 2, H/4, W/4) coded
    compensated: Compensated  # by it, and by what merges so far
    original: Tensor  # (1, 6, H/2, W/2)
    before: InterReference
    maps: FrameMaps

    def planes(self) -> tuple[Planes, Planes]:
        """The original and the reference."""
        assert self.before.planes is not None
        return half_to_planes(self.original), self.before.planes

    def errors(self) -> Tensor:
        """(1, H/8, W/8) of blocks as they are shown now, see block_errors."""
        shown, wanted = half_to_planes(self.compensated.warped), half_to_planes(self.original)
        return block_errors(shown.y - wanted.y, shown.uv - wanted.uv)

    def context(self, coder: LatentCoder, motion: GroupSymbols, rows: NDArray[np.intp]) -> MergeContext:
        """Of the cells of a group."""
        past = self.past.take(rows)
        grid = CellGrid(rows, self.maps.groups.shape[1])
        return coder.merge_context(self.maps.q.reshape(-1)[rows], motion.y[rows], past.symbols, past.known, grid)


def search_merges(coder: LatentCoder, motion: GroupSymbols, target: MergeTarget) -> GroupSymbols:
    """The symbols of motion with merge indexes."""
    assert coder.merge is not None
    flow, maps = target.flow, target.maps
    wanted, reference = target.planes()
    own = target.errors()
    merge = np.zeros((maps.groups.size, 16), np.int32)
    for group, rows in rows_by_group(maps.groups):
        cells = maps.groups == group
        window = group_window(cells)
        field = group_field(flow, cells, window, margin=FAR)
        planes, area = reached_planes(reference, target.before.source(maps.members[group]), field.vectors, window)
        place = 32 * (window.top - area.top), 32 * (window.left - area.left)
        q = maps.q[window.top : window.bottom, window.left : window.right]
        at_blocks = torch.from_numpy(q.repeat(4, 0).repeat(4, 1)[None]).to(flow.device)
        gain = merge_gains(
            field,
            Pictures(window.crop(wanted.y, 32), window.crop(wanted.uv, 16), *planes, *place),
            window.crop(own[None], 4)[0],
            lambda_of(at_blocks.float()),
            torch.from_numpy(coder.merge.tables["index"].bits[:, : N_MERGES - 1]).to(flow.device)[at_blocks >> 3],
            least=LEAST_FLAG,
            allowed=cell_mask(window.cells, 4, str(flow.device))[0] > 0,
            first=(4 * window.top, 4 * window.left),
        )
        context = target.context(coder, motion, rows)
        merge[rows] = _pick(coder.merge, gain, context, window.cells)
    return motion._replace(merge=merge)


def _pick(coder: MergeCoder, gain: MergeGain, context: MergeContext, cells: NDArray[np.bool_]) -> NDArray[np.int32]:
    """(n, 16) of a group whose cells of a window (rows, columns) are given."""
    merge = np.zeros((context.q.size, 16), np.int32)
    for _ in range(ROUNDS):
        flags, cell = coder.flag_bits(merge, context)
        block = flags[:, :, 1] - flags[:, :, 0]
        found = pick_merges(gain, _to_grid(block, cells, gain.bits), _to_grid(cell[:, None], cells, gain.bits))
        rows, columns = cells.shape
        picked = found[0].cpu().numpy().reshape(rows, 4, columns, 4).transpose(0, 2, 1, 3).reshape(rows, columns, 16)
        merge = picked[cells].astype(np.int32)
    return merge


def _to_grid(values: NDArray[np.float32], cells: NDArray[np.bool_], like: Tensor) -> Tensor:
    """(n, k k) of cells to (1, k rows, k columns), where they stand in a window; infinity elsewhere."""
    rows, columns = cells.shape
    side = math.isqrt(values.shape[1])
    grid = np.full((rows, columns, side, side), np.inf, np.float32)
    grid[cells] = values.reshape(-1, side, side)
    return torch.from_numpy(grid.transpose(0, 2, 1, 3).reshape(1, side * rows, side * columns)).to(like.device)
