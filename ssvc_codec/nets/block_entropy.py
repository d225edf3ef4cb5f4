"""Symbols of 8x8 blocks as they are trained: how many bits they take, and which are worth theirs.

What a stream holds is docs/bitstream.md, section 5.8; ssvc_codec.entropy.blocks computes the same from integers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..entropy.activity import FLAG, activity_table
from ..entropy.blocks import (
    BAND_EDGES,
    BUSY_EDGES,
    N_CHANNELS,
    N_CLASS_INPUTS,
    N_CLASSES,
    N_FIRST,
    N_FLAGS,
    N_INPUTS,
    NEIGHBOURS,
)
from ..entropy.class_flags import FLAG_MIDDLE, FLAG_STEP
from ..entropy.offsets import N_OFFSETS
from ..entropy.tables import LAPLACE_MIN
from .blocks import GroupMask
from .laplace import LAPLACE_STEP, laplace_bits
from .scale_head import ScaleHead

__all__ = [
    "BlockEntropy",
    "BlockSymbols",
    "beside_each",
    "class_bits",
    "class_slope",
    "even_blocks",
    "neighbour_taps",
    "roughly",
    "slope_of_bits",
    "with_slope",
    "worthwhile",
]

CENTRES = (0.0, 1.0, 2.4, 5.3, 11.0, 22.0, 45.0, 90.0)  # of the sums of each class, about
FIRST_FLAG = 20.0  # table of every flag, to start from: one in ten is 1
ROUGH = 0.4  # added before rounding down
LIVELY = 0.35  # steps from which on a latent is seen to make its block busier


class BlockSymbols(NamedTuple):
    """Symbols of one frame, as floats that hold integers, and where they count."""

    y: Tensor  # (N, 96, H/8, W/8)
    known: Tensor  # (N, 1, H/32, W/32), 1 where the next frame may use them, else 0
    offsets: Tensor  # (N, 9, H/32, W/32)

    def coded_cells(self) -> Tensor:
        """(N, 1, H/32, W/32), 1 where a latent of the cell is not 0, else 0."""
        return F.max_pool2d(self.y.abs().amax(1, keepdim=True), 4).clamp_max(1.0)


class BlockEntropy(nn.Module):
    """Tables of the class and of every latent of a block, from what was read before them."""

    def __init__(self) -> None:
        super().__init__()
        self.first_head = ScaleHead(0, N_FIRST, hidden=64, n_extra=N_INPUTS[0], positions=1)
        self.second_head = ScaleHead(0, N_CHANNELS - N_FIRST, hidden=64, n_extra=sum(N_INPUTS), positions=1)
        self.even_head = ScaleHead(0, N_FLAGS, hidden=32, n_extra=N_CLASS_INPUTS[0], positions=1)
        self.odd_head = ScaleHead(0, N_FLAGS, hidden=32, n_extra=sum(N_CLASS_INPUTS), positions=1)
        with torch.no_grad():
            for head in (self.first_head, self.second_head, self.even_head, self.odd_head):
                nn.init.normal_(head.weights[0], std=0.05)
            for head in (self.even_head, self.odd_head):
                head.biases[2].fill_(FIRST_FLAG)
        self.register_buffer("_table", torch.from_numpy(activity_table()).float(), persistent=False)
        self._table: Tensor
        self.register_buffer("_taps", neighbour_taps(), persistent=False)
        self._taps: Tensor

    def nothing(self, n: int, rows: int, columns: int, device: torch.device) -> BlockSymbols:
        """The symbols before the first P frame of a group of pictures. rows, columns: of cells."""
        y = torch.zeros(n, N_CHANNELS, 4 * rows, 4 * columns, device=device)
        cells = torch.zeros(n, 1, rows, columns, device=device)
        return BlockSymbols(y, cells, cells.repeat(1, N_OFFSETS, 1, 1))

    def forward(
        self,
        steps: Tensor,
        worth: Tensor,
        q: Tensor,
        previous: BlockSymbols,
        motion: Tensor,
        merged: Tensor | None,
        offsets: Tensor,
        mask: GroupMask | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Symbols (N, 96, H/8, W/8) without gradient, bits of them and of the classes, (N,) each.

        steps: (N, 96, H/8, W/8) in quantiser steps; worth: (N, 96, 1, 1) bits that one squared step of error is worth;
        q: (N,); motion: (N, C, H/16, W/16) symbols; merged: (N, 1, H/8, W/8) 1 where a block is merged;
        offsets: (N, 9, H/32, W/32) of this frame; mask: at 1/8.
        """
        with torch.no_grad():
            known = F.interpolate(previous.known, scale_factor=4.0, mode="nearest")
            past = self._past(previous, known, motion, merged)
            seen = self._class_inputs(past, offsets, mask)
            finite = steps.nan_to_num()  # what is no number makes the loss no number, and must not fail here
            scales = self._scales(roughly(finite), past, q, mask)[0]
            symbols = worthwhile(finite, scales, worth)
        scales, busy = self._scales(symbols, past, q, mask)
        bits = with_slope(laplace_bits(symbols.abs(), scales), steps, slope_of_bits(steps, scales.detach()))
        prices = class_bits(self._flags(busy, seen, q, mask))
        classes = prices.gather(1, busy.long())
        rising = class_slope(prices.detach(), busy, CENTRES) * (steps.abs() > LIVELY) * steps.sign()
        classes = with_slope(classes.expand_as(steps) / N_CHANNELS, steps, rising)
        return symbols, bits.sum((1, 2, 3)), classes.sum((1, 2, 3))

    def _past(self, previous: BlockSymbols, known: Tensor, motion: Tensor, merged: Tensor | None) -> dict[str, Tensor]:
        size = previous.y.abs()
        bands = torch.cat([size[:, a:b].sum(1, keepdim=True) for a, b in pairwise(BAND_EDGES)], dim=1)
        moved = F.interpolate(motion.abs().sum(1, keepdim=True), scale_factor=2.0, mode="nearest")
        return {
            "busy": _busy(bands.sum(1, keepdim=True)),
            "bands": self._levels(bands) * known,
            "known": known,
            "motion": moved,
            "merged": torch.zeros_like(known) if merged is None else merged,
        }

    def _levels(self, sums: Tensor) -> Tensor:
        return self._table[sums.clamp_max(self._table.numel() - 1).long()]

    def _scales(
        self, symbols: Tensor, past: dict[str, Tensor], q: Tensor, mask: GroupMask | None
    ) -> tuple[Tensor, Tensor]:
        """Decay lengths (N, 96, H/8, W/8), classes (N, 1, H/8, W/8)."""
        with torch.no_grad():
            size = symbols.abs()
            busy = _busy(size.sum(1, keepdim=True))
            own = (busy == torch.arange(N_CLASSES, device=busy.device)[:, None, None]).float() * FLAG
            inputs = torch.cat(
                [
                    own,
                    16 * self._around(busy, mask),
                    past["bands"],
                    FLAG * past["known"],
                    self._levels(past["motion"]),
                    FLAG * past["merged"],
                ],
                dim=1,
            )
            first = size[:, :N_FIRST]
            least = torch.where(busy > 0, 2.0 ** (busy - 1), 0.0)
            left = (least - first.sum(1, keepdim=True)).clamp_min(0)
            more = torch.cat([inputs, self._levels(first), self._levels(left)], dim=1)
        index = torch.cat([self.first_head.index(inputs, q), self.second_head.index(more, q)], dim=1)
        return LAPLACE_MIN * torch.exp(index * LAPLACE_STEP), busy

    def _around(self, x: Tensor, mask: GroupMask | None) -> Tensor:
        return beside_each(x, self._taps, mask)

    def _class_inputs(self, past: dict[str, Tensor], offsets: Tensor, mask: GroupMask | None) -> Tensor:
        """(N, 28, H/8, W/8) inputs of the even head."""
        busy, moved = past["busy"] * past["known"], self._levels(past["motion"])
        added = self._levels(offsets.abs().sum(1, keepdim=True))
        parts = [
            16 * busy,
            16 * self._around(busy, mask),
            past["bands"],
            FLAG * past["known"],
            moved,
            self._around(moved, mask),
            FLAG * past["merged"],
            F.interpolate(added, scale_factor=4.0, mode="nearest"),
        ]
        return torch.cat(parts, dim=1)

    def _flags(self, busy: Tensor, inputs: Tensor, q: Tensor, mask: GroupMask | None) -> Tensor:
        """Tables (N, 7, H/8, W/8) of the flags of every block. busy: classes; inputs: of the even head."""
        even = even_blocks(busy)
        with torch.no_grad():
            more = torch.cat([inputs, 16 * self._around(busy * even, mask)], dim=1)
        return torch.where(even, self.even_head.index(inputs, q), self.odd_head.index(more, q))


