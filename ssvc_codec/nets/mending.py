"""The network that mends a picture which a block transform gave."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import DepthwiseBlock, GainTable, GroupMask, MaskedConv, Pointwise, silu
from .pictures import HALF_CHANNELS, Masks

__all__ = ["MendSizes", "Mending", "Stack"]

PHASES = 4  # positions of the 1/2 grid in a block of 8x8, on each side


class MendSizes(NamedTuple):
    """Of a network that mends pictures."""

    width: int = 32  # channels at 1/2
    layers: int = 3  # between the first and the last
    width8: int = 128  # at 1/8, between the first and these; 0: nothing there
    width16: int = 192  # at 1/16, between those at 1/8
    n_latents: int = 384  # at 1/16, of what the picture was made


class Stack(nn.Module):
    """Depthwise blocks in a row."""

    def __init__(self, channels: int, n_blocks: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([DepthwiseBlock(channels) for _ in range(n_blocks)])

    def forward(self, x: Tensor, mask: GroupMask | None) -> Tensor:
        """x: (N, C, H, W) -> the same shape."""
        for block in self.blocks:
            x = block(x, mask)
        return x


class _Far(nn.Module):
    """What the mending at 1/2 cannot see: features at 1/8 and 1/16, of the picture and of its latents."""

    def __init__(self, c: MendSizes) -> None:
        super().__init__()
        within = PHASES**2 * c.width
        self.down8 = Pointwise(within, c.width8)
        self.before = DepthwiseBlock(c.width8)
        self.q_latents = GainTable(c.n_latents, first=1.0, last=16.0)
        self.down16 = Pointwise(4 * c.width8 + c.n_latents, c.width16)
        self.middle = Stack(c.width16, 2)
        self.up16 = Pointwise(c.width16, 4 * c.width8, scale=0.3)
        self.after = DepthwiseBlock(c.width8)
        self.up8 = Pointwise(c.width8, within, scale=0.0)

    def forward(self, h: Tensor, y_hat: Tensor, q: Tensor, masks: Masks) -> Tensor:
        """h: (N, C, H/2, W/2); y_hat: (N, C_y, H/16, W/16). Returns what to add to h."""
        near = self.before(self.down8(F.pixel_unshuffle(h, PHASES)), masks.at8)
        steps = torch.asinh(self.q_latents.multiply(y_hat, q)).to(h.dtype)
        far = self.middle(self.down16(torch.cat([F.pixel_unshuffle(near, 2), steps], dim=1)), masks.at16)
        near = self.after(near + F.pixel_shuffle(self.up16(far), 2), masks.at8)
        return F.pixel_shuffle(self.up8(near), PHASES)


class Mending(nn.Module):
    """A small network at 1/2 that mends a picture which a block transform gave.

    At 1/2 one kernel serves every position; at 1/8 each of the 64 samples of a block would
    have to learn its own (docs/decisions/0005-complete-linear-transform.md). Features from there help those at 1/2.
    """

    def __init__(self, c: MendSizes) -> None:
        super().__init__()
        self.first = MaskedConv(HALF_CHANNELS, c.width, scale=4.0)
        self.phase = nn.Parameter(torch.zeros(1, c.width, 8, 8))  # where in its 16x16 block a position is
        self.q_scale = GainTable(c.width)
        self.far = _Far(c) if c.width8 else None
        self.middle = nn.ModuleList([MaskedConv(c.width, c.width) for _ in range(c.layers)])
        self.last = MaskedConv(c.width, HALF_CHANNELS, scale=0.02)
        self.q_last = GainTable(HALF_CHANNELS)

    def mend(self, picture: Tensor, y_hat: Tensor, q: Tensor, masks: Masks) -> Tensor:
        """picture: (N, 6, H/2, W/2) float32, see to_half; y_hat: (N, C_y, H/16, W/16). Returns the picture, mended."""
        h = picture.to(self.first.weight.dtype).contiguous(memory_format=torch.channels_last)
        phase = self.phase.to(h.dtype).repeat(1, 1, h.shape[2] // 8, h.shape[3] // 8)
        h = silu(self.q_scale.multiply(self.first(h, masks.at2) + phase, q))
        if self.far is not None:
            h = h + self.far(h, y_hat, q, masks)
        for layer in self.middle:
            h = silu(layer(h, masks.at2))
        return picture + self.q_last.multiply(self.last(h, masks.at2).float(), q)
