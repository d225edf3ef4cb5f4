"""What a picture shows where nothing was decoded."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..frame import VideoFormat
from ..nets.inter import Planes, half_to_planes, planes_to_half
from .extension import extend
from .maps import cell_mask

__all__ = ["Fill", "Filler"]

Fill = Literal["gray", "black", "blur", "hold"]
PER_CELL = 16  # positions of a cell's side in a picture at 1/2
BLUR_STEP = 8  # positions at 1/2 that the finest level of a blur averages, on each side


class Filler:
    """Fills the cells that were not decoded. Of one stream: `hold` remembers."""

    def __init__(self, kind: Fill) -> None:
        """kind: gray; black; blur, what is around, smoothed; hold, what was last decoded there, else what is nearest.

        Raises ValueError for others.
        """
        if kind not in get_args(Fill):
            raise ValueError(f"fill {kind!r}: {', '.join(get_args(Fill))} are possible")
        self.kind: Fill = kind
        self._held: tuple[Tensor, NDArray[np.bool_]] | None = None

    @torch.inference_mode()
    def __call__(self, picture: Tensor, shown: NDArray[np.bool_], video: VideoFormat) -> Tensor:
        """picture: (1, 6, H/2, W/2) in -0.5..0.5; shown: (rows, columns), the cells that were decoded."""
        if self.kind == "hold":
            return self._hold(picture, shown)
        if shown.all():
            return picture
        mask = cell_mask(shown, PER_CELL, str(picture.device))
        if self.kind == "blur" and shown.any():
            return torch.where(mask > 0, picture, _smooth(picture, mask))
        return torch.where(mask > 0, picture, self._colour(video).to(picture.device))

    def _colour(self, video: VideoFormat) -> Tensor:
        """(1, 6, 1, 1)."""
        colour = torch.zeros(1, 6, 1, 1)
        if self.kind == "black":
            black = 0 if video.color.full_range else 16 << (video.bit_depth - 8)
            colour[:, :4] = black / (2**video.bit_depth - 1) - 0.5
        return colour

    def _hold(self, picture: Tensor, shown: NDArray[np.bool_]) -> Tensor:
        known = shown
        if self._held is not None and self._held[0].shape == picture.shape and not shown.all():
            mask = cell_mask(shown, PER_CELL, str(picture.device))
            picture = torch.where(mask > 0, picture, self._held[0])
            known = shown | self._held[1]
        elif not shown.all():
            picture = picture * cell_mask(shown, PER_CELL, str(picture.device))
        self._held = (picture, known)
        y, uv = half_to_planes(picture)
        return planes_to_half(Planes(extend(y, known, per_cell=2 * PER_CELL), extend(uv, known, per_cell=PER_CELL)))


def _smooth(picture: Tensor, mask: Tensor) -> Tensor:
    """What is around the mask's zeros, the smoother the farther (push and pull, Gortler et al. 1996)."""
    weight = F.avg_pool2d(mask, BLUR_STEP)
    levels = [(F.avg_pool2d(picture * mask, BLUR_STEP), weight)]
    while max(levels[-1][1].shape[2:]) > 1 and not bool((levels[-1][1] > 0).all()):
        sums, weight = (F.avg_pool2d(part, 2, ceil_mode=True, count_include_pad=False) for part in levels[-1])
        levels.append((sums, weight))
    sums, weight = levels.pop()
    smooth = sums / weight.clamp_min(1e-6)
    for sums, weight in reversed(levels):
        around = F.interpolate(smooth, scale_factor=2, mode="bilinear")[:, :, : sums.shape[2], : sums.shape[3]]
        smooth = sums + (1 - weight.clamp_max(1)) * around
    luma, chroma = smooth[:, :4].mean(1, keepdim=True), smooth[:, 4:]
    even = torch.cat([luma.expand(-1, 4, -1, -1), chroma], dim=1)
    return F.interpolate(even, scale_factor=BLUR_STEP, mode="bilinear")
