"""The object parser's neck: context at strides 16 and 32, where classes are told apart.

A CSP-ELAN pyramid with a pooled summary of the whole picture at its coarsest level, as
in the light encoder of DEIMv2 (Huang 2025, arXiv 2509.20787), so that it can start from
that model's published weights.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Context", "CspUnit", "ElanUnit", "ParserNeck", "SiluUnit"]

CSP_WIDTH = 16  # channels of the bottlenecks


class Context(NamedTuple):
    """(N, width, H/16, W/16) and (N, width, H/32, W/32)."""

    fine: Tensor
    coarse: Tensor


class SiluUnit(nn.Module):
    """Convolution with a bias, SiLU."""

    def __init__(self, n_in: int, n_out: int, kernel: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(n_in, n_out, kernel, padding=kernel // 2)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_in", nonlinearity="relu")
        nn.init.zeros_(self.conv.bias)  # pyright: ignore[reportArgumentType]

    def forward(self, x: Tensor) -> Tensor:
        """(N, n_in, H, W) -> (N, n_out, H, W)."""
        return F.silu(self.conv(x))


class CspUnit(nn.Module):
    """Half of the channels through two 3x3 convolutions, added to the other half; a 3x3 follows."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.enter = SiluUnit(n_in, 2 * n_out)
        self.bottlenecks = nn.Sequential(SiluUnit(n_out, n_out, 3), SiluUnit(n_out, n_out, 3))
        self.leave = SiluUnit(n_out, n_out, 3)

    def forward(self, x: Tensor) -> Tensor:
        """(N, n_in, H, W) -> (N, n_out, H, W)."""
        kept, changed = self.enter(x).chunk(2, 1)
        return self.leave(kept + self.bottlenecks(changed))


class ElanUnit(nn.Module):
    """A row of CSP units, everything on the way aggregated."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.enter = SiluUnit(width, 2 * width)
        self.first = CspUnit(width, CSP_WIDTH)
        self.second = CspUnit(CSP_WIDTH, CSP_WIDTH)
        self.leave = SiluUnit(2 * width + 2 * CSP_WIDTH, width)

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, H, W) -> the same shape."""
        x = self.enter(x)
        first = self.first(x[:, x.shape[1] // 2 :])
        return self.leave(torch.cat([x, first, self.second(first)], 1))


class ParserNeck(nn.Module):
    """Stride 16 down to 32, a summary of all of it, and back."""

    def __init__(self, n_in: int, width: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(n_in, width, 1)
        self.down = SiluUnit(width, width)
        self.summary = SiluUnit(width, width)
        self.fine = ElanUnit(width)
        self.down_again = SiluUnit(width, width)
        self.coarse = ElanUnit(width)

    def forward(self, x: Tensor) -> Context:
        """x: (N, n_in, H/16, W/16), sides multiples of 2."""
        x = self.enter(x)
        coarse = self.down(F.avg_pool2d(x, 3, 2, 1))
        coarse = self.summary(coarse + coarse.mean((2, 3), keepdim=True))
        fine = self.fine(x + F.interpolate(coarse, scale_factor=2.0, mode="nearest"))
        return Context(fine, self.coarse(coarse + self.down_again(F.avg_pool2d(fine, 3, 2, 1))))
