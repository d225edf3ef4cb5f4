"""Group masks: who may see whom in a depthwise convolution."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["BorderMask", "TwoGroupMask"]


class TwoGroupMask:
    """Two groups by a binary map: what training uses (two dense convolutions)."""

    def __init__(self, inside: Tensor) -> None:
        """inside: (N, 1, H, W), 0 or 1."""
        self.inside = inside

    def convolve(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """See GroupMask."""
        inside = self.inside.to(x.dtype)
        outside = 1 - inside
        groups = x.shape[1] // weight.shape[1]
        a = F.conv2d(x * inside, weight, bias, padding=1, groups=groups)
        b = F.conv2d(x * outside, weight, bias, padding=1, groups=groups)
        return a * inside + b * outside


class BorderMask:
    """Any number of groups: an ordinary convolution, corrected beside the borders only."""

    def __init__(self, groups: Tensor) -> None:
        """groups: (H, W) integer map at the resolution of the features."""
        height, width = groups.shape
        padded = F.pad(groups.long(), (1, 1, 1, 1), value=-1)
        taps = [padded[dy : dy + height, dx : dx + width] for dy in range(3) for dx in range(3)]
        foreign = torch.stack([tap != groups for tap in taps], dim=-1)  # (H, W, 9)
        outside = torch.stack([tap == -1 for tap in taps], dim=-1)
        border = (foreign & ~outside).any(-1).flatten().nonzero()[:, 0]
        rows, columns = border // width, border % width
        steps = torch.arange(9, device=groups.device)
        neighbour_rows = (rows[:, None] + steps // 3 - 1).clamp(0, height - 1)
        neighbour_columns = (columns[:, None] + steps % 3 - 1).clamp(0, width - 1)
        self.border = border  # (B,)
        self.neighbours = neighbour_rows * width + neighbour_columns  # (B, 9)
        self.same_group = ~foreign.flatten(0, 1)[border]  # (B, 9)

    def convolve(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """See GroupMask. x has N = 1."""
        out = F.conv2d(x, weight, bias, padding=1, groups=x.shape[1] // weight.shape[1])
        if self.border.numel() == 0:
            return out
        channels = x.shape[1]
        rows = x.permute(0, 2, 3, 1).reshape(-1, channels)  # a view when channels_last
        taps = rows[self.neighbours] * self.same_group[:, :, None].to(x.dtype)
        if weight.shape[:2] == (channels, 1):
            kernel = weight.reshape(channels, 9).t().to(x.dtype)
            corrected = (taps * kernel).sum(1, dtype=torch.float32)
        else:
            corrected = taps.float().flatten(1) @ weight.float().permute(2, 3, 1, 0).flatten(0, 2)
        flat = out.permute(0, 2, 3, 1).reshape(-1, out.shape[1])
        flat = flat.index_copy(0, self.border, (corrected + bias.float()).to(flat.dtype))
        return flat.reshape(1, *x.shape[2:], out.shape[1]).permute(0, 3, 1, 2)
