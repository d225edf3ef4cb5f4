"""Latents of motion: gains, hyperprior, scales from integers, and means in three passes.

What scales and hyper-latents take from the frame before are integers, so floats never reach the parser.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..entropy.activity import N_Z_STATES, activity_table, band_edges
from ..entropy.tables import SCALE_MIN
from .blocks import DepthwiseBlock, GainTable, GroupMask, MaskedConv, Pointwise, round_ste, silu
from .scale_head import SCALE_STEP, ScaleHead

__all__ = ["N_PASSES", "LatentModel", "LatentOutput", "Symbols"]

N_PASSES = 3  # in which means are found, each from what was decoded before it


class Symbols(NamedTuple):
    """Symbols of one kind in one frame, as floats that hold integers, and where they count."""

    z: Tensor  # (N, C_z, H/32, W/32)
    y: Tensor  # (N, C_y, H/16, W/16)
    known: Tensor  # (N, 1, H/32, W/32), 1 where the next frame may use them, else 0

    def coded_cells(self) -> Tensor:
        """(N, 1, H/32, W/32), 1 where a latent of the cell is not 0, else 0."""
        return nn.functional.max_pool2d(self.y.abs().amax(1, keepdim=True), 2).clamp_max(1.0)


class LatentOutput(NamedTuple):
    """What training needs of one pass."""

    y_hat: Tensor  # (N, C_y, H/16, W/16)
    y_residual: Tensor  # (N, C_y, H/16, W/16) latents less their means, in quantiser steps, not rounded
    y_scale: Tensor  # (N, C_y, H/16, W/16) standard deviation in quantiser steps
    z_residual: Tensor  # (N, C_z, H/32, W/32) in quantiser steps, not rounded
    z_scale: Tensor  # (N, C_z, H/32, W/32)
    symbols: Symbols  # for the next frame


class _HyperAnalysis(nn.Module):
    """h_a: latents in quantiser steps, compressed in range, to one vector a cell."""

    def __init__(self, n_y: int, n_z: int, width: int) -> None:
        super().__init__()
        self.embed = Pointwise(2 * n_y, width)
        self.block = DepthwiseBlock(width)
        self.down = Pointwise(4 * width, width, scale=1.4)
        self.head = Pointwise(width, n_z)

    def forward(self, y_steps: Tensor, mask: GroupMask | None) -> Tensor:
        x = torch.cat([torch.asinh(y_steps), torch.asinh(y_steps.abs() * 2) - 0.7], dim=1)
        h = self.block(self.embed(x), mask)
        h = silu(self.down(nn.functional.pixel_unshuffle(h, 2)))
        with torch.autocast(y_steps.device.type, enabled=False):
            return self.head(h.float())


class _Pass(nn.Module):
    """Means of the latents of one pass, from those of the passes before."""

    def __init__(self, n_y: int, width: int) -> None:
        super().__init__()
        self.linear = MaskedConv(n_y, n_y, scale=0.0)
        self.context = Pointwise(n_y, width)
        self.block = DepthwiseBlock(width)
        self.head = Pointwise(width, n_y, scale=0.0)

    def forward(self, features: Tensor, known: Tensor, mask: GroupMask | None) -> Tensor:
        h = self.block(features + self.context(known), mask)
        with torch.autocast(features.device.type, enabled=False):
            return self.head(h.float()) + self.linear(known.float(), mask)


class _Means(nn.Module):
    """h_s, the condition, and the context; nothing here reaches the parser."""

    def __init__(self, n_y: int, n_z: int, width: int, n_condition: int) -> None:
        super().__init__()
        self.embed = Pointwise(n_z, width, scale=1.4)
        self.up = Pointwise(width, 4 * width, scale=1.4)
        self.q_scale = GainTable(width)
        self.condition = Pointwise(n_condition, width)
        self.first = DepthwiseBlock(width)
        self.head = Pointwise(width, n_y, scale=0.0)
        self.passes = nn.ModuleList([_Pass(n_y, width) for _ in range(N_PASSES - 1)])

    def features(self, z_hat: Tensor, condition: Tensor, q: Tensor, mask: GroupMask | None) -> Tensor:
        """Features at 1/16 from the dequantised hyper-latents and what is known of the frame.

        z_hat: (N, C_z, H/32, W/32); condition: (N, C, H/16, W/16).
        """
        h = nn.functional.pixel_shuffle(silu(self.up(silu(self.embed(z_hat)))), 2)
        return self.first(self.q_scale.multiply(h + self.condition(condition), q), mask)

    def before(self, features: Tensor) -> Tensor:
        """Means of every latent before context; used for the first pass."""
        with torch.autocast(features.device.type, enabled=False):
            return self.head(features.float())

    def given(self, number: int, features: Tensor, known: Tensor, mask: GroupMask | None) -> Tensor:
        """Means used for pass number (1, 2). known: y_hat less its base in the passes before, 0 elsewhere."""
        return self.passes[number - 1](features, known, mask)


class LatentModel(nn.Module):
    """How the latents of one kind are quantised and how likely each symbol is."""

    def __init__(
        self,
        *,
        n_y: int,
        n_z: int,
        width: int,
        n_condition: int,
        anchor_run: int,
        steps: tuple[float, float],
    ) -> None:
        """n_condition: channels known at 1/16 without these latents. anchor_run: channels that go through passes together.

        steps: gains of orthonormal components at q 0 and 63 to start from.
        """
        super().__init__()
        self.n_y, self.n_z, self.anchor_run = n_y, n_z, anchor_run
        self.y_gain = GainTable(n_y, first=steps[0], last=steps[1])
        self.z_gain = GainTable(n_z, first=0.5, last=2.0)
        self.z_scale = GainTable(N_Z_STATES * n_z)  # row (state, channel)
        self.hyper_analysis = _HyperAnalysis(n_y, n_z, width)
        self.edges = band_edges(n_y)
        self.scale_head = ScaleHead(n_z, n_y, n_extra=4 * (len(self.edges) - 1) + 1)
        self.means = _Means(n_y, n_z, width, n_condition)
        self.register_buffer("_activity", torch.from_numpy(activity_table()).float(), persistent=False)

    def pass_numbers(self, rows: int, columns: int, device: torch.device) -> Tensor:
        """(1, C_y, rows, columns) int64, in which pass a latent is: 0 for a quarter, 1 for that diagonal to it, 2 for the rest."""
        i = torch.arange(rows, device=device)[:, None] % 2
        c = torch.arange(self.n_y, device=device)[:, None, None] // self.anchor_run
        j = (torch.arange(columns, device=device) + c) % 2
        return torch.where(i == j, i, 2)[None]

    def in_passes(
        self,
        features: Tensor,
        gain: Tensor,
        numbers: Tensor,
        mask: GroupMask | None,
        symbols_of: Callable[[Tensor], Tensor],
    ) -> tuple[Tensor, Tensor]:
        """Symbols and means of all latents. numbers: see pass_numbers; symbols_of: symbols where these are the means."""
        mean = self.means.before(features)
        symbols = symbols_of(mean)
        for number in range(1, N_PASSES):
            before = numbers < number
            known = torch.where(before, symbols / gain + mean, 0.0)
            mean = torch.where(before, mean, self.means.given(number, features, known, mask))
            symbols = torch.where(before, symbols, symbols_of(mean))
        return symbols, mean

    @torch.no_grad()
    def _levels(self, y: Tensor) -> Tensor:
        """How large the symbols of every band are: (N, 4 bands, H/32, W/32), integer-valued."""
        magnitude = y.abs()
        sums = [magnitude[:, a:b].sum(1, keepdim=True) for a, b in pairwise(band_edges(y.shape[1]))]
        table: Tensor = self._activity  # type: ignore[assignment]
        levels = table[torch.cat(sums, dim=1).clamp_max(table.numel() - 1).long()]
        return nn.functional.pixel_unshuffle(levels, 2)

    @torch.no_grad()
    def activity(self, previous: Symbols) -> Tensor:
        """Integers that tell the scale head how busy the cell was: (N, 4 bands + 1, H/32, W/32).

        Docs/bitstream.md, section 5.4. 0 where the frame before does not count.
        """
        cells = self._levels(previous.y)
        flag = torch.full_like(cells[:, :1], 64.0)
        return torch.cat([cells, flag], dim=1) * previous.known

    def z_states(self, previous: Symbols) -> Tensor:
        """(N, C_z, H/32, W/32) int64: 0 where nothing is known, else 1 + min(|z|, N_Z_STATES - 2)."""
        state = 1 + previous.z.abs().clamp_max(N_Z_STATES - 2)
        return (state * previous.known).long()

    def _z_scales(self, previous: Symbols, q: Tensor) -> Tensor:
        table = self.z_scale.log(q).exp().view(-1, N_Z_STATES, self.n_z)
        states = self.z_states(previous)
        n, _, height, width = states.shape
        spread = table[:, :, :, None, None].expand(n, -1, -1, height, width)
        return spread.gather(1, states[:, None])[:, 0]

    def nothing(self, n: int, rows: int, columns: int, device: torch.device) -> Symbols:
        """The symbols before the first P frame of a group of pictures. rows, columns: of cells."""
        z = torch.zeros(n, self.n_z, rows, columns, device=device)
        y = torch.zeros(n, self.n_y, 2 * rows, 2 * columns, device=device)
        return Symbols(z, y, torch.zeros(n, 1, rows, columns, device=device))

    def forward(
        self,
        y: Tensor,
        condition: Tensor,
        q: Tensor,
        previous: Symbols,
        mask: GroupMask | None,
        base: Tensor,
    ) -> LatentOutput:
        """Quantises and dequantises. y: (N, C_y, H/16, W/16); q: (N,), may be fractional.

        previous: of the frame before; base: what the latents are expected to be, as y; networks and context add to it.
        """
        gain = self.y_gain(q)
        steps = (y - base) * gain
        z_gain = self.z_gain(q)
        z = self.hyper_analysis(steps, mask) * z_gain
        z_symbols = round_ste(z)
        index = self.scale_head(z_symbols, 1 / z_gain, q, self.activity(previous))
        y_scale = SCALE_MIN * torch.exp(index * SCALE_STEP)
        features = self.means.features(z_symbols / z_gain, condition, q, mask)
        numbers = self.pass_numbers(y.shape[2], y.shape[3], y.device)
        symbols, mean = self.in_passes(features, gain, numbers, mask, lambda mean: round_ste(steps - mean * gain))
        left = steps - mean * gain
        known = torch.ones_like(previous.known)
        # What is no number makes the loss no number, and the batch is skipped: it must not fail here before.
        kept = Symbols(z_symbols.detach().nan_to_num(), symbols.detach().nan_to_num(), known)
        y_hat = symbols / gain + mean + base
        return LatentOutput(y_hat, left, y_scale, z, self._z_scales(previous, q), kept)

    @torch.no_grad()
    def start_gains(self, deviation: Tensor) -> None:
        """Gains that give every component of unit-variance latents the same step in samples.

        deviation: (C_y,) standard deviation of each component before it was scaled to 1.
        """
        self.y_gain.log_gain.add_(deviation.log()[None].float())
        self.scale_head.offset.log_gain.copy_((self.y_gain.log_gain.clamp(-2.2, 4) + 2.2) * 0.8)
