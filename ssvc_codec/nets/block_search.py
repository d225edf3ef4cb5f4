"""Where in the reference blocks of 8x8 luma samples are found again: a search of everything near, by what errors and
vectors cost in bits.

Encoders use it; no decoder does.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .lagrangian import KNEE, PLANE_WEIGHTS, VECTOR_WORTH
from .merge_choice import SIDE, Pictures, worth

__all__ = ["SEARCH_REACH", "Sought", "find_vectors", "lasting_worth", "vector_errors"]

RADIUS = 28  # luma samples around the mean, whole ones
SEARCH_REACH = RADIUS + 2.0  # luma samples: no vector that is tried is farther from the mean in dx or dy
CHUNK = 96  # blocks that are searched at once: the windows of so many take a few megabytes
SLACK = 20.0  # bits that the best vector of whole samples may cost more than it saves, for finer ones to be tried
HALF, QUARTER = 2, 1  # steps of the finer searches, in quarter samples
STEPS = tuple((dx, dy) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dx, dy) != (0, 0))


class Sought(NamedTuple):
    """Blocks that are sought. Every part has one entry for each of them."""

    luma: Tensor  # (n, 1, 8, 8)
    chroma: Tensor  # (n, 2, 4, 4)
    row: Tensor  # (n,) int64 place in the reference, in blocks
    column: Tensor
    mean: Tensor  # (n, 2) what vectors are relative to, in luma samples

    @classmethod
    def of(cls, pictures: Pictures, row: Tensor, column: Tensor, mean: Tensor) -> Sought:
        """Those at rows and columns (n,) of blocks in the current pictures, of one item."""
        luma, chroma = (
            x[0].unflatten(1, (-1, size)).unflatten(3, (-1, size))[:, row, :, column].contiguous()
            for x, size in ((pictures.luma, SIDE), (pictures.chroma, SIDE // 2))
        )
        return cls(luma, chroma, row + pictures.top // SIDE, column + pictures.left // SIDE, mean)

    def take(self, chosen: Tensor | slice) -> Sought:
        """Some of them. chosen: (n,) bool, or positions."""
        return Sought(*(part[chosen] for part in self))


def lasting_worth(error: Tensor, lmbda: Tensor) -> Tensor:
    """Bits that an error of a block is worth."""
    return VECTOR_WORTH * worth(error, lmbda)


def vector_errors(sought: Sought, pictures: Pictures, vectors: Tensor) -> Tensor:
    """(n,) errors, as block_errors has them, of blocks with vectors (n, 2) int64, in quarter samples."""
    absolute = sought.mean + vectors / 4
    luma, chroma = (
        (_read(reference, sought, absolute, current.shape[2]) - current).square().mean((2, 3))
        for reference, current in (
            (pictures.reference_luma, sought.luma),
            (pictures.reference_chroma, sought.chroma),
        )
    )
    weights = luma.new_tensor(PLANE_WEIGHTS)
    return (luma[:, 0] * weights[0] + chroma @ weights[1:]) * 255**2


@torch.no_grad()
def find_vectors(
    sought: Sought, pictures: Pictures, at_stake: Tensor, lmbda: Tensor, bits: Tensor
) -> tuple[Tensor, Tensor]:
    """Numbers of blocks for which something is found, (m,) int64, and their vectors (m, 2) int64, in quarter samples:
    those that cost least, with the error of the block.

    at_stake: (n,) bits that the errors of the blocks are worth now; lmbda: (); bits: (2, 256) of dx and dy of each
    magnitude.
    """
    parts = [
        _whole_samples(sought.take(slice(first, first + CHUNK)), pictures.reference_luma[0, 0], lmbda, bits)
        for first in range(0, sought.row.numel(), CHUNK)
    ]
    best = torch.cat(parts)

    def cost(sought: Sought, vectors: Tensor) -> Tensor:
        priced = bits[0][vectors[:, 0].abs()] + bits[1][vectors[:, 1].abs()]
        return lasting_worth(vector_errors(sought, pictures, vectors), lmbda) + priced

    least = cost(sought, best)
    numbers = (least < at_stake + SLACK).nonzero()[:, 0]
    sought, best, least = sought.take(numbers), best[numbers], least[numbers]
    for size in (HALF, QUARTER):
        centre = best
        for step in STEPS:
            tried = centre + size * torch.tensor(step, device=centre.device)
            found = cost(sought, tried)
            better = found < least
            least = torch.where(better, found, least)
            best = torch.where(better[:, None], tried, best)
    return numbers, best


def _whole_samples(sought: Sought, reference: Tensor, lmbda: Tensor, bits: Tensor) -> Tensor:
    """The best of all vectors (n, 2), in quarter samples, that are about whole ones, by luma. reference: (H, W)."""
    n = sought.row.numel()
    height, width = reference.shape
    shifts = sought.mean.round()[:, :, None] + torch.arange(-RADIUS, RADIUS + 1, device=reference.device)
    vectors = ((shifts - sought.mean[:, :, None]) * 4).round().long()  # (n, 2, shifts)
    reach = torch.arange(shifts.shape[2] + SIDE - 1, device=reference.device)
    corner = shifts[:, :, 0].long()
    y = (SIDE * sought.row + corner[:, 1])[:, None] + reach
    x = (SIDE * sought.column + corner[:, 0])[:, None] + reach
    # lasting_worth in units of VECTOR_WORTH x KNEE x SIDE^2 bits, scaled before and changed in place: half the time.
    scale = (lmbda * (PLANE_WEIGHTS[0] * 255**2 / SIDE**2 / KNEE)).sqrt()
    where = (y.clamp(0, height - 1) * width)[:, :, None] + x.clamp(0, width - 1)[:, None, :]
    windows = reference.take(where) * scale
    current = sought.luma * scale
    cost = _block_sums(windows.square())
    cost.sub_(F.conv2d(windows[None], current, groups=n)[0], alpha=2).add_(current.square().sum((2, 3))[:, :, None])
    priced = [bits[k][vectors[:, k].abs()] / (VECTOR_WORTH * KNEE * SIDE**2) for k in range(2)]
    cost.log1p_().add_(priced[1][:, :, None]).add_(priced[0][:, None, :])
    found = cost.flatten(1).argmin(1)
    numbers, n_columns = torch.arange(n, device=reference.device), cost.shape[2]
    return torch.stack([vectors[numbers, 0, found % n_columns], vectors[numbers, 1, found // n_columns]], dim=1)


def _block_sums(x: Tensor) -> Tensor:
    """Sums of SIDE x SIDE values from each place on: (n, h, w) -> (n, h - SIDE + 1, w - SIDE + 1)."""
    for step in (1, 2, 4):
        x = x[:, :-step] + x[:, step:]
        x = x[:, :, :-step] + x[:, :, step:]
    return x


def _read(reference: Tensor, sought: Sought, vectors: Tensor, size: int) -> Tensor:
    """(n, C, size, size) what blocks of size samples show. reference: (1, C, H, W); vectors: (n, 2) in luma samples."""
    height, width = reference.shape[2:]
    steps = torch.arange(size, device=vectors.device)
    moved = vectors * (size / SIDE)
    y = (size * sought.row[:, None] + steps) + moved[:, 1:]
    x = (size * sought.column[:, None] + steps) + moved[:, :1]
    gy, gx = y * (2 / max(height - 1, 1)) - 1, x * (2 / max(width - 1, 1)) - 1
    grid = torch.stack([gx[:, None, :].expand(-1, size, -1), gy[:, :, None].expand(-1, -1, size)], dim=-1)
    read = F.grid_sample(
        reference, grid.reshape(1, -1, size, 2), mode="bicubic", padding_mode="border", align_corners=True
    )
    return read.view(reference.shape[1], -1, size, size).transpose(0, 1)
