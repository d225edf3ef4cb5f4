"""Merge indexes of a P frame, chosen by the bits that they cost and what the error of the warp is worth.

Only an encoder does this. Every choice is made within its group, as a decoder of the group sees it.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..entropy.blocks import IS_EVEN
from ..nets.inter import half_to_planes
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

__all__ = ["search_merges"]

ROUNDS = 2  # the second knows what the first chose beside each block
LEAST_FLAG = 1.0  # bits that a block's flag costs at the least


def search_merges(
    coder: LatentCoder,
    motion: GroupSymbols,
    past: Past,
    flow: Tensor,
    compensated: Compensated,
    original: Tensor,
    before: InterReference,
    maps: FrameMaps,
) -> GroupSymbols:
    """The symbols of motion with merge indexes.

    flow: (1, 2, H/4, W/4) coded; compensated: by it alone; original: (1, 6, H/2, W/2).
    """
    assert coder.merge is not None
    assert before.planes is not None
    shown, wanted = half_to_planes(compensated.warped), half_to_planes(original)
    own = block_errors(shown.y - wanted.y, shown.uv - wanted.uv)
    merge = np.zeros((maps.groups.size, 16), np.int32)
    for group, rows in rows_by_group(maps.groups):
        cells = maps.groups == group
        window = group_window(cells)
        field = group_field(flow, cells, window, margin=FAR)
        planes, area = reached_planes(before.planes, before.source(maps.members[group]), field.vectors, window)
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
        grid = CellGrid(rows, maps.groups.shape[1])
        own_past = past.take(rows)
        context = coder.merge_context(maps.q.reshape(-1)[rows], motion.y[rows], own_past.symbols, own_past.known, grid)
        merge[rows] = _pick(coder.merge, gain, context, window.cells)
    return motion._replace(merge=merge)


def _pick(coder: MergeCoder, gain: MergeGain, context: MergeContext, cells: NDArray[np.bool_]) -> NDArray[np.int32]:
    """(n, 16) of a group whose cells of a window (rows, columns) are given."""
    merge = np.zeros((context.q.size, 16), np.int32)
    cell_rows, first_rows = context.cell_rows(), context.first_rows()
    tables = {name: table.bits for name, table in coder.tables.items()}
    for _ in range(ROUNDS):
        second = tables["second"][context.second_rows(np.where(IS_EVEN, merge != 0, 0))]
        flags = np.where(IS_EVEN[:, None], tables["first"][first_rows], second)  # (n, 16, 2)
        cell = tables["cell"][cell_rows] @ np.array([-1, 1], np.float32) + flags[:, :, 0].sum(axis=1)
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
