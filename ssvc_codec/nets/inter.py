"""The networks of P frames: motion coding, compensation, conditional residual coding.

Letters follow the field: y latents at 1/16, z hyper-latents at 1/32. Pictures are
`Planes` in -0.5..0.5; flow is backward, in luma samples, at 1/4 (nets.motion).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import DepthwiseBlock, GainTable, GroupMask, MaskedConv, Pointwise, silu
from .intra import HALF_CHANNELS, PLANE_CHANNELS, merge_planes, to_half
from .lagrangian import lambda_of
from .latents import LatentModel, LatentOutput, Symbols
from .merge import MergeTables, merge_plan
from .merge_choice import choose_merges
from .motion import MotionEstimation, smooth_flow, upsample_flow, warp

__all__ = [
    "Compensation",
    "InterConfig",
    "InterMasks",
    "InterNet",
    "InterOutput",
    "MotionCodec",
    "Planes",
    "ResidualCodec",
    "State",
    "half_to_merged",
    "half_to_planes",
    "planes_to_half",
    "texture",
    "warp_planes",
]

FLOW_CHANNELS = 32  # 2 components of the 4x4 vectors of a 16x16 block
TEXTURE_CHANNELS = 48  # logarithms of 3 structure-tensor energies of those 4x4 blocks
GLOBAL_STEPS = 4  # of one luma sample, for the vector that a chain of motion starts from
PHASES = 8  # positions of the 1/2 grid in a 16x16 block, on each side


@dataclass(frozen=True, slots=True)
class InterConfig:
    """Sizes of the P-frame networks."""

    n_motion: int = 32  # latents at 1/16: as many as a 16x16 block has vector components
    n_motion_z: int = 8
    motion_width: int = 64
    n_residual: int = 384  # as many as a 16x16 block has samples
    n_residual_z: int = 24
    residual_width: int = 128  # at 1/16
    analysis_width: int = 96  # at 1/8
    refine_width: int = 24  # at 1/2
    refine_width8: int = 96  # at 1/8
    mend_width: int = 32  # at 1/2
    mend_layers: int = 2  # between the first and the last
    merge: int = 1  # whether blocks may take their vectors from other places

    def to_dict(self) -> dict[str, int]:
        """Plain numbers for JSON."""
        return asdict(self)

    @classmethod
    def of(cls, values: object) -> InterConfig:
        """That of a model's config.json; models from before merging do not name it. Raises TypeError."""
        if not isinstance(values, Mapping):
            raise TypeError("the sizes of the P-frame networks are no table")
        return cls(**{"merge": 0, **values})


class Planes(NamedTuple):
    """A picture. y: (N, 1, H, W); uv: (N, 2, H/2, W/2); float32 in -0.5..0.5."""

    y: Tensor
    uv: Tensor


class InterMasks(NamedTuple):
    """The group mask at each resolution; None where there is one group."""

    at2: GroupMask | None = None
    at4: GroupMask | None = None
    at8: GroupMask | None = None
    at16: GroupMask | None = None


class InterOutput(NamedTuple):
    """What training needs of one pass."""

    x_hat: Tensor  # (N, 6, H/2, W/2), before cells of zeros show the warp
    predicted: Tensor  # (N, 6, H/2, W/2), refined
    warped: Tensor  # (N, 6, H/2, W/2), the warp alone
    flow: Tensor  # (N, 2, H/4, W/4), estimated
    flow_hat: Tensor  # (N, 2, H/4, W/4), decoded
    merge: Tensor  # (N, H/8, W/8) int64, merge indexes
    motion: LatentOutput
    residual: LatentOutput | None  # None where only motion is trained


class State(NamedTuple):
    """What a P frame needs of the frame before."""

    planes: Planes  # decoded
    flow_hat: Tensor  # (N, 2, H/4, W/4); 0 after an I frame
    motion: Symbols
    residual: Symbols


def half_to_planes(x: Tensor) -> Planes:
    """Planes of what to_half gives, clipped to the range of samples."""
    x = x.clamp(-0.5, 0.5)
    return Planes(F.pixel_shuffle(x[:, :4], 2), x[:, 4:])


