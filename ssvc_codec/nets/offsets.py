"""Offsets of cells: what large smooth areas lack, in a few symbols (docs/bitstream.md, sections 5.8 and 6.3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..entropy.offsets import KIND, N_OFFSET_CONTEXTS, N_OFFSET_SYMBOLS, OFFSET_LIMIT
from .lagrangian import PLANE_WEIGHTS, lambda_of

__all__ = ["OffsetTables", "choose_offsets", "offset_gain", "offset_picture", "offset_steps"]

STEP_WORTH = 9.0  # bits that a squared quantiser step of error is worth
MEMORY = 0.9995  # of counts, from one step to the next
SIDES = (8.0, 4.0, 4.0)  # of a block in samples of Y, U, V: what makes its mean an orthonormal component
WEIGHTS = (PLANE_WEIGHTS[0], 4 * PLANE_WEIGHTS[1], 4 * PLANE_WEIGHTS[2])


def _basis(device: torch.device) -> Tensor:
    """(3, 4, 4): level, slope along x, slope along y over the blocks of a cell, orthonormal."""
    ramp = torch.tensor([-3.0, -1.0, 1.0, 3.0], device=device) / 20**0.5 / 2
    return torch.stack([torch.full((4, 4), 0.25, device=device), ramp.expand(4, 4), ramp[:, None].expand(4, 4)])


def offset_gain(q: Tensor) -> Tensor:
    """Quantiser steps of a unit, (N, 9, 1, 1) or (N, 9, rows, columns); q: (N,), or (N, rows, columns)."""
    weights = torch.tensor(WEIGHTS, device=q.device).repeat_interleave(3)
    lmbda = lambda_of(q.float())
    lmbda = lmbda[:, None, None, None] if q.ndim == 1 else lmbda[:, None]
    return 255 * (lmbda * weights[:, None, None] / STEP_WORTH).sqrt()


def offset_steps(difference: Tensor, q: Tensor) -> Tensor:
    """Offsets in quantiser steps, (N, 9, H/32, W/32), of what is missing: (N, 6, H/2, W/2)."""
    planes = torch.cat([difference[:, :4].mean(1, keepdim=True), difference[:, 4:]], dim=1).float()
    means = F.avg_pool2d(planes, 4) * planes.new_tensor(SIDES)[:, None, None]
    n, _, height, width = means.shape
    cells = means.view(n, 3, height // 4, 4, width // 4, 4)
    found = torch.einsum("nphiwj,kij->npkhw", cells, _basis(means.device)).flatten(1, 2)
    return found * offset_gain(q)


def offset_picture(symbols: Tensor, q: Tensor) -> Tensor:
    """What offsets (N, 9, H/32, W/32) add to a picture: (N, 6, H/2, W/2)."""
    values = (symbols / offset_gain(q)).unflatten(1, (3, 3))
    means = torch.einsum("npkhw,kij->nphiwj", values, _basis(symbols.device)).flatten(2, 3).flatten(3, 4)
    planes = means / means.new_tensor(SIDES)[:, None, None]
    planes = planes.repeat_interleave(4, 2).repeat_interleave(4, 3)
    return torch.cat([planes[:, :1].expand(-1, 4, -1, -1), planes[:, 1:]], dim=1)


def choose_offsets(steps: Tensor, bits: Tensor, worth: float) -> Tensor:
    """Symbols (N, 9, h, w) that save more than they cost.

    steps: (N, 9, h, w); bits: (N, 9, h, w, 15) of each symbol by its zigzag number; worth: bits of one squared step.
    """
    near = steps.nan_to_num().round().clamp(-OFFSET_LIMIT, OFFSET_LIMIT)
    price = bits.gather(-1, _zigzag(near)[..., None])[..., 0] - bits[..., 0]
    return torch.where(worth * (steps.square() - (steps - near).square()) > price, near, 0.0)


def _zigzag(values: Tensor) -> Tensor:
    """As entropy.offsets.zigzag, int64."""
    return torch.where(values < 0, -2 * values - 1, 2 * values).long()


class OffsetTables(nn.Module):
    """How often each offset was seen in each context, while networks train beside them."""

    def __init__(self) -> None:
        super().__init__()
        start = 0.3 ** torch.arange(N_OFFSET_SYMBOLS).float()
        start[0] = 30
        self.register_buffer("counts", start.repeat(N_OFFSET_CONTEXTS, 1))
        self.counts: Tensor

    @torch.no_grad()
    def forward(self, difference: Tensor, q: Tensor, before: Tensor, known: Tensor) -> Tensor:
        """Offsets (N, 9, H/32, W/32) of what is missing (N, 6, H/2, W/2). Counts what is seen, in training.

        q: (N,); before: (N, 9, H/32, W/32) of the frame before; known: (N, 1, H/32, W/32), 1 where these count.
        """
        steps = offset_steps(difference, q)
        kind = torch.from_numpy(KIND).to(q.device)[:, None, None]
        state = torch.where(known > 0, 1 + (before != 0).long(), 0)
        context = ((q.floor().long() >> 4)[:, None, None, None] * 6 + kind) * 3 + state
        bits = -((self.counts + 0.01) / (self.counts + 0.01).sum(1, keepdim=True)).log2()
        symbols = choose_offsets(steps, bits[context], STEP_WORTH)
        if self.training:
            seen = (context * N_OFFSET_SYMBOLS + _zigzag(symbols)).reshape(-1)
            self.counts.mul_(MEMORY).view(-1).index_add_(0, seen, torch.ones_like(seen, dtype=self.counts.dtype))
        return symbols
