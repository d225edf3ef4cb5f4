"""Latents of motion by gradient: what they cost in bits against what the warp misses (docs/decisions/0009).

Only an encoder does this. Gradients are taken by hand, but for the warp's: through rounding as if it were not there,
through synthesis by its linear path, through means not at all. So each step is a few products, and the same everywhere.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..entropy.tables import N_TABLES, laplace_scale_of_index
from ..nets.inter import InterMasks, InterNet, Planes
from ..nets.lagrangian import KNEE, PLANE_WEIGHTS, lambda_of
from ..nets.laplace import laplace_bits, laplace_slope
from ..nets.motion import warp
from .latents import LatentCoder, Past, Quantised
from .quantiser import Quantiser
from .reference import FrameMaps

__all__ = ["MotionSearch", "MotionTarget", "block_costs", "finer_flow", "symbol_bits", "table_scales"]

RATE = 0.14  # of Adam, in quantiser steps, over the root of the number of steps
MEMORY = 0.9  # of both of Adam's means
STEPS_PER_TABLE = 4  # hyper-latents, and tables with them, are chosen anew after so many
BLOCK = 16  # samples on each side over which the error of the warp is averaged


class MotionTarget(NamedTuple):
    """What the warp should show, and from what."""

    original: Planes
    planes: Planes  # decoded before
    expected: Tensor  # (1, 2, H/4, W/4), see flow_before
    past: Past
    maps: FrameMaps


class MotionSearch:
    """Improves what analysis gives."""

    def __init__(self, net: InterNet, coder: LatentCoder, quantiser: Quantiser) -> None:
        self._net, self._coder, self._quantiser = net, coder, quantiser
        self._scales = table_scales(coder.device)

    def __call__(self, y: Tensor, condition: Tensor, target: MotionTarget, *, n_steps: int) -> Tensor:
        """The best of n_steps latents beside those given; all (1, C_y, H/16, W/16), less their base."""
        latents, maps = self._net.motion.latents, target.maps.maps
        gain = latents.y_gain(maps.q_map, (y.shape[2], y.shape[3]))
        base = self._net.motion.base(target.expected)
        back = self._net.motion.linear_back.weight.float().t()[:, :, None, None]
        steps, rate = y * gain, RATE / math.sqrt(max(n_steps, 1))
        first, second = torch.zeros_like(steps), torch.zeros_like(steps)
        best, least, tables, scale = y, math.inf, None, steps
        for k in range(n_steps + 1):
            if tables is None or k % STEPS_PER_TABLE == 0:
                tables = self._coder.quantise(
                    steps / gain, condition, maps, target.maps.groups, target.past, self._quantiser
                )
                scale = self._scales[tables.tables.long()]
            symbols, mean = self._quantise(steps, gain, tables, target)
            y_hat = (symbols + mean) / gain + base
            masks = InterMasks(at4=target.maps.cells.at4)
            flow = self._net.motion.synthesis(y_hat, target.expected, maps.q_map, masks)
            bits, _ = symbol_bits(symbols, scale, tables.tables)
            error, slope = _warp_cost(flow, target)
            cost = float(bits.sum()) + error
            if cost < least:
                best, least = steps / gain, cost
            if k == n_steps:
                break
            _, rising = symbol_bits(steps - mean, scale, tables.tables)
            gradient = rising + F.conv2d(F.pixel_unshuffle(slope, 4), back) / gain
            first = MEMORY * first + (1 - MEMORY) * gradient
            second = MEMORY * second + (1 - MEMORY) * gradient.square()
            whole = 1 - MEMORY ** (k + 1)
            steps = steps - rate * (first / whole) / ((second / whole).sqrt() + 1e-8)
        return best

    def _quantise(self, steps: Tensor, gain: Tensor, tables: Quantised, target: MotionTarget) -> tuple[Tensor, Tensor]:
        """Symbols and means, in quantiser steps."""
        latents = self._net.motion.latents
        passes = latents.pass_numbers(steps.shape[2], steps.shape[3], steps.device)
        symbols, mean = latents.in_passes(
            tables.features,
            gain,
            passes,
            target.maps.maps.mask16,
            lambda mean, _: self._quantiser(steps - mean * gain, tables.tables),
        )
        return symbols, mean * gain


def table_scales(device: str) -> Tensor:
    """(64,) decay length of each table, in quantiser steps."""
    return torch.tensor([laplace_scale_of_index(k) for k in range(N_TABLES)], device=device)


def symbol_bits(residual: Tensor, scale: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """Bits of Laplace symbols of unit bins, and how they rise with the symbol; 0 at index 0."""
    size, coded = residual.abs(), index != 0
    bits, rising = laplace_bits(size, scale), laplace_slope(size, scale)
    return torch.where(coded, bits, 0.0), torch.where(coded, rising.copysign(residual), 0.0)


def _warp_cost(flow: Tensor, target: MotionTarget) -> tuple[float, Tensor]:
    """What the error of the warp is worth in bits, and how that rises with the flow."""
    with torch.inference_mode(False), torch.enable_grad():
        leaf = flow.clone().requires_grad_(True)
        planes, original = (Planes(*(plane.clone() for plane in x)) for x in (target.planes, target.original))
        cost = block_costs(leaf, planes, original, target.maps.maps.q_map.clone()).sum()
        (slope,) = torch.autograd.grad(cost, leaf)
    return float(cost.detach()), slope


def block_costs(flow: Tensor, planes: Planes, original: Planes, q: Tensor) -> Tensor:
    """What the error of the warp is worth in bits, (1, 1, H/16, W/16). q: see Maps.q_map."""
    luma = warp(planes.y, finer_flow(flow, 4), mode="bicubic") - original.y
    chroma = warp(planes.uv, finer_flow(flow, 2) / 2, mode="bicubic") - original.uv
    weights = chroma.new_tensor(PLANE_WEIGHTS[1:])[None, :, None, None]
    error = F.avg_pool2d(luma.square(), BLOCK) * PLANE_WEIGHTS[0]
    error = error + (F.avg_pool2d(chroma.square(), BLOCK // 2) * weights).sum(1, keepdim=True)
    lmbda = lambda_of(q)
    if lmbda.ndim == 3:
        lmbda = lmbda.repeat_interleave(32 // BLOCK, 1).repeat_interleave(32 // BLOCK, 2)[:, None]
    else:
        lmbda = lmbda[:, None, None, None]
    return KNEE * torch.log1p(error * (255**2 / KNEE) * lmbda) * BLOCK**2


def finer_flow(flow: Tensor, factor: int) -> Tensor:
    """As upsample_flow; its gradient is a sum in a fixed order on every device, so that streams come out the same."""
    return _finer(_finer(flow, factor, 2), factor, 3)


def _finer(x: Tensor, factor: int, dim: int) -> Tensor:
    n = x.shape[dim]
    before = torch.cat([x.narrow(dim, 0, 1), x.narrow(dim, 0, n - 1)], dim)
    after = torch.cat([x.narrow(dim, 1, n - 1), x.narrow(dim, n - 1, 1)], dim)
    phases: list[Tensor] = []
    for phase in range(factor):
        at = (phase + 0.5) / factor - 0.5
        phases.append(torch.lerp(x, before if at < 0 else after, abs(at)))
    return torch.stack(phases, dim + 1).flatten(dim, dim + 1)