def planes_to_half(planes: Planes) -> Tensor:
    """(N, 6, H/2, W/2) as nets.intra.to_half orders them."""
    return torch.cat([F.pixel_unshuffle(planes.y, 2), planes.uv], dim=1)


def half_to_merged(x: Tensor) -> Tensor:
    """(N, 6, H/2, W/2) to the channels of merge_planes, (N, 96, H/8, W/8)."""
    luma = F.pixel_shuffle(x[:, :4], 2)
    return merge_planes(luma, x[:, 4:5], x[:, 5:])


def texture(luma: Tensor) -> Tensor:
    """How much an error of the flow would show: (N, 48, H/16, W/16) from (N, 1, H, W) in -0.5..0.5.

    Logarithms of the mean squares of the gradients along x, y and their product's size, for each 4x4 block.
    """
    padded = F.pad(luma, (1, 1, 1, 1), mode="replicate")
    gx = padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]
    gy = padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]
    energies = F.avg_pool2d(torch.cat([gx * gx, gy * gy, (gx * gy).abs()], dim=1), 4)
    return F.pixel_unshuffle((energies + 1e-5).log() * 0.3 + 2, 4)


def warp_planes(reference: Planes, fine: Tensor, half: Tensor) -> Planes:
    """The reference at the positions a flow points to, given at 1/1 and at 1/2: (N, 2, H, W) and (N, 2, H/2, W/2)."""
    return Planes(warp(reference.y, fine, mode="bicubic"), warp(reference.uv, half / 2, mode="bicubic"))


class MotionCodec(nn.Module):
    """Flow to latents and back: a complete linear block transform and what networks add to it."""

    def __init__(self, c: InterConfig) -> None:
        super().__init__()
        self.linear = Pointwise(FLOW_CHANNELS, c.n_motion)
        self.embed = Pointwise(FLOW_CHANNELS + TEXTURE_CHANNELS, c.motion_width)
        self.blocks = nn.ModuleList([DepthwiseBlock(c.motion_width) for _ in range(2)])
        self.head = Pointwise(c.motion_width, c.n_motion, scale=0.0)
        self.latents = LatentModel(
            n_y=c.n_motion,
            n_z=c.n_motion_z,
            width=c.motion_width,
            n_condition=FLOW_CHANNELS,
            anchor_run=8,
            steps=(0.15, 1.5),
            linear_context=True,
        )
        self.persistence = nn.Parameter(torch.full((c.n_motion,), 0.9))  # how much of the flow before is expected again
        self.linear_back = Pointwise(c.n_motion, FLOW_CHANNELS)
        self.mend_first = MaskedConv(4, 32, scale=2.0)
        self.q_scale = GainTable(32)
        self.mend_middle = MaskedConv(32, 32)
        self.mend_last = MaskedConv(32, 2, scale=0.0)

    def analysis(self, flow: Tensor, luma: Tensor, masks: InterMasks) -> Tensor:
        """Latents (N, C_y, H/16, W/16). flow: (N, 2, H/4, W/4); luma: (N, 1, H, W) of the current picture."""
        patches = F.pixel_unshuffle(flow, 4)
        h = self.embed(torch.cat([torch.asinh(patches), texture(luma)], dim=1))
        for block in self.blocks:
            h = block(h, masks.at16)
        with torch.autocast(flow.device.type, enabled=False):
            return self.linear(patches.float()) + self.head(h.float())

    def condition(self, flow_before: Tensor) -> Tensor:
        """What means are conditioned on: (N, 32, H/16, W/16) from the flow decoded before."""
        return torch.asinh(F.pixel_unshuffle(flow_before, 4))

    def base(self, flow_before: Tensor) -> Tensor:
        """The latents that are expected: (N, C_y, H/16, W/16) float32."""
        with torch.autocast(flow_before.device.type, enabled=False):
            return self.linear(F.pixel_unshuffle(flow_before.float(), 4)) * self.persistence[:, None, None]

    def synthesis(self, y_hat: Tensor, flow_before: Tensor, q: Tensor, masks: InterMasks) -> Tensor:
        """Flow (N, 2, H/4, W/4) in luma samples, float32."""
        with torch.autocast(y_hat.device.type, enabled=False):
            flow = F.pixel_shuffle(self.linear_back(y_hat.float()), 4)
        h = torch.cat([flow, flow_before], dim=1).to(self.mend_first.weight.dtype)
        h = silu(self.q_scale.multiply(self.mend_first(torch.asinh(h), masks.at4), q))
        h = silu(self.mend_middle(h, masks.at4))
        return flow + self.mend_last(h, masks.at4).float()


