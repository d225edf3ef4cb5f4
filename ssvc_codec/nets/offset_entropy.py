"""Offsets of cells as they are trained: which are worth their bits, and how many these are.

What a stream holds is docs/bitstream.md, section 5.8; ssvc_codec.entropy.offsets computes the same from integers.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..entropy.activity import FLAG, activity_table
from ..entropy.blocks import BUSY_EDGES
from ..entropy.offsets import LEVELS, N_OFFSET_INPUTS, N_OFFSETS, SLOPES
from ..entropy.tables import LAPLACE_MIN
from .block_entropy import BlockSymbols
from .blocks import GroupMask
from .laplace import LAPLACE_STEP, laplace_bits
from .offsets import STEP_WORTH, nearest_offsets, offset_steps
from .scale_head import ScaleHead

__all__ = ["OffsetEntropy", "Offsets"]

FIRST_INDEX = 15.0  # of every table, to start from: one offset in seven is not 0


class Offsets(NamedTuple):
    """Those of one frame."""

    symbols: Tensor  # (N, 9, H/32, W/32), without gradient
    bits: Tensor  # (N,), with gradients for heads alone


class OffsetEntropy(nn.Module):
    """Tables of levels and of slopes of cells, from what was read before them."""

    def __init__(self) -> None:
        super().__init__()
        self.level_head = ScaleHead(0, LEVELS.size, hidden=32, n_extra=N_OFFSET_INPUTS[0], positions=1)
        self.slope_head = ScaleHead(0, SLOPES.size, hidden=32, n_extra=sum(N_OFFSET_INPUTS), positions=1)
        with torch.no_grad():
            for head in (self.level_head, self.slope_head):
                nn.init.normal_(head.weights[0], std=0.05)
                head.biases[2].fill_(FIRST_INDEX)
        self.register_buffer("_table", torch.from_numpy(activity_table()).float(), persistent=False)
        self._table: Tensor
        sides = torch.tensor([[0.0, 1, 0], [1, 0, 1], [0, 1, 0]])
        self.register_buffer("_sides", sides.repeat(N_OFFSETS, 1, 1, 1), persistent=False)
        self._sides: Tensor

    def forward(
        self,
        difference: Tensor,
        q: Tensor,
        previous: BlockSymbols,
        motion: Tensor,
        merged: Tensor | None,
        mask: GroupMask | None,
    ) -> Offsets:
        """Those of what is missing, (N, 6, H/2, W/2), that save more than they cost: levels, then slopes.

        q: (N,); motion: (N, C, H/16, W/16) symbols; merged: (N, 1, H/8, W/8) 1 where a block is merged; mask: at 1/32.
        """
        steps = offset_steps(difference.detach(), q).nan_to_num()
        inputs = self._inputs(previous, motion, merged, mask)
        scales = _scales(self.level_head, inputs, q)
        levels, level_bits = _worthwhile(steps[:, LEVELS], scales)
        scales = _scales(self.slope_head, self._slope_inputs(inputs, levels), q)
        slopes, slope_bits = _worthwhile(steps[:, SLOPES], scales)
        symbols = torch.empty_like(steps)
        symbols[:, LEVELS], symbols[:, SLOPES] = levels, slopes
        return Offsets(symbols, level_bits.sum((1, 2, 3)) + slope_bits.sum((1, 2, 3)))

    @torch.no_grad()
    def _inputs(self, previous: BlockSymbols, motion: Tensor, merged: Tensor | None, mask: GroupMask | None) -> Tensor:
        """(N, 34, H/32, W/32) of the head of levels."""
        known = previous.known
        before = previous.offsets * known
        size, bias = before.abs(), before.new_zeros(N_OFFSETS)
        if mask is None:
            around = F.conv2d(size, self._sides, bias, padding=1, groups=N_OFFSETS)
        else:
            around = mask.convolve(size, self._sides, bias)
        total = previous.y.abs().sum(1, keepdim=True)
        busy = torch.bucketize(total, total.new_tensor(BUSY_EDGES), right=True).to(total.dtype)
        elsewhere = torch.zeros_like(busy) if merged is None else merged
        parts = [
            16 * before,
            self._levels(size),
            self._levels(around),
            FLAG * known,
            self._levels(F.pixel_unshuffle(motion.abs().sum(1, keepdim=True), 2)),
            self._levels(_cell_sums(elsewhere)),
            self._levels(_cell_sums(busy)) * known,
        ]
        return torch.cat(parts, dim=1)

    @torch.no_grad()
    def _slope_inputs(self, inputs: Tensor, levels: Tensor) -> Tensor:
        """(N, 40, H/32, W/32) of the head of slopes."""
        return torch.cat([inputs, 16 * levels, self._levels(levels.abs())], dim=1)

    def _levels(self, sums: Tensor) -> Tensor:
        return self._table[sums.clamp_max(self._table.numel() - 1).long()]


def _cell_sums(x: Tensor) -> Tensor:
    """(N, 1, H/32, W/32) of (N, 1, H/8, W/8)."""
    return F.pixel_unshuffle(x, 4).sum(1, keepdim=True)


def _scales(head: ScaleHead, inputs: Tensor, q: Tensor) -> Tensor:
    return LAPLACE_MIN * torch.exp(head.index(inputs, q) * LAPLACE_STEP)


def _worthwhile(steps: Tensor, scales: Tensor) -> tuple[Tensor, Tensor]:
    """Symbols and bits of each, (N, C, H/32, W/32)."""
    with torch.no_grad():
        near = nearest_offsets(steps)
        price = laplace_bits(near.abs(), scales) - laplace_bits(torch.zeros_like(near), scales)
        symbols = torch.where(STEP_WORTH * (steps.square() - (steps - near).square()) > price, near, 0.0)
    return symbols, laplace_bits(symbols.abs(), scales)
