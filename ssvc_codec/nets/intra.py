"""The intra networks: analysis, synthesis, hyperprior and two-pass mean context.

Letters follow the field (Balle 2018, Minnen 2018): y latents at 1/16, z
hyper-latents at 1/32, g_a and g_s the transforms, h_a and h_s their hyper pair.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..entropy.tables import SCALE_MIN
from .blocks import DepthwiseBlock, GainTable, Pointwise, round_ste, silu
from .key_blocks import KeyBlocks
from .mending import Mending, MendSizes, Stack
from .pictures import HALF_CHANNELS, PLANE_CHANNELS, Masks, merge_planes, split_planes, to_half
from .scale_head import SCALE_STEP, ScaleHead
from .symbol_tables import SymbolTables

__all__ = [
    "HALF_CHANNELS",
    "PLANE_CHANNELS",
    "IntraConfig",
    "IntraNet",
    "IntraOutput",
    "Masks",
    "merge_planes",
    "split_planes",
    "to_half",
]

ANCHOR_RUN = 96  # channels


@dataclass(frozen=True, slots=True)
class IntraConfig:
    """Sizes of the intra networks."""

    width8: int = 128  # channels at 1/8
    width16: int = 192  # channels at 1/16
    n_y: int = 384  # as many as a 16x16 block has samples: nothing is lost before quantisation
    n_z: int = 32
    analysis8: int = 3  # blocks
    analysis16: int = 4
    context16: int = 4  # blocks of the means that know the first half
    mend_width: int = 32  # channels at 1/2
    mend_layers: int = 3  # between the first and the last
    mend_width8: int = 128  # at 1/8, between the first and these; 0: nothing there
    mend_width16: int = 192  # at 1/16, between those at 1/8
    blocks: int = (
        128  # channels at 1/8 where groups may be coded in blocks of 8x8, see nets.key_blocks; 0: they may not
    )

    def to_dict(self) -> dict[str, int]:
        """Plain numbers for JSON."""
        return asdict(self)

    @property
    def mending(self) -> MendSizes:
        """Of the network that mends the picture."""
        return MendSizes(self.mend_width, self.mend_layers, self.mend_width8, self.mend_width16, self.n_y)

    @classmethod
    def of(cls, values: object) -> IntraConfig:
        """That of a model's config.json. Raises TypeError."""
        if not isinstance(values, Mapping):
            raise TypeError("the sizes of the intra networks are no table")
        return cls(**{"context16": 2, "mend_width8": 0, "blocks": 0, **values})


class IntraOutput(NamedTuple):
    """What training needs of one pass."""

    x_hat: Tensor  # (N, 6, H/2, W/2), as to_half gives it
    y_residual: Tensor  # (N, C_y, H/16, W/16) latents less their means, in quantiser steps, not rounded
    y_scale: Tensor  # (N, C_y, H/16, W/16) standard deviation in quantiser steps
    z_residual: Tensor  # (N, C_z, H/32, W/32) in quantiser steps, not rounded
    z_scale: Tensor  # (N, C_z, 1, 1)


class _Analysis(nn.Module):
    """g_a: a linear block transform plus what the blocks add to it."""

    def __init__(self, c: IntraConfig) -> None:
        super().__init__()
        self.embed = Pointwise(PLANE_CHANNELS, c.width8, scale=2.0)
        self.stack8 = Stack(c.width8, c.analysis8)
        self.q_scale = GainTable(c.width8)
        self.down = Pointwise(4 * c.width8, c.width16)
        self.stack16 = Stack(c.width16, c.analysis16)
        self.head = Pointwise(c.width16, c.n_y, scale=0.0)
        self.linear = Pointwise(4 * PLANE_CHANNELS, c.n_y)

    def forward(self, x: Tensor, q: Tensor, masks: Masks) -> Tensor:
        h = self.q_scale.multiply(self.stack8(self.embed(x), masks.at8), q)
        h = self.stack16(self.down(F.pixel_unshuffle(h, 2)), masks.at16)
        with torch.autocast(x.device.type, enabled=False):
            return self.head(h.float()) + self.linear(F.pixel_unshuffle(x.float(), 2))


class _Synthesis(Mending):
    """g_s: the inverse linear transform, and a network that mends its picture."""

    def __init__(self, c: IntraConfig) -> None:
        super().__init__(c.mending)
        self.linear = Pointwise(c.n_y, 4 * PLANE_CHANNELS)

    def forward(self, y_hat: Tensor, q: Tensor, masks: Masks) -> Tensor:
        """Returns (N, 6, H/2, W/2): see to_half."""
        with torch.autocast(y_hat.device.type, enabled=False):
            picture = to_half(F.pixel_shuffle(self.linear(y_hat.float()), 2))
        return self.mend(picture, y_hat, q, masks)


class _HyperAnalysis(nn.Module):
    """h_a: latents in quantiser steps, compressed in range, to one vector a cell."""

    def __init__(self, c: IntraConfig) -> None:
        super().__init__()
        self.embed = Pointwise(c.n_y, c.width16)
        self.stack16 = Stack(c.width16, 1)
        self.down = Pointwise(4 * c.width16, c.width16, scale=1.4)
        self.head = Pointwise(c.width16, c.n_z)

    def forward(self, y_steps: Tensor, masks: Masks) -> Tensor:
        h = self.stack16(self.embed(torch.asinh(y_steps)), masks.at16)
        h = silu(self.down(F.pixel_unshuffle(h, 2)))
        with torch.autocast(y_steps.device.type, enabled=False):
            return self.head(h.float())