class Compensation(nn.Module):
    """The warped reference, and a U-Net that mends it: 3x3 at 1/2 around depthwise blocks at 1/8."""

    def __init__(self, c: InterConfig) -> None:
        super().__init__()
        self.first = MaskedConv(HALF_CHANNELS + 2, c.refine_width, scale=4.0)
        self.q_scale = GainTable(c.refine_width)
        self.down = Pointwise(16 * c.refine_width, c.refine_width8)
        self.blocks = nn.ModuleList([DepthwiseBlock(c.refine_width8) for _ in range(2)])
        self.up = Pointwise(c.refine_width8, 16 * c.refine_width, scale=0.1)
        self.middle = MaskedConv(c.refine_width, c.refine_width)
        self.last = MaskedConv(c.refine_width, HALF_CHANNELS, scale=0.02)
        self.q_last = GainTable(HALF_CHANNELS)

    @staticmethod
    def warp(reference: Planes, flow_hat: Tensor) -> Tensor:
        """The reference at the positions the flow points to: (N, 6, H/2, W/2)."""
        return planes_to_half(warp_planes(reference, upsample_flow(flow_hat, 4), upsample_flow(flow_hat, 2)))

    def refine(self, warped: Tensor, flow_hat: Tensor, q: Tensor, masks: InterMasks) -> Tensor:
        """The prediction: (N, 6, H/2, W/2) float32."""
        with torch.no_grad():
            flow = upsample_flow(flow_hat.detach(), 2)
        return self.mend(warped, flow, q, masks)

    def mend(self, warped: Tensor, flow: Tensor, q: Tensor, masks: InterMasks) -> Tensor:
        """As refine, from a flow that is at 1/2 already, its unit still luma samples: (N, 2, H/2, W/2)."""
        dtype = self.first.weight.dtype
        x = torch.cat([warped, torch.asinh(flow) * 0.1], dim=1).to(dtype).contiguous(memory_format=torch.channels_last)
        h = silu(self.q_scale.multiply(self.first(x, masks.at2), q))
        low = self.down(F.pixel_unshuffle(h, 4))
        for block in self.blocks:
            low = block(low, masks.at8)
        h = h + F.pixel_shuffle(self.up(low), 4)
        h = silu(self.middle(h, masks.at2))
        return warped + self.q_last.multiply(self.last(h, masks.at2).float(), q)


