"""Latents of motion: gains, hyperprior, scales from integers, and means in three passes.

What scales and hyper-latents take from the frame before are integers, so floats never reach the parser.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..entropy.activity import FLAG, N_Z_STATES, activity_table, band_edges
from ..entropy.tables import LAPLACE_MIN
from ..entropy.vectors import N_PASSES, n_vector_inputs, pass_numbers
from .blocks import DepthwiseBlock, GainTable, GroupMask, MaskedConv, Pointwise, round_ste, silu
from .laplace import LAPLACE_STEP
from .scale_head import ScaleHead

__all__ = ["LatentModel", "LatentOutput", "Symbols"]


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
    y_scale: Tensor  # (N, C_y, H/16, W/16) decay length in quantiser steps
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
        steps: tuple[float, float],
    ) -> None:
        """n_condition: channels known at 1/16 without these latents.

        steps: gains of orthonormal components at q 0 and 63 to start from.
        """
        super().__init__()
        self.n_y, self.n_z = n_y, n_z
        self.y_gain = GainTable(n_y, first=steps[0], last=steps[1])
        self.z_gain = GainTable(n_z, first=0.5, last=2.0)
        self.z_scale = GainTable(N_Z_STATES * n_z)  # row (state, channel)
        self.hyper_analysis = _HyperAnalysis(n_y, n_z, width)
        self.scale_head = ScaleHead(n_z, n_y, hidden=64, n_extra=n_vector_inputs(n_y), positions=1)
        self.means = _Means(n_y, n_z, width, n_condition)
        self.register_buffer("_activity", torch.from_numpy(activity_table()).float(), persistent=False)
        self.register_buffer("_taps", torch.eye(9).view(9, 1, 3, 3), persistent=False)
        self._taps: Tensor

    def pass_numbers(self, rows: int, columns: int, device: torch.device) -> Tensor:
        """(1, C_y, rows, columns) int64, in which pass a latent is; see entropy.vectors."""
        of_cell = torch.from_numpy(pass_numbers(self.n_y)).to(device).t().reshape(1, self.n_y, 2, 2)
        return of_cell.repeat(1, 1, rows // 2, columns // 2)

    def in_passes(
        self,
        features: Tensor,
        gain: Tensor,
        numbers: Tensor,
        mask: GroupMask | None,
        symbols_of: Callable[[Tensor, Tensor], Tensor],
    ) -> tuple[Tensor, Tensor]:
        """Symbols and means of all latents. numbers: see pass_numbers.

        symbols_of: called once a pass with means and with symbols, of which those of the passes before count; it
        gives symbols of which those of the pass count.
        """
        mean = self.means.before(features)
        symbols = symbols_of(mean, torch.zeros_like(mean))
        for number in range(1, N_PASSES):
            before = numbers < number
            known = torch.where(before, symbols / gain + mean, 0.0)
            mean = torch.where(before, mean, self.means.given(number, features, known, mask))
            symbols = torch.where(before, symbols, symbols_of(mean, symbols))
        return symbols, mean

    @torch.no_grad()
    def _around(self, y: Tensor, mask: GroupMask | None) -> Tensor:
        """(N, 9 bands, H/16, W/16) integer-valued: of each band, how large symbols are at the 3 x 3 positions."""
        magnitude = y.abs()
        sums = [magnitude[:, a:b].sum(1, keepdim=True) for a, b in pairwise(band_edges(y.shape[1]))]
        table: Tensor = self._activity  # type: ignore[assignment]
        levels = [table[band.clamp_max(table.numel() - 1).long()] for band in sums]
        if mask is None:
            taps = self._taps.repeat(len(levels), 1, 1, 1)
            return nn.functional.conv2d(torch.cat(levels, dim=1), taps, padding=1, groups=len(levels))
        none = self._taps.new_zeros(self._taps.shape[0])
        return torch.cat([mask.convolve(band, self._taps, none) for band in levels], dim=1)

    @torch.autocast("cuda", enabled=False)
    @torch.autocast("cpu", enabled=False)
    def table_indexes(
        self, z_inputs: Tensor, symbols: Tensor, q: Tensor, previous: Symbols, mask: GroupMask | None
    ) -> Tensor:
        """Table of every latent, (N, C_y, H/16, W/16), of each from the passes before its own.

        z_inputs: see ScaleHead; symbols: (N, C_y, H/16, W/16). The order of inputs is docs/bitstream.md, section 5.4.
        """
        rows, columns = symbols.shape[2:]
        known = previous.known.repeat_interleave(2, 2).repeat_interleave(2, 3)
        row = torch.arange(rows, device=known.device)[:, None].expand(rows, columns) % 2
        column = torch.arange(columns, device=known.device).expand(rows, columns) % 2
        places = torch.stack([row, column])[None].float().expand(known.shape[0], -1, -1, -1)
        z = z_inputs.repeat_interleave(2, 2).repeat_interleave(2, 3)
        fixed = torch.cat([z, self._around(previous.y * known, mask), FLAG * known, FLAG * places], dim=1)
        numbers = self.pass_numbers(rows, columns, symbols.device)
        index = torch.zeros_like(symbols)
        for number in range(N_PASSES):
            now = self._around(torch.where(numbers < number, symbols.detach(), 0.0), mask)
            flags = [torch.full_like(known, FLAG * (number == k)) for k in range(1, N_PASSES)]
            found = self.scale_head.index(torch.cat([fixed, now, *flags], dim=1), q)
            index = torch.where(numbers == number, found, index)
        return index

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
        features = self.means.features(z_symbols / z_gain, condition, q, mask)
        numbers = self.pass_numbers(y.shape[2], y.shape[3], y.device)
        symbols, mean = self.in_passes(features, gain, numbers, mask, lambda mean, _: round_ste(steps - mean * gain))
        left = steps - mean * gain
        z_inputs = self.scale_head.z_inputs(z_symbols, 1 / z_gain)
        index = self.table_indexes(z_inputs, symbols.nan_to_num(), q, previous, mask)
        y_scale = LAPLACE_MIN * torch.exp(index * LAPLACE_STEP)
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
