"""Group masks of several pictures that are computed together."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from ..nets.masking import BorderMask

__all__ = ["StackedMask"]


class StackedMask:
    """Border masks of some of N pictures of one size: each picture gets what it gets alone."""

    def __init__(self, masks: Mapping[int, BorderMask], n_positions: int) -> None:
        """masks: by number of the picture; the others have one group. n_positions: of a picture."""
        self.border = torch.cat([mask.border + k * n_positions for k, mask in masks.items()])  # (B,)
        self.neighbours = torch.cat([mask.neighbours + k * n_positions for k, mask in masks.items()])  # (B, 9)
        self.same_group = torch.cat([mask.same_group for mask in masks.values()])  # (B, 9)

    def convolve(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """See GroupMask and BorderMask. x: (N, C, H, W)."""
        out = F.conv2d(x, weight, bias, padding=1, groups=x.shape[1] // weight.shape[1])
        channels = x.shape[1]
        rows = x.permute(0, 2, 3, 1).reshape(-1, channels)
        taps = rows[self.neighbours] * self.same_group[:, :, None].to(x.dtype)
        if weight.shape[1] == 1:
            kernel = weight.reshape(channels, 9).t().to(x.dtype)
            corrected = (taps * kernel).sum(1, dtype=torch.float32)
        else:
            corrected = taps.float().flatten(1) @ weight.float().permute(2, 3, 1, 0).flatten(0, 2)
        flat = out.permute(0, 2, 3, 1).reshape(-1, out.shape[1])
        flat = flat.index_copy(0, self.border, (corrected + bias.float()).to(flat.dtype))
        return flat.reshape(x.shape[0], *x.shape[2:], out.shape[1]).permute(0, 3, 1, 2)
