"""Which blocks should look their vectors up elsewhere: by what the error of the warp is worth in bits.

Encoders and training use it; no decoder does.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .lagrangian import KNEE, PLANE_WEIGHTS
from .merge import N_MERGES, PER_BLOCK, RADII, Blocks, Field, displacements, looked_up
from .motion import upsample_flow

__all__ = ["MergeGain", "Pictures", "block_errors", "choose_merges", "merge_gains", "pick_merges", "usual_bits"]

SIDE = 8  # luma samples of a block
LEAST_DIFFERENCE = 0.25  # samples: candidates that are nearer to the block's own vectors are not tried
# Candidates of a block that are tried: those that are best on pictures of half the size, if not worse there than the
# block's own vectors by so many bits.
N_TRIED = 4
SLACK = 12.0
# Bits of the tables, about, for training: of an index, of a block that merges, of a cell in which one does.
USUAL_INDEX, USUAL_BLOCK, USUAL_CELL = 4.0, 2.0, 6.0


class MergeGain(NamedTuple):
    """What the best candidate of every block would save."""

    bits: Tensor  # (N, h, w) saved, those of the index already paid; 0 where no candidate was tried
    merge: Tensor  # (N, h, w) int64 index, 1..24; 0 where no candidate was tried


class Pictures(NamedTuple):
    """What blocks should show, and what they are read from."""

    luma: Tensor  # (N, 1, 8 h, 8 w) of the current picture
    chroma: Tensor  # (N, 2, 4 h, 4 w)
    reference_luma: Tensor  # (N, 1, H, W)
    reference_chroma: Tensor  # (N, 2, H/2, W/2)
    top: int = 0  # place of the current pictures in the reference, in luma samples
    left: int = 0


class _Tried(NamedTuple):
    """Pairs of a block and a candidate. Every part: (n,) int64."""

    item: Tensor
    row: Tensor  # of the block in the current pictures
    column: Tensor
    number: Tensor  # of the block, among those that are tried
    merge: Tensor  # index of the candidate


class _Plane(NamedTuple):
    """Something to compare: a plane or several, and the flow between its samples."""

    current: Tensor  # (N, rows of blocks, columns, C, b, b)
    reference: Tensor  # (N, C, H, W)
    flow: Tensor  # (N, h, w, 2) in halves of the reference's sides
    top: int  # place of the current picture in the reference, in samples
    left: int
    flow_top: int  # place of the first block in the flow, in samples
    flow_left: int
    mode: Literal["bilinear", "bicubic"]


def block_errors(luma: Tensor, chroma: Tensor) -> Tensor:
    """Weighted mean squared differences of blocks, in 8-bit code values: (N, h, w).

    luma: (N, 1, 8 h, 8 w); chroma: (N, 2, 4 h, 4 w).
    """
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
    """What blocks would save by vectors of other places.

    own_error: (N, h, w) of blocks with their own vectors, see block_errors; lmbda: (N, h, w); index_bits: expands to
    (N, h, w, 24); least: bits that must at least be at stake; allowed: (N, h, w) blocks that may merge; first: row and
    column, in the field's picture, of the first block.
    """
    own = worth(own_error, lmbda)
    wanted = own > least + index_bits.amin(-1)
    if allowed is not None:
        wanted = wanted & allowed
    item, row, column = places = wanted.nonzero(as_tuple=True)
    gain, index = torch.zeros_like(own), torch.zeros(own.shape, dtype=torch.int64, device=own.device)
    if not places[0].numel():
        return MergeGain(gain, index)
    tried = _tried(field, places, first)
    if not tried.item.numel():
        return MergeGain(gain, index)
    paid = F.pad(index_bits.expand(*own.shape, N_MERGES - 1), (1, 0))
    halves, luma, chroma = _planes(field, pictures, first)

    def costs(tried: _Tried, error: Tensor) -> Tensor:
        """(blocks, 25), infinite where not tried."""
        at = (tried.item, tried.row, tried.column)
        result = own.new_full((places[0].numel(), N_MERGES), torch.inf)
        result[tried.number, tried.merge] = worth(error, lmbda[at]) + paid[(*at, tried.merge)]
        return result

    rough = costs(tried, _errors(halves, tried, PLANE_WEIGHTS))
    best, candidate = rough[:, 1:].topk(N_TRIED, dim=1, largest=False)
    number, slot = (best < rough[:, :1] + SLACK).nonzero(as_tuple=True)
    tried = _Tried(item[number], row[number], column[number], number, 1 + candidate[number, slot])
    error = _errors(luma, tried, PLANE_WEIGHTS[:1]) + _errors(chroma, tried, PLANE_WEIGHTS[1:])
    least_cost, chosen = costs(tried, error).min(dim=1)
    gain[places] = (own[places] - least_cost).clamp_min(0)
    index[places] = chosen
    return MergeGain(gain, index)


@torch.no_grad()
def choose_merges(
    original: tuple[Tensor, Tensor],
    reference: tuple[Tensor, Tensor],
    shown: tuple[Tensor, Tensor],
    flow: Tensor,
    lmbda: Tensor,
) -> Tensor:
    """Merge indexes (N, H/8, W/8) of pictures of one group each, at usual prices.

    original, reference, shown by the flow alone: luma (N, 1, H, W) and chroma (N, 2, H/2, W/2); flow: (N, 2, H/4, W/4)
    in luma samples; lmbda: (N,).
    """
    own = block_errors(*(now - then for now, then in zip(original, shown, strict=True)))
    index_bits, at_blocks = own.new_full((1,), USUAL_INDEX), lmbda[:, None, None].expand_as(own)
    flow = flow.nan_to_num()
    gain = merge_gains(
        Field.whole(flow), Pictures(*original, *reference), own, at_blocks, index_bits, least=USUAL_BLOCK
    )
    return pick_merges(gain, own.new_tensor(USUAL_BLOCK), own.new_tensor(USUAL_CELL))


@torch.no_grad()
def pick_merges(gain: MergeGain, block: Tensor, cell: Tensor) -> Tensor:
    """Merge indexes (N, h, w) int64: of blocks that save more than they cost, in cells that do.

    block: bits of a block that merges, its index not counted, expanding to (N, h, w); cell: of a cell in which one
    does, to (N, h/4, w/4).
    """
    saved = (gain.bits - block).clamp_min(0)
    cells = saved.unflatten(1, (-1, 4)).unflatten(3, (-1, 4)).sum((2, 4))
    kept = (cells > cell).repeat_interleave(4, 1).repeat_interleave(4, 2)
    return torch.where(kept & (saved > 0), gain.merge, 0)


def _tried(field: Field, places: tuple[Tensor, ...], first: tuple[int, int]) -> _Tried:
    """Blocks with each candidate that is unlike their own vectors, and, where there is one, with these."""
    item, row, column = places
    n, device = item.numel(), item.device
    number = torch.arange(n, device=device).repeat_interleave(N_MERGES)
    index = torch.arange(N_MERGES, device=device).repeat(n)
    every = Blocks(item[number], row[number] + first[0], column[number] + first[1], index)
    vectors = looked_up(field, every, around=0).reshape(n, N_MERGES, 2 * PER_BLOCK**2)
    unlike = (vectors - vectors[:, :1]).abs().amax(2) > LEAST_DIFFERENCE
    unlike[:, 0] = unlike.any(1)
    number, index = unlike.nonzero(as_tuple=True)
    return _Tried(item[number], row[number], column[number], number, index)


def _planes(field: Field, pictures: Pictures, first: tuple[int, int]) -> tuple[_Plane, _Plane, _Plane]:
    """Both pictures at half their size, luma reduced; luma; chroma."""
    p = pictures
    reduced = [torch.cat([F.avg_pool2d(y, 2), uv], 1) for y, uv in ((p.luma, p.chroma), p[2:4])]
    beyond = max(RADII)
    vectors = F.pad(field.vectors, (beyond,) * 4, mode="replicate")
    fine, half = (upsample_flow(vectors, factor).permute(0, 2, 3, 1) for factor in (4, 2))
    top, left = PER_BLOCK * first[0] - field.top + beyond, PER_BLOCK * first[1] - field.left + beyond

    def plane(
        current: Tensor, reference: Tensor, flow: Tensor, size: int, mode: Literal["bilinear", "bicubic"]
    ) -> _Plane:
        blocks = current.unflatten(2, (-1, size)).unflatten(4, (-1, size)).permute(0, 2, 4, 1, 3, 5).contiguous()
        height, width = reference.shape[2:]
        scale = SIDE // size
        steps = flow.contiguous() * flow.new_tensor([2 / scale / max(width - 1, 1), 2 / scale / max(height - 1, 1)])
        place = p.top // scale, p.left // scale, top * size // PER_BLOCK, left * size // PER_BLOCK
        return _Plane(blocks, reference, steps, *place, mode)

    return (
        plane(reduced[0], reduced[1], half, SIDE // 2, "bilinear"),
        plane(p.luma, p.reference_luma, fine, SIDE, "bicubic"),
        plane(p.chroma, p.reference_chroma, half, SIDE // 2, "bicubic"),
    )


def _errors(plane: _Plane, tried: _Tried, weights: tuple[float, ...]) -> Tensor:
    """(n,) errors of pairs, weighted by channel."""
    channels, size = plane.current.shape[3], plane.current.shape[4]
    height, width = plane.reference.shape[2:]
    moved = displacements(plane.flow.device)[tried.merge] * (size // PER_BLOCK)
    steps = torch.arange(size, device=moved.device)
    rows, columns = size * tried.row, size * tried.column
    y, x = rows + plane.flow_top + moved[:, 1], columns + plane.flow_left + moved[:, 0]
    _, n_rows, n_columns, _ = plane.flow.shape
    corner = (tried.item * n_rows + y) * n_columns + x
    inside = (steps[:, None] * n_columns + steps).view(-1)
    grid = plane.flow.view(-1, 2).index_select(0, (corner[:, None] + inside).view(-1)).view(-1, size, size, 2)
    grid[..., 0] += ((columns[:, None] + (steps + plane.left)) * (2 / max(width - 1, 1)) - 1)[:, None, :]
    grid[..., 1] += ((rows[:, None] + (steps + plane.top)) * (2 / max(height - 1, 1)) - 1)[:, :, None]
    block = (tried.item * plane.current.shape[1] + tried.row) * plane.current.shape[2] + tried.column
    current = plane.current.flatten(0, 2).index_select(0, block)
    errors = current.new_zeros(current.shape[0], channels)
    for k in range(plane.reference.shape[0]):
        own = slice(None) if plane.reference.shape[0] == 1 else (tried.item == k).nonzero()[:, 0]
        part = grid[own]
        flat = part.reshape(1, -1, size, 2)
        read = F.grid_sample(
            plane.reference[k : k + 1], flat, mode=plane.mode, padding_mode="border", align_corners=True
        )
        read = read.view(channels, part.shape[0], size, size).transpose(0, 1)
        errors[own] = (read - current[own]).square_().mean((2, 3))
    return (errors * errors.new_tensor(weights)).sum(1) * 255**2


def usual_bits(merge: Tensor) -> Tensor:
    """What merge indexes (N, h, w) cost, about: (N,)."""
    blocks = merge != 0
    cells = blocks.unflatten(1, (-1, 4)).unflatten(3, (-1, 4)).any(4).any(2)
    return (USUAL_INDEX + USUAL_BLOCK) * blocks.sum((1, 2)) + USUAL_CELL * cells.sum((1, 2))