def even_blocks(busy: Tensor) -> Tensor:
    """(H/8, W/8) bool: blocks of the first pass. busy: (N, 1, H/8, W/8)."""
    i, j = (torch.arange(n, device=busy.device) for n in busy.shape[2:])
    return (i[:, None] + j) % 2 == 0


def class_bits(flags: Tensor) -> Tensor:
    """Bits (N, 8, H/8, W/8) of each class, from the tables of its flags (N, 7, H/8, W/8)."""
    logits = (flags - FLAG_MIDDLE) / FLAG_STEP
    ones = F.pad(F.softplus(-logits).cumsum(1), (0, 0, 0, 0, 1, 0))
    return (ones + F.pad(F.softplus(logits), (0, 0, 0, 0, 0, 1))) / math.log(2)


def neighbour_taps() -> Tensor:
    """(8, 1, 3, 3): what beside_each looks at."""
    taps = torch.zeros(len(NEIGHBOURS), 1, 3, 3)
    for k, (i, j) in enumerate(NEIGHBOURS):
        taps[k, 0, i + 1, j + 1] = 1
    return taps


def beside_each(x: Tensor, taps: Tensor, mask: GroupMask | None) -> Tensor:
    """(N, 8, H/8, W/8): the values (N, 1, H/8, W/8) of the blocks beside each, 0 where none of its group is."""
    bias = x.new_zeros(len(NEIGHBOURS))
    return F.conv2d(x, taps, bias, padding=1) if mask is None else mask.convolve(x, taps, bias)


