"""Which blocks should look their vectors up elsewhere: by what the error of the warp is worth in bits.

Encoders and training use it; no decoder does.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .lagrangian import KNEE, PLANE_WEIGHTS
from .merge import N_MERGES, Blocks, Field, finer_blocks, looked_up

__all__ = ["MergeGain", "Pictures", "block_errors", "merge_gains", "pick_merges"]

SIDE = 8  # luma samples of a block
LEAST_DIFFERENCE = 0.25  # samples: candidates that are nearer to the block's own vectors are not tried
MOST_PAIRS = 1 << 15  # of blocks and candidates that are tried at once


class MergeGain(NamedTuple):
    """What the best candidate of every block would save."""

    bits: Tensor  # (N, h, w) saved, those of the index already paid; 0 where no candidate was tried
    index: Tensor  # (N, h, w) int64, 1..24; 0 where no candidate was tried


class Pictures(NamedTuple):
    """What blocks should show, and what they are read from."""

    luma: Tensor  # (N, 1, 8 h, 8 w) of the current picture
    chroma: Tensor  # (N, 2, 4 h, 4 w)
    reference_luma: Tensor  # (N, 1, H, W)
    reference_chroma: Tensor  # (N, 2, H/2, W/2)
    top: int = 0  # place of the current pictures in the reference, in luma samples
    left: int = 0


def block_errors(luma: Tensor, chroma: Tensor) -> Tensor:
    """Weighted mean squared differences of blocks, in 8-bit code values: (N, h, w) of (N, 1, 8 h, 8 w), (N, 2, 4 h, 4 w)."""
    weights = chroma.new_tensor(PLANE_WEIGHTS[1:])[:, None, None]
    error = F.avg_pool2d(luma.square(), SIDE)[:, 0] * PLANE_WEIGHTS[0]
    return (error + (F.avg_pool2d(chroma.square(), SIDE // 2) * weights).sum(1)) * 255**2


def worth(error: Tensor, lmbda: Tensor) -> Tensor:
    """Bits that an error of a block is worth."""
    return KNEE * SIDE**2 * torch.log1p(error * lmbda / KNEE)


@torch.no_grad()
def merge_gains(
    field: Field,
    pictures: Pictures,
    own_error: Tensor,
    lmbda: Tensor,
    index_bits: Tensor,
    *,
    least: float = 0.0,
    allowed: Tensor | None = None,
    first: tuple[int, int] = (0, 0),
) -> MergeGain:
    """What blocks would save by each other's vectors.

    own_error: (N, h, w) of blocks with their own vectors, see block_errors; lmbda: (N, h, w); index_bits: expands to
    (N, h, w, 24); least: bits that must at least be at stake; allowed: (N, h, w) blocks that may merge; first: row and
    column, in the field's picture, of the first block.
    """
    own = worth(own_error, lmbda)
    tried = own > least + index_bits.amin(-1)
    if allowed is not None:
        tried = tried & allowed
    item, row, column = tried.nonzero(as_tuple=True)
    gain, index = torch.zeros_like(own), torch.zeros(own.shape, dtype=torch.int64, device=own.device)
    if not item.numel():
        return MergeGain(gain, index)
    pairs, number = _pairs(field, Blocks(item, row + first[0], column + first[1], torch.zeros_like(item)))
    at = (item[number], row[number], column[number])
    cost = worth(_pair_errors(field, pairs, at, pictures), lmbda[at])
    costs = own.new_full((item.numel(), N_MERGES), torch.inf)
    costs[number, pairs.index] = cost + index_bits.expand(*own.shape, N_MERGES - 1)[(*at, pairs.index - 1)]
    least_cost, chosen = costs.min(dim=1)
    gain[item, row, column] = (own[item, row, column] - least_cost).clamp_min(0)
    index[item, row, column] = chosen
    return MergeGain(gain, index)


@torch.no_grad()
def pick_merges(gain: MergeGain, block: Tensor, cell: Tensor) -> Tensor:
    """Merge indexes (N, h, w) int64: of blocks that save more than they cost, in cells that do.

    Bits of a block that merges, its index not counted, expanding to (N, h, w), and of a cell in which one does, to (N, h/4, w/4).
    """
    saved = (gain.bits - block).clamp_min(0)
    cells = saved.unflatten(1, (-1, 4)).unflatten(3, (-1, 4)).sum((2, 4))
    kept = (cells > cell).repeat_interleave(4, 1).repeat_interleave(4, 2)
    return torch.where(kept & (saved > 0), gain.index, 0)


def _pairs(field: Field, blocks: Blocks) -> tuple[Blocks, Tensor]:
    """Blocks with each candidate that is unlike their own vectors and each other, and the number of their block."""
    n = blocks.item.numel()
    device = blocks.item.device
    each = torch.arange(N_MERGES, device=device).repeat(n)
    number = torch.arange(n, device=device).repeat_interleave(N_MERGES)
    every = blocks.take(number)._replace(index=each)
    vectors = looked_up(field, every, around=0).reshape(n, N_MERGES, -1)
    unlike = (vectors - vectors[:, :1]).abs().amax(2) > LEAST_DIFFERENCE
    keep = unlike.reshape(-1)
    return every.take(keep), number[keep]


def _pair_errors(field: Field, pairs: Blocks, at: tuple[Tensor, Tensor, Tensor], pictures: Pictures) -> Tensor:
    """(n,) errors of pairs. at: their blocks in the current pictures."""
    patches = looked_up(field, pairs)
    item, row, column = at
    top, left = (SIDE * row + pictures.top), (SIDE * column + pictures.left)
    errors: list[Tensor] = []
    for planes, reference, size in (
        (pictures.luma, pictures.reference_luma, SIDE),
        (pictures.chroma, pictures.reference_chroma, SIDE // 2),
    ):
        scale = SIDE // size
        flow = finer_blocks(patches, size // 2) / scale
        warped = warp_blocks(reference, flow, item, top // scale, left // scale)
        grid = planes.unflatten(2, (-1, size)).unflatten(4, (-1, size)).permute(0, 2, 4, 1, 3, 5)
        errors.append((warped - grid[item, row, column]).square().mean((2, 3)))
    weights = patches.new_tensor(PLANE_WEIGHTS)
    return (torch.cat(errors, 1) * weights).sum(1) * 255**2


def warp_blocks(x: Tensor, flow: Tensor, item: Tensor, top: Tensor, left: Tensor) -> Tensor:
    """Samples of pictures x (N, C, H, W) for blocks at (top, left): (n, C, b, b).

    flow: (n, 2, b, b) in samples of x; item: (n,) which picture; top, left: (n,) in samples.
    """
    n, _, size, _ = flow.shape
    height, width = x.shape[2:]
    steps = torch.arange(size, device=x.device)
    gx = (flow[:, 0] + (left[:, None] + steps)[:, None, :]) * (2 / max(width - 1, 1)) - 1
    gy = (flow[:, 1] + (top[:, None] + steps)[:, :, None]) * (2 / max(height - 1, 1)) - 1
    grid = torch.stack([gx, gy], dim=-1)  # (n, b, b, 2)
    if x.shape[0] == 1:
        return _sample(x, grid)
    result = flow.new_zeros(n, x.shape[1], size, size)
    for k in range(x.shape[0]):
        own = (item == k).nonzero()[:, 0]
        if own.numel():
            result[own] = _sample(x[k : k + 1], grid[own])
    return result


def _sample(x: Tensor, grid: Tensor) -> Tensor:
    """x: (1, C, H, W); grid: (n, b, b, 2). Returns (n, C, b, b)."""
    n, size = grid.shape[:2]
    flat = grid.reshape(1, n * size, size, 2)
    read = F.grid_sample(x, flat, mode="bicubic", padding_mode="border", align_corners=True)
    return read.view(x.shape[1], n, size, size).transpose(0, 1)
