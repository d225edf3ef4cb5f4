"""The integer scale head as it is trained: exact integer arithmetic, straight-through gradients.

What it computes in a stream is docs/bitstream.md, section 5.4; the run-time form
(`ssvc_codec.entropy.scale_head`) uses the integers that `export` gives.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from ..entropy.tables import N_TABLES, SCALE_MAX, SCALE_MIN
from .blocks import MAX_Q_INDEX, GainTable

__all__ = ["ACTIVATION_BITS", "SCALE_STEP", "ScaleHead"]

SCALE_STEP = math.log(SCALE_MAX / SCALE_MIN) / (N_TABLES - 1)  # of the logarithm, from one table to the next
ACTIVATION_BITS = 4  # fractional bits of activations: 1.0 is 16
WEIGHT_BITS = (8, 8, 6)  # fractional bits of the three matrices; weights are 10 bit signed
SHIFTS = (WEIGHT_BITS[0], WEIGHT_BITS[1], WEIGHT_BITS[2] + ACTIVATION_BITS)  # the index has no fraction
WEIGHT_LIMIT = 511
ACTIVATION_LIMIT = 127


def _floor_ste(x: Tensor) -> Tensor:
    return x + (torch.floor(x) - x).detach()


class _ClampSte(torch.autograd.Function):
    """Clamps; a gradient that would push further outside is dropped."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, low: float, high: float) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(x)
        ctx.low, ctx.high = low, high
        return x.clamp(low, high)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        blocked = ((x < ctx.low) & (grad > 0)) | ((x > ctx.high) & (grad < 0))
        return torch.where(blocked, 0.0, grad), None, None


def _clamp(x: Tensor, low: float, high: float) -> Tensor:
    result = _ClampSte.apply(x, low, high)
    assert isinstance(result, Tensor)
    return result


class ScaleHead(nn.Module):
    """Scale table index of every latent of a cell, from the integer hyper-latents of that cell."""

    def __init__(self, n_z: int, n_y: int, *, hidden: int = 128, n_extra: int = 0, positions: int = 4) -> None:
        """n_extra: further integer inputs of a cell, -127..127. positions: of latents in a cell, 4 or 1."""
        super().__init__()
        sizes = ((n_z + n_extra, hidden), (hidden, hidden), (hidden, positions * n_y))
        self.weights = nn.ParameterList([torch.randn(o, i) / math.sqrt(i) for i, o in sizes])
        with torch.no_grad():
            self.weights[0][:, n_z:] = 0  # the further inputs are large from the first step
        self.biases = nn.ParameterList([torch.zeros(o) for _, o in sizes])
        self.q_bias = GainTable(hidden)  # its logarithm is added to the first layer
        self.offset = GainTable(n_y)  # its logarithm, in table steps, is added to the index
        self.n_y, self.positions = n_y, positions

    def _matrix(self, layer: int) -> Tensor:
        unit = 2.0 ** WEIGHT_BITS[layer]
        weight = self.weights[layer] * unit
        return weight + (weight.round().clamp(-WEIGHT_LIMIT, WEIGHT_LIMIT) - weight).detach()

    def _integer(self, x: Tensor, fraction_bits: int) -> Tensor:
        x = x * 2.0**fraction_bits
        return x + (x.round() - x).detach()

    def _bias(self, layer: int, q: Tensor) -> Tensor:
        """Integer biases with the rounding half inside: (N, out), or (1, out) for the layer that ignores q."""
        bias = self.biases[layer][None]
        if layer == 0:
            bias = bias + self.q_bias.log(q)
        if layer == 2:
            bias = bias + (self.offset.log(q) / SCALE_STEP).repeat(1, self.positions)
        return self._integer(bias, ACTIVATION_BITS + WEIGHT_BITS[layer]) + 2.0 ** (SHIFTS[layer] - 1)

    @torch.autocast("cuda", enabled=False)
    @torch.autocast("cpu", enabled=False)
    def z_inputs(self, z_symbols: Tensor, dequant: Tensor) -> Tensor:
        """What the first layer takes of z_symbols (N, C_z, H, W), integer-valued; dequant: (N, C_z, 1, 1) units of z
        per symbol.
        """
        fine = self._integer(dequant, ACTIVATION_BITS + 8)
        return _clamp(_floor_ste(z_symbols * fine / 256 + 0.5), -ACTIVATION_LIMIT, ACTIVATION_LIMIT)

    @torch.autocast("cuda", enabled=False)
    @torch.autocast("cpu", enabled=False)
    def forward(self, z_symbols: Tensor, dequant: Tensor, q: Tensor) -> Tensor:
        """z_symbols, dequant: see z_inputs; q: (N,).

        Returns (N, C_y, 2H, 2W) float32, integer-valued in 0..63, with gradients.
        """
        a = self.index(self.z_inputs(z_symbols, dequant), q)
        n, _, height, width = a.shape
        a = a.view(n, 2, 2, self.n_y, height, width).permute(0, 3, 4, 1, 5, 2)
        return a.reshape(n, self.n_y, 2 * height, 2 * width)

    @torch.autocast("cuda", enabled=False)
    @torch.autocast("cpu", enabled=False)
    def index(self, a: Tensor, q: Tensor) -> Tensor:
        """a: (N, inputs, H, W) integer-valued in -127..127; q: (N,). Returns (N, positions x C_y, H, W) in 0..63."""
        for layer in range(3):
            shift = SHIFTS[layer]
            bias = self._bias(layer, q)
            a = torch.einsum("oi,nihw->nohw", self._matrix(layer), a) + bias[:, :, None, None]
            if layer < 2:
                a = _floor_ste(a / 2.0**shift)
                a = torch.where(a < 0, _floor_ste(a / 8), a)
                a = _clamp(a, -ACTIVATION_LIMIT, ACTIVATION_LIMIT)
            else:
                a = _clamp(_floor_ste(a / 2.0**shift), 0, N_TABLES - 1)
        return a

    @torch.no_grad()
    def export(self, dequant_table: Tensor | None = None) -> dict[str, Tensor]:
        """Integers of docs/bitstream.md, section 5.4, by name.

        dequant_table: (64, C_z) units of z per symbol, where there are hyper-latents.
        """
        q = torch.arange(MAX_Q_INDEX + 1, device=self.biases[0].device)
        result: dict[str, Tensor] = {}
        if dequant_table is not None:
            result["dequant"] = self._integer(dequant_table, ACTIVATION_BITS + 8)
        for layer in range(3):
            bias = self._bias(layer, q)
            result[f"weight{layer + 1}"] = self._matrix(layer)
            result[f"bias{layer + 1}"] = bias[0] if layer == 1 else bias
        return {name: tensor.round().to(torch.int32).cpu() for name, tensor in result.items()}
