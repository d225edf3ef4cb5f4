"""What a P frame costs in training: bits by part, and squared error."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..nets.distortion import Tune, distortion, picture_error
from ..nets.inter import InterOutput
from ..nets.intra import to_half
from ..nets.laplace import laplace_bits
from ..nets.latents import LatentOutput
from .rate import coded_bits, lambda_of

__all__ = ["FrameLoss", "bits_of", "frame_loss"]

Z_PRICE = (2.0, 1.2)  # of a bit of z at q 0 and 63
WARP_SHARE = 0.08  # of the distortion's weight, for the warp alone
PREDICTION_SHARE = 0.12  # and for the refined prediction


class FrameLoss(NamedTuple):
    """The loss of one P frame and its parts, (N,) each but the total."""

    total: Tensor
    motion_bpp: Tensor
    residual_bpp: Tensor
    z_bpp: Tensor  # of motion
    busy_bpp: Tensor  # of the residual's classes
    offset_bpp: Tensor  # of the residual's offsets
    mse: Tensor
    predicted_mse: Tensor
    warped_mse: Tensor

    def values(self) -> dict[str, float]:
        """Means for the log."""
        return {name: float(getattr(self, name).detach().mean()) for name in self._fields[1:]}


def bits_of(out: LatentOutput) -> tuple[Tensor, Tensor]:
    """(N,) bits of y and of z."""
    y = coded_bits(out.y_residual.float(), out.y_scale, laplace_bits).sum((1, 2, 3))
    z = coded_bits(out.z_residual.float(), out.z_scale, laplace_bits).sum((1, 2, 3))
    return y, z


def frame_loss(x: Tensor, out: InterOutput, q: Tensor, *, predictions: bool = True, tune: Tune = "psnr") -> FrameLoss:
    """w (R + lambda D), mean over the batch. x: (N, 96, H/8, W/8); q: (N,).

    predictions: warp and prediction count too, to teach what makes them. Where gradients reach the frames
    before, they would reward references for being fine rather than useful. Where there is no residual, the
    prediction is what counts (lambda_m of the paper), and the decoded flow must also be near the estimated one.
    """
    pixels = x.shape[2] * x.shape[3] * 64
    target = to_half(x)
    motion_y, motion_z = (bits / pixels for bits in bits_of(out.motion))
    residual_y = busy = added = torch.zeros_like(motion_y)
    if out.residual is not None:
        of = out.residual
        residual_y, busy, added = of.bits / pixels, of.busy_bits / pixels, of.offset_bits / pixels
    warped, predicted = picture_error(target, out.warped), picture_error(target, out.predicted)
    mse = picture_error(target, out.x_hat)
    lmbda = lambda_of(q)
    weight = (lmbda / 0.015) ** -0.4  # relative gains count alike at every rate
    price = Z_PRICE[0] * (Z_PRICE[1] / Z_PRICE[0]) ** (q / 63)
    if out.residual is None:
        near = (out.flow_hat - out.flow.detach()).abs().mean((1, 2, 3))
        cost = motion_y + price * motion_z + lmbda.clamp_max(0.05) * (0.5 * warped + 0.5 * predicted) + 0.003 * near
    else:
        rate = motion_y + price * motion_z + residual_y + busy + added
        difference = distortion(target, out.x_hat, tune)
        if predictions:
            difference = difference + WARP_SHARE * warped + PREDICTION_SHARE * predicted
        cost = rate + lmbda * difference
    total = (weight * cost).mean()
    rates = (motion_y + motion_z, residual_y + busy + added, motion_z, busy, added)
    return FrameLoss(total, *rates, mse, predicted, warped)
