"""The networks of P frames: motion coding, compensation, conditional residual coding.

Letters follow the field: y latents at 1/16, z hyper-latents at 1/32. Pictures are
`Planes` in -0.5..0.5; flow is backward, in luma samples, at 1/4 (nets.motion).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .block_entropy import BlockSymbols
from .blocks import DepthwiseBlock, GainTable, MaskedConv, Pointwise, silu
from .distortion import cell_errors, tune_of
from .half import InterConfig, InterMasks, Planes, half_to_merged, half_to_planes, planes_to_half
from .intra import HALF_CHANNELS, to_half
from .lagrangian import CELL_WORTH, lambda_of
from .latents import LatentModel, LatentOutput, Symbols
from .merge import MergeTables, merge_plan
from .merge_choice import choose_merges
from .motion import MotionEstimation, smooth_flow, upsample_flow, warp
from .offsets import offset_picture
from .residual import ResidualCodec, ResidualOutput

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
MENDED_BITS = 1.5  # of a cell without symbols that shows what the networks make of the warp, about
GLOBAL_STEPS = 4  # of one luma sample, for the vector that a chain of motion starts from


class InterOutput(NamedTuple):
    """What training needs of one pass."""

    x_hat: Tensor  # (N, 6, H/2, W/2), before cells of zeros show the warp
    predicted: Tensor  # (N, 6, H/2, W/2), refined
    warped: Tensor  # (N, 6, H/2, W/2), the warp alone
    flow: Tensor  # (N, 2, H/4, W/4), estimated
    flow_hat: Tensor  # (N, 2, H/4, W/4), decoded
    merge: Tensor  # (N, H/8, W/8) int64, merge indexes
    motion: LatentOutput
    residual: ResidualOutput | None  # None where only motion is trained


class State(NamedTuple):
    """What a P frame needs of the frame before."""

    planes: Planes  # decoded
    flow_hat: Tensor  # (N, 2, H/4, W/4); 0 after an I frame
    motion: Symbols
    residual: BlockSymbols


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
            steps=(0.15, 1.5),
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
        return State(planes, flow, motion, self.residual.entropy.nothing(n, rows, columns, device))

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
            y, self.motion.condition(before), q, state.motion, masks.at16, self.motion.base(before)
        )
        flow_hat = self.motion.synthesis(motion.y_hat, before, q, masks)
        merge, fine, half = self._merged(x, state.planes, flow_hat, q)
        warped = planes_to_half(warp_planes(state.planes, fine, half))
        predicted = self.compensation.mend(warped, half.detach(), q, masks)
        if motion_only:
            out = InterOutput(predicted, predicted, warped, flow, flow_hat, merge, motion, None)
            return out, State(half_to_planes(predicted.detach()), flow_hat.detach(), motion.symbols, state.residual)
        past = state.residual
        missing = to_half(x).float() - predicted.detach()
        merged = (merge != 0).float()[:, None]
        offsets = self.residual.offset_entropy(missing, q, past, motion.symbols.y, merged, masks.at32)
        added = offset_picture(offsets.symbols, q)
        predicted, warped = predicted + added, warped + added
        known = predicted if detach else predicted.detach()
        y = self.residual.analysis(x, known, q, masks)
        influence = torch.zeros_like(y) if detach else self.residual.influence(predicted)
        residual = self.residual.code(y + influence, q, past, motion.symbols, masks, merged, offsets)
        if influence.requires_grad:
            alive = residual.symbols.y != 0
            influence.register_hook(lambda gradient: gradient * alive)
        x_hat = self.residual.synthesis(residual.y_hat, predicted, q, masks)
        out = InterOutput(x_hat, predicted, warped, flow, flow_hat, merge, motion, residual)
        # The loss sees what the residual network makes of every cell, or cells of zeros would never leave zero.
        shown = self._shown(to_half(x), x_hat.float(), warped, residual.symbols.coded_cells(), q)
        if detach:
            shown, flow_hat = shown.detach(), flow_hat.detach()
        return out, State(half_to_planes(shown), flow_hat, motion.symbols, residual.symbols)

    def _shown(self, x: Tensor, x_hat: Tensor, warped: Tensor, coded: Tensor, q: Tensor) -> Tensor:
        """The picture: of cells without symbols the warp, or what the networks make of it where that pays."""
        tune = tune_of(self.config.tune)
        gain = cell_errors(x, warped.detach(), tune) - cell_errors(x, x_hat.detach(), tune)
        mended = gain * lambda_of(q)[:, None, None] * CELL_WORTH > MENDED_BITS
        chosen = F.interpolate(coded.bool().logical_or(mended[:, None]).float(), scale_factor=16.0, mode="nearest")
        return torch.where(chosen > 0, x_hat, warped)

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