def _busy(total: Tensor) -> Tensor:
    return torch.bucketize(total, total.new_tensor(BUSY_EDGES), right=True).to(total.dtype)


def roughly(steps: Tensor) -> Tensor:
    """The integers that latents will about be, before it is known what each is worth."""
    return torch.floor(steps.abs() + ROUGH).copysign(steps)


def worthwhile(steps: Tensor, scales: Tensor, worth: Tensor) -> Tensor:
    """Nearest integers, or the smaller neighbour where it saves more bits than its error costs."""
    near = torch.round(steps).abs()
    saving = laplace_bits(near, scales) - laplace_bits((near - 1).clamp_min(0), scales)
    extra = 1 + 2 * (steps.abs() - near)
    smaller = (near > 0) & (saving > worth * extra)
    return torch.where(smaller, near - 1, near).copysign(steps)


def slope_of_bits(steps: Tensor, scales: Tensor) -> Tensor:
    """How bits rise with a latent under noise of one step."""
    with torch.no_grad():
        size = steps.abs()
        return (laplace_bits(size + 0.5, scales) - laplace_bits((size - 0.5).abs(), scales)) * steps.sign()


def class_slope(prices: Tensor, busy: Tensor, centres_of: Sequence[float]) -> Tensor:
    """How the bits of the class rise with the sum of magnitudes, (N, 1, H/8, W/8). centres_of: sums of each class."""
    centres = prices.new_tensor(centres_of)
    above, below = (busy + 1).clamp_max(N_CLASSES - 1).long(), (busy - 1).clamp_min(0).long()
    rise = prices.gather(1, above) - prices.gather(1, below)
    return (rise / (centres[above] - centres[below])).clamp(0, 6)


def with_slope(value: Tensor, steps: Tensor, slope: Tensor) -> Tensor:
    """The value, with a gradient that is not its own. slope: of the value, by steps."""
    return value + slope * (steps - steps.detach())
