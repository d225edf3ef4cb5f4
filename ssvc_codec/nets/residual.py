"""What the prediction of a P frame lacks: a transform of 8x8 blocks, and networks before and after it.

Blocks of 8 rather than 16: what is left after the warp is narrow, along borders of motion (docs/decisions/0011).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..entropy.blocks import N_CHANNELS
from ..entropy.plain_tables import MENDED_SHAPE, plain_frequencies
from .block_entropy import BlockEntropy, BlockSymbols
from .blocks import DepthwiseBlock, GainTable, MaskedConv, Pointwise, silu
from .cosines import SUM_WEIGHTS, block_transform, start_gains, step_worth
from .half import InterConfig, InterMasks, half_to_merged
from .intra import HALF_CHANNELS, PLANE_CHANNELS, to_half
from .latents import Symbols
from .offset_entropy import OffsetEntropy, Offsets

__all__ = ["MENDED_START", "MendedTables", "ResidualCodec", "ResidualOutput"]

PHASES = 4  # positions of the 1/2 grid in a block, on each side
MENDED_START = (0.7, 0.3)  # likelihoods of the flag


class ResidualOutput(NamedTuple):
    """What training needs of one pass."""

    y_hat: Tensor  # (N, 96, H/8, W/8)
    bits: Tensor  # (N,) of symbols
    busy_bits: Tensor  # (N,) of classes
    offset_bits: Tensor  # (N,) of offsets, with gradients for their heads alone
    symbols: BlockSymbols


class MendedTables(nn.Module):
    """The tables that flags of cells without symbols are coded by, which are counted and not learned."""

    def __init__(self) -> None:
        super().__init__()
        rows = plain_frequencies(np.tile(MENDED_START, (MENDED_SHAPE[0], 1)))
        self.register_buffer("rows", torch.from_numpy(rows.astype(np.int64)))


class ResidualCodec(nn.Module):
    """What the prediction lacks, coded with the prediction known on both sides."""

    def __init__(self, c: InterConfig) -> None:
        super().__init__()
        self.embed = Pointwise(2 * PLANE_CHANNELS, c.analysis_width, scale=2.0)
        self.blocks8 = nn.ModuleList([DepthwiseBlock(c.analysis_width) for _ in range(2)])
        self.q_scale = GainTable(c.analysis_width)
        self.head = Pointwise(c.analysis_width, N_CHANNELS, scale=0.0)
        self.linear = Pointwise(PLANE_CHANNELS, N_CHANNELS)
        self.y_gain = GainTable(N_CHANNELS)
        self.entropy = BlockEntropy()
        self.offset_entropy = OffsetEntropy()
        self.mended_tables = MendedTables()
        self.linear_back = Pointwise(N_CHANNELS, PLANE_CHANNELS)
        self.first = MaskedConv(2 * HALF_CHANNELS, c.mend_width, scale=4.0)
        self.phase = nn.Parameter(torch.zeros(1, c.mend_width, PHASES, PHASES))
        self.q_mend = GainTable(c.mend_width)
        self.down = Pointwise(PHASES**2 * c.mend_width + N_CHANNELS, c.mend_width8)
        self.low = nn.ModuleList([DepthwiseBlock(c.mend_width8) for _ in range(2)])
        self.up = Pointwise(c.mend_width8, PHASES**2 * c.mend_width, scale=0.0)
        self.middle = nn.ModuleList([MaskedConv(c.mend_width, c.mend_width) for _ in range(c.mend_layers)])
        self.last = MaskedConv(c.mend_width, HALF_CHANNELS, scale=0.02)
        self.q_last = GainTable(HALF_CHANNELS)
        self._start()

    @torch.no_grad()
    def _start(self) -> None:
        """Cosines, in steps of which one squared is worth STEP_WORTH bits."""
        rows = block_transform()
        self.linear.weight.copy_(rows)
        self.linear_back.weight.copy_(rows.t())
        start_gains(self.y_gain, 255**2 * (rows.square() @ SUM_WEIGHTS))

    def analysis(self, x: Tensor, predicted: Tensor, q: Tensor, masks: InterMasks) -> Tensor:
        """Latents (N, 96, H/8, W/8). x: (N, 96, H/8, W/8); predicted: (N, 6, H/2, W/2)."""
        known = half_to_merged(predicted)
        h = self.embed(torch.cat([x - known, known], dim=1))
        for block in self.blocks8:
            h = block(h, masks.at8)
        h = self.q_scale.multiply(h, q)
        with torch.autocast(x.device.type, enabled=False):
            return self.head(h.float()) + self.linear(x.float() - known.float())

    def influence(self, predicted: Tensor) -> Tensor:
        """0, with the gradient that latents have towards the prediction: that of the linear path alone.

        Training through several frames masks it where a symbol is 0: a symbol that stays 0 costs nothing and
        keeps the prediction as it is, whereas rounding that passes gradients straight through, and rates
        under noise, would reward finer references for taking away what is never coded.
        """
        known = half_to_merged(predicted)
        difference = (known.detach() - known).float()
        return F.conv2d(difference, self.linear.weight.detach().float()[:, :, None, None])

    def worth(self, q: Tensor, size: tuple[int, int] = (1, 1)) -> Tensor:
        """Bits that one squared step of error is worth, (N, 96, 1, 1), or (N, 96, *size); q as GainTable takes it."""
        weights = SUM_WEIGHTS.to(q.device) * 255**2
        share = (self.linear_back.weight.detach().float().square() * weights[:, None]).sum(0)
        return step_worth(share, self.y_gain, q, size)

    def code(
        self,
        y: Tensor,
        q: Tensor,
        previous: BlockSymbols,
        motion: Symbols,
        masks: InterMasks,
        merged: Tensor | None = None,
        offsets: Offsets | None = None,
    ) -> ResidualOutput:
        """Quantises and dequantises. y: (N, 96, H/8, W/8); q: (N,), may be fractional; previous: of the frame before;
        motion: of this frame; merged: (N, 1, H/8, W/8), 1 where a block is; offsets: of this frame.
        """
        gain = self.y_gain(q)
        steps = y * gain
        if offsets is None:
            offsets = Offsets(torch.zeros_like(previous.offsets), y.new_zeros(y.shape[0]))
        chosen = offsets.symbols
        symbols, bits, busy_bits = self.entropy(steps, self.worth(q), q, previous, motion.y, merged, chosen, masks.at8)
        kept = BlockSymbols(symbols.nan_to_num(), torch.ones_like(previous.known), chosen)
        y_hat = (symbols + steps - steps.detach()) / gain
        return ResidualOutput(y_hat, bits, busy_bits, offsets.bits, kept)

    def synthesis(self, y_hat: Tensor, predicted: Tensor, q: Tensor, masks: InterMasks) -> Tensor:
        """The picture: (N, 6, H/2, W/2) float32."""
        with torch.autocast(y_hat.device.type, enabled=False):
            picture = predicted + to_half(self.linear_back(y_hat.float()))
        h = torch.cat([picture, picture - predicted], dim=1).to(self.first.weight.dtype)
        h = h.contiguous(memory_format=torch.channels_last)
        phase = self.phase.to(h.dtype).repeat(1, 1, h.shape[2] // PHASES, h.shape[3] // PHASES)
        h = silu(self.q_mend.multiply(self.first(h, masks.at2) + phase, q))
        steps = torch.asinh(y_hat * self.y_gain(q, (y_hat.shape[2], y_hat.shape[3]))).to(h.dtype)
        low = self.down(torch.cat([F.pixel_unshuffle(h, PHASES), steps], dim=1))
        for block in self.low:
            low = block(low, masks.at8)
        h = h + F.pixel_shuffle(self.up(low), PHASES)
        for layer in self.middle:
            h = silu(layer(h, masks.at2))
        return picture + self.q_last.multiply(self.last(h, masks.at2).float(), q)