class _Means(nn.Module):
    """h_s and the context: means of both checkerboard halves; nothing here reaches the parser."""

    def __init__(self, c: IntraConfig) -> None:
        super().__init__()
        self.embed = Pointwise(c.n_z, c.width16, scale=1.4)
        self.up = Pointwise(c.width16, 4 * c.width16, scale=1.4)
        self.q_scale = GainTable(c.width16)
        self.first = DepthwiseBlock(c.width16)
        self.first_head = Pointwise(c.width16, c.n_y, scale=0.0)
        self.context = Pointwise(c.n_y, c.width16)
        self.second = Stack(c.width16, c.context16)
        self.second_head = Pointwise(c.width16, c.n_y, scale=0.0)

    def features(self, z_hat: Tensor, q: Tensor, masks: Masks) -> Tensor:
        """Features at 1/16 from the dequantised hyper-latents."""
        h = silu(self.embed(z_hat))
        h = self.q_scale.multiply(F.pixel_shuffle(silu(self.up(h)), 2), q)
        return self.first(h, masks.at16)

    def anchors(self, features: Tensor) -> Tensor:
        """Means of every latent before context; used for the first half."""
        with torch.autocast(features.device.type, enabled=False):
            return self.first_head(features.float())

    def others(self, features: Tensor, y_hat_anchors: Tensor, masks: Masks) -> Tensor:
        """Means given the first half; used for the second. y_hat_anchors is 0 elsewhere."""
        h = self.second(features + self.context(y_hat_anchors), masks.at16)
        with torch.autocast(features.device.type, enabled=False):
            return self.second_head(h.float())


class IntraNet(nn.Module):
    """One picture to latents and back."""

    def __init__(self, config: IntraConfig | None = None) -> None:
        super().__init__()
        self.config = c = config or IntraConfig()
        self.analysis = _Analysis(c)
        self.synthesis = _Synthesis(c)
        self.hyper_analysis = _HyperAnalysis(c)
        self.means = _Means(c)
        self.scale_head = ScaleHead(c.n_z, c.n_y)
        self.y_gain = GainTable(c.n_y, first=1.0, last=16.0)  # quantiser steps per unit of y
        self.z_gain = GainTable(c.n_z, first=0.3, last=1.5)
        self.z_scale = GainTable(c.n_z)  # standard deviation of z in quantiser steps
        self.symbol_tables = SymbolTables()
        self.blocks = KeyBlocks(MendSizes(width8=c.blocks, width16=3 * c.blocks // 2)) if c.blocks else None

    def anchor_mask(self, height: int, width: int, device: torch.device) -> Tensor:
        """(C_y, H, W) bool: the first half of the checkerboard; it alternates every ANCHOR_RUN channels."""
        rows = torch.arange(height, device=device)[:, None]
        columns = torch.arange(width, device=device)[None, :]
        channels = torch.arange(self.config.n_y, device=device)[:, None, None] // ANCHOR_RUN
        return (rows + columns + channels) % 2 == 0

    def forward(self, x: Tensor, q: Tensor, masks: Masks = Masks()) -> IntraOutput:  # noqa: B008
        """One training pass; what is rounded passes its gradient straight through.

        x: (N, 96, H/8, W/8) in -0.5..0.5; q: (N,) q_index, may be fractional.
        """
        y = self.analysis(x, q, masks)
        gain = self.y_gain(q)
        steps = y * gain
        z_gain = self.z_gain(q)
        z = self.hyper_analysis(steps, masks) * z_gain
        z_symbols = round_ste(z)
        index = self.scale_head(z_symbols, 1 / z_gain, q)
        y_scale = SCALE_MIN * torch.exp(index * SCALE_STEP)
        features = self.means.features(z_symbols / z_gain, q, masks)
        anchors = self.anchor_mask(y.shape[2], y.shape[3], y.device)
        mean_a = self.means.anchors(features) * gain
        half = torch.where(anchors, round_ste(steps - mean_a) + mean_a, 0.0)
        mean_b = self.means.others(features, half / gain, masks) * gain
        mean = torch.where(anchors, mean_a, mean_b)
        y_hat = (round_ste(steps - mean) + mean) / gain
        x_hat = self.synthesis(y_hat, q, masks)
        return IntraOutput(x_hat, steps - mean, y_scale, z, self.z_scale(q))

    @torch.no_grad()
    def start_from_covariance(self, covariance: Tensor) -> None:
        """Makes the linear paths the principal components of 16x16 blocks.

        covariance: (384, 384) of pixel-unshuffled blocks in -0.5..0.5. Latents
        start with unit variance; the gains start so that every component gets
        the same quantiser step.
        """
        values, vectors = torch.linalg.eigh(covariance.double())
        order = values.argsort(descending=True)[: self.config.n_y]
        deviation = values[order].clamp_min(1e-8).sqrt()
        basis = vectors[:, order]
        self.analysis.linear.weight.copy_((basis / deviation).t())
        self.synthesis.linear.weight.copy_(basis * deviation)
        self.y_gain.log_gain.add_(deviation.log()[None].float() + 0.96)
        index = (self.y_gain.log_gain.clamp(-2.2, 4) + 2.2) * 0.8
        self.scale_head.offset.log_gain.copy_(index)
