"""What a decoder gives before synthesis: latents as features, and reduced pictures made from them."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

__all__ = ["LATENT_STRIDE", "Latents", "ReducedPicture"]

LATENT_STRIDE = 16  # luma samples from one position to the next


@dataclass(frozen=True, slots=True)
class Latents:
    """Dequantised latents (y_hat) of one frame.

    values: (C_y, H/16, W/16) float32, both sides rounded up to whole cells of 32 luma samples (2 positions); NaN
    where nothing was decoded. Position (i, j) codes luma samples 16 i .. 16 i + 15 and 16 j .. 16 j + 15. In model
    `base` C_y is 384 for I frames and 32 for motion. Units are the network's own, not quantiser steps, so that they
    mean the same at every q. groups: (H/16, W/16) group of each position, 0 for the background.
    """

    values: NDArray[np.float32]
    groups: NDArray[np.uint16]
    width: int  # of the picture, in luma pixels
    height: int
    pts: int | None = None
    duration: int = 0  # in units of time_base; 0 where unknown
    time_base: Fraction = Fraction(1, 25)
    frame_number: int = 0  # frames since the key frame, modulo 2^16

    @property
    def known(self) -> NDArray[np.bool_]:
        """(H/16, W/16) positions that were decoded."""
        return ~np.isnan(self.values[0])

    def of_box(self, x: float, y: float, width: float, height: float) -> NDArray[np.float32]:
        """The positions that a box in luma pixels touches, (C_y, rows, columns): a view, at least 1x1.

        Raises ValueError where the box is outside of the picture.
        """
        if x >= self.width or y >= self.height or x + width <= 0 or y + height <= 0:
            raise ValueError(f"box {width}x{height}+{x}+{y} is outside the {self.width}x{self.height} picture")
        top, left = max(int(y) // LATENT_STRIDE, 0), max(int(x) // LATENT_STRIDE, 0)
        bottom, right = -int(-(y + height) // LATENT_STRIDE), -int(-(x + width) // LATENT_STRIDE)
        return self.values[:, top : max(bottom, top + 1), left : max(right, left + 1)]


@dataclass(frozen=True, slots=True)
class ReducedPicture:
    """A picture at 1/scale, made without the synthesis network.

    values: (3, ceil(height / scale), ceil(width / scale)) float32, Y, U and V as means over scale x scale luma
    pixels, in code values of the stream's bit depth, neither rounded nor clipped; NaN where nothing was decoded.
    """

    values: NDArray[np.float32]
    width: int  # of the full picture, in luma pixels
    height: int
    scale: int  # 2, 4, 8 or 16