class ResidualCodec(nn.Module):
    """What the prediction lacks, coded with the prediction known on both sides."""

    def __init__(self, c: InterConfig) -> None:
        super().__init__()
        self.embed = Pointwise(2 * PLANE_CHANNELS, c.analysis_width, scale=2.0)
        self.blocks8 = nn.ModuleList([DepthwiseBlock(c.analysis_width) for _ in range(2)])
        self.q_scale = GainTable(c.analysis_width)
        self.down = Pointwise(4 * c.analysis_width, c.residual_width)
        self.block16 = DepthwiseBlock(c.residual_width)
        self.head = Pointwise(c.residual_width, c.n_residual, scale=0.0)
        self.linear = Pointwise(4 * PLANE_CHANNELS, c.n_residual)
        self.condition_embed = Pointwise(4 * PLANE_CHANNELS, c.residual_width)
        self.condition_block = DepthwiseBlock(c.residual_width)
        self.latents = LatentModel(
            n_y=c.n_residual,
            n_z=c.n_residual_z,
            width=c.residual_width,
            n_condition=c.residual_width,
            anchor_run=96,
            steps=(2.6, 42.0),
            n_other=c.n_motion,
        )
        self.linear_back = Pointwise(c.n_residual, 4 * PLANE_CHANNELS)
        self.first = MaskedConv(2 * HALF_CHANNELS, c.mend_width, scale=4.0)
        self.phase = nn.Parameter(torch.zeros(1, c.mend_width, PHASES, PHASES))
        self.q_mend = GainTable(c.mend_width)
        self.middle = nn.ModuleList([MaskedConv(c.mend_width, c.mend_width) for _ in range(c.mend_layers)])
        self.last = MaskedConv(c.mend_width, HALF_CHANNELS, scale=0.02)
        self.q_last = GainTable(HALF_CHANNELS)

    def analysis(self, x: Tensor, predicted: Tensor, q: Tensor, masks: InterMasks) -> Tensor:
        """Latents (N, C_y, H/16, W/16). x: (N, 96, H/8, W/8); predicted: (N, 6, H/2, W/2)."""
        known = half_to_merged(predicted)
        h = self.embed(torch.cat([x - known, known], dim=1))
        for block in self.blocks8:
            h = block(h, masks.at8)
        h = self.block16(self.down(F.pixel_unshuffle(self.q_scale.multiply(h, q), 2)), masks.at16)
        with torch.autocast(x.device.type, enabled=False):
            difference = F.pixel_unshuffle(x.float() - known.float(), 2)
            return self.head(h.float()) + self.linear(difference)

    def influence(self, predicted: Tensor) -> Tensor:
        """0, with the gradient that latents have towards the prediction: that of the linear path alone.

        Training through several frames masks it where a symbol is 0: a symbol that stays 0 costs nothing and
        keeps the prediction as it is, whereas rounding that passes gradients straight through, and rates
        under noise, would reward finer references for taking away what is never coded.
        """
        known = half_to_merged(predicted)
        difference = F.pixel_unshuffle(known.detach() - known, 2)
        return F.conv2d(difference.float(), self.linear.weight.detach().float()[:, :, None, None])

    def condition(self, predicted: Tensor, masks: InterMasks) -> Tensor:
        """What means are conditioned on, from the prediction: (N, C, H/16, W/16)."""
        blocks = F.pixel_unshuffle(half_to_merged(predicted), 2)
        return self.condition_block(self.condition_embed(blocks), masks.at16)

    def synthesis(self, y_hat: Tensor, predicted: Tensor, q: Tensor, masks: InterMasks) -> Tensor:
        """The picture: (N, 6, H/2, W/2) float32."""
        with torch.autocast(y_hat.device.type, enabled=False):
            picture = predicted + to_half(F.pixel_shuffle(self.linear_back(y_hat.float()), 2))
        h = torch.cat([picture, picture - predicted], dim=1).to(self.first.weight.dtype)
        h = h.contiguous(memory_format=torch.channels_last)
        phase = self.phase.to(h.dtype).repeat(1, 1, h.shape[2] // PHASES, h.shape[3] // PHASES)
        h = silu(self.q_mend.multiply(self.first(h, masks.at2) + phase, q))
        for layer in self.middle:
            h = silu(layer(h, masks.at2))
        return picture + self.q_last.multiply(self.last(h, masks.at2).float(), q)


class InterNet(nn.Module):
    """One P frame to latents and back."""

    def __init__(self, config: InterConfig | None = None) -> None:
        super().__init__()
        self.config = c = config or InterConfig()
        self.estimation = MotionEstimation()
        self.motion = MotionCodec(c)
        self.compensation = Compensation(c)
        self.residual = ResidualCodec(c)
        self.merge_tables = MergeTables() if c.merge else None

    def first_state(self, planes: Planes) -> State:
        """The state after an I frame that decoded to planes."""
        n, _, height, width = planes.y.shape
        rows, columns, device = height // 32, width // 32, planes.y.device
        flow = torch.zeros(n, 2, height // 4, width // 4, device=device)
        motion = self.motion.latents.nothing(n, rows, columns, device)
        return State(planes, flow, motion, self.residual.latents.nothing(n, rows, columns, device))

    def forward(
        self,
        x: Tensor,
        q: Tensor,
        state: State,
        masks: InterMasks = InterMasks(),  # noqa: B008
        *,
        freeze_estimation: bool = False,
        motion_only: bool = False,
        detach: bool = True,
    ) -> tuple[InterOutput, State]:
        """One training pass; what is rounded passes its gradient straight through.

        x: (N, 96, H/8, W/8) in -0.5..0.5; q: (N,) q_index, may be fractional. motion_only:
        the prediction is the picture. detach: no gradient reaches this frame through the state returned.
        """
        luma = F.pixel_shuffle(x[:, :64], 8)
        if freeze_estimation:
            with torch.no_grad():
                flow = self.estimation.pyramid(luma, state.planes.y)[-1]
                flow = smooth_flow(flow, luma, lambda_of(q)[:, None, None, None])
        else:
            flow = self.estimation(luma, state.planes.y)
        start = (flow.mean((2, 3), keepdim=True) * GLOBAL_STEPS).round() / GLOBAL_STEPS
        followed = F.interpolate(state.motion.known, scale_factor=8.0, mode="nearest")
        before = torch.where(followed > 0, state.flow_hat, start).detach()
        y = self.motion.analysis(flow, luma, masks)
        motion = self.motion.latents(
            y, self.motion.condition(before), q, state.motion, masks.at16, base=self.motion.base(before)
        )
        flow_hat = self.motion.synthesis(motion.y_hat, before, q, masks)
        merge, fine, half = self._merged(x, state.planes, flow_hat, q)
        warped = planes_to_half(warp_planes(state.planes, fine, half))
        predicted = self.compensation.mend(warped, half.detach(), q, masks)
        if motion_only:
            out = InterOutput(predicted, predicted, warped, flow, flow_hat, merge, motion, None)
            return out, State(half_to_planes(predicted.detach()), flow_hat.detach(), motion.symbols, state.residual)
        known = predicted if detach else predicted.detach()
        y = self.residual.analysis(x, known, q, masks)
        influence = torch.zeros_like(y) if detach else self.residual.influence(predicted)
        condition = self.residual.condition(known, masks)
        residual = self.residual.latents(y + influence, condition, q, state.residual, masks.at16, motion.symbols)
        if influence.requires_grad:
            alive = residual.symbols.y != 0
            influence.register_hook(lambda gradient: gradient * alive)
        x_hat = self.residual.synthesis(residual.y_hat, predicted, q, masks)
        out = InterOutput(x_hat, predicted, warped, flow, flow_hat, merge, motion, residual)
        # The loss sees what the residual network makes of every cell, or cells of zeros would never leave zero.
        coded = F.interpolate(residual.symbols.coded_cells(), scale_factor=16.0, mode="nearest")
        shown = torch.where(coded > 0, x_hat.float(), warped)
        if detach:
            shown, flow_hat = shown.detach(), flow_hat.detach()
        return out, State(half_to_planes(shown), flow_hat, motion.symbols, residual.symbols)

    def _merged(self, x: Tensor, reference: Planes, flow_hat: Tensor, q: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Merge indexes, and the flow that they make at 1/1 and at 1/2. Groups are not regarded."""
        fine, half = upsample_flow(flow_hat, 4), upsample_flow(flow_hat, 2)
        if self.merge_tables is None:
            n, _, height, width = x.shape
            return torch.zeros(n, height, width, dtype=torch.int64, device=x.device), fine, half
        with torch.no_grad():
            original = half_to_planes(to_half(x).float())
            shown = warp_planes(reference, fine, half)
            merge = choose_merges(original, reference, shown, flow_hat, lambda_of(q))
        return merge, *merge_plan(flow_hat, merge)
