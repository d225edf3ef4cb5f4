"""Positions whose vectors are as good without symbols: what their neighbours and the frame before tell is enough.

Only an encoder does this. A symbol that is not 0 costs about 5 bits; where the picture is flat, or where a vector
hardly differs from what is expected, they are not worth it. Rounding cannot see that: it knows nothing of the picture.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..nets.inter import InterMasks, InterNet
from .latents import GroupSymbols, LatentCoder, Quantised, Rounding
from .motion_search import MotionTarget, block_costs, symbol_bits, table_scales

__all__ = ["MotionZeroing"]

LATTICES = ((0, 0), (1, 1), (0, 1), (1, 0))  # positions of the cells' 2 x 2 that are tried together, one after another


class _Trial(NamedTuple):
    found: Quantised
    cost: Tensor  # (1, 1, H/16, W/16) bits of every position, and what its error is worth


class MotionZeroing:
    """Sets all symbols of some positions to 0, where bits saved outweigh what the warp loses there and around."""

    def __init__(self, net: InterNet, coder: LatentCoder, quantiser: Rounding) -> None:
        self._net, self._coder, self._quantiser = net, coder, quantiser
        self._scales = table_scales(coder.device)

    def __call__(self, y: Tensor, condition: Tensor, target: MotionTarget) -> GroupSymbols:
        """Symbols of latents (1, C_y, H/16, W/16), less their base."""
        zero = torch.zeros_like(y[:, :1], dtype=torch.bool)
        start = self._tried(y, condition, target, zero)
        at = [torch.arange(n, device=y.device) % 2 for n in y.shape[2:]]
        cost = start.cost
        for row, column in LATTICES:
            here = (at[0][:, None] == row) & (at[1] == column)
            asked = here & (start.found.steps != 0).any(1, keepdim=True)
            if not asked.any():
                continue
            trial = self._tried(y, condition, target, zero | asked)
            better = asked & (_around(trial.cost - cost) < 0)
            zero = zero | better
            cost = torch.where(_around(better.float()) > 0, trial.cost, cost)
        if zero.any():
            last = self._tried(y, condition, target, zero)
            if float(last.cost.sum()) < float(start.cost.sum()):
                return last.found.symbols
        return start.found.symbols

    def _tried(self, y: Tensor, condition: Tensor, target: MotionTarget, zero: Tensor) -> _Trial:
        maps, motion = target.maps, self._net.motion

        def rounded(residual: Tensor, index: Tensor) -> Tensor:
            return torch.where(zero, 0.0, self._quantiser(residual, index))

        found = self._coder.quantise(y, condition, maps.maps, maps.groups, target.past, rounded)
        y_hat = found.y_hat + motion.base(target.expected)
        flow = motion.synthesis(y_hat, target.expected, maps.maps.q_map, InterMasks(at4=maps.cells.at4))
        bits, _ = symbol_bits(found.steps, self._scales[found.tables.long()], found.tables)
        error = block_costs(flow, target.planes, target.original, maps.maps.q_map)
        return _Trial(found, bits.sum(1, keepdim=True) + error)


def _around(x: Tensor) -> Tensor:
    """Sums over 3 x 3 positions."""
    return F.avg_pool2d(F.pad(x, (1, 1, 1, 1)), 3, 1) * 9
