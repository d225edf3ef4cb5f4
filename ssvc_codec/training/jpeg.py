"""Pictures as if they had been stored as JPEG before: what most data sets of frames are.

The transform and rounding of ITU-T T.81 with the tables of its Annex K; no bytes are written.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..nets.cosines import cosines
from ..nets.intra import merge_planes

__all__ = ["through_jpeg"]

SIDE = 8
LUMA = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
CHROMA = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)
FULL = (219 / 255, 224 / 255)  # limited range over full range, of luma and chroma


@torch.no_grad()
def through_jpeg(x: Tensor, quality: Tensor) -> Tensor:
    """Merged planes (N, 96, H/8, W/8) in -0.5..0.5 of limited range, after JPEG of full range; blocks begin at 0, 0.

    quality: (N,) 1..100 as libjpeg has it. Sides that are no multiple of 16 would need a border: H and W are such.
    """
    scale = torch.where(quality < 50, 5000 / quality, 200 - 2 * quality)
    planes = (F.pixel_shuffle(x[:, :64], 8), F.pixel_shuffle(x[:, 64:80], 4), F.pixel_shuffle(x[:, 80:], 4))
    found = [
        _stored(plane * 255 / FULL[number > 0], LUMA if number == 0 else CHROMA, scale) * FULL[number > 0]
        for number, plane in enumerate(planes)
    ]
    # Samples of -0.5..0.5 are 0..255 less 127.5; luma's black is 16, and so is the centre of full range moved.
    y, u, v = (((plane + 127.5).round().clamp(0, 255) - 127.5) / 255 for plane in found)
    return merge_planes(y, u, v).to(memory_format=torch.channels_last)


def _stored(plane: Tensor, table: tuple[tuple[int, ...], ...], scale: Tensor) -> Tensor:
    """A plane (N, 1, H, W) of values around 0, its 8x8 cosines rounded to steps of a table."""
    basis = torch.kron(cosines(SIDE), cosines(SIDE)).view(SIDE**2, 1, SIDE, SIDE).to(plane.device)
    steps = torch.tensor(table, dtype=torch.float32, device=plane.device).flatten()[None] * scale[:, None]
    steps = ((steps + 50) / 100).floor().clamp(1, 255)[:, :, None, None]
    values = F.conv2d(plane, basis, stride=SIDE)
    values = (values / steps).round() * steps
    return F.conv_transpose2d(values, basis, stride=SIDE).round()
