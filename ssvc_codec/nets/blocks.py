"""Building blocks of every network: pointwise products, masked depthwise blocks, gains.

Only 3x3 convolutions mix neighbouring positions, and they ask a mask which of
them belong to the same group (docs/bitstream.md, section 4).
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["DepthwiseBlock", "GainTable", "GroupMask", "MaskedConv", "Pointwise", "pointwise", "round_ste", "silu"]

N_ANCHORS = 8
MAX_Q_INDEX = 63


class GroupMask(Protocol):
    """Which neighbours a depthwise convolution may see."""

    def convolve(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """3x3 convolution in which each tap counts only inside its own group.

        x: (N, C, H, W); weight: (C_out, C, 3, 3), or (C, 1, 3, 3) for a depthwise one;
        bias: (C_out,). Returns (N, C_out, H, W).
        """
        ...


def round_ste(x: Tensor) -> Tensor:
    """Rounds to the nearest integer; the gradient is that of the identity."""
    return x + (torch.round(x) - x).detach()


def silu(fresh: Tensor) -> Tensor:
    """x sigmoid(x) of a tensor that nothing else uses: in place where no gradient needs it."""
    return F.silu(fresh, inplace=not torch.is_grad_enabled())


def _add(fresh: Tensor, x: Tensor) -> Tensor:
    return fresh + x if torch.is_grad_enabled() else fresh.add_(x)


class Pointwise(nn.Module):
    """1x1 convolution. The weight is a matrix (out, in), as matrix optimisers want it."""

    def __init__(self, n_in: int, n_out: int, *, scale: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_out, n_in))
        self.bias = nn.Parameter(torch.zeros(n_out))
        nn.init.normal_(self.weight, std=scale / math.sqrt(n_in))

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, C_in, H, W). Returns (N, C_out, H, W)."""
        return pointwise(x, self.weight, self.bias)


def pointwise(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """1x1 convolution, by whichever of torch's routes is fast. weight: (out, in); bias: (out,).

    Measured on one thread for 8160 positions, 192 to 192 channels, float32: matrix product 8.5 ms
    (MKL on a processor that is not Intel's), convolution 2.5 ms with oneDNN; yet torch
    does not give oneDNN the convolution of a single picture on one thread.
    """
    if torch.is_grad_enabled() or torch.is_autocast_enabled(x.device.type):
        return F.conv2d(x, weight[:, :, None, None], bias)
    x = x.to(weight.dtype)
    if x.device.type == "cpu" and torch._C._get_mkldnn_enabled():
        return torch.ops.aten.mkldnn_convolution(x, weight[:, :, None, None], bias, [0, 0], [1, 1], [1, 1], 1)
    return F.linear(x.permute(0, 2, 3, 1), weight, bias).permute(0, 3, 1, 2)


class DepthwiseBlock(nn.Module):
    """Token mixing (1x1, 3x3 depthwise, 1x1) and a feed-forward pair, both residual."""

    def __init__(self, channels: int, *, expansion: int = 2) -> None:
        super().__init__()
        self.expand = Pointwise(channels, channels, scale=1.4)
        self.depthwise_weight = nn.Parameter(torch.randn(channels, 1, 3, 3) * 0.1)
        self.depthwise_bias = nn.Parameter(torch.zeros(channels))
        self.project = Pointwise(channels, channels, scale=0.3)
        self.feed = Pointwise(channels, expansion * channels, scale=1.4)
        self.merge = Pointwise(expansion * channels, channels, scale=0.3)
        with torch.no_grad():
            self.depthwise_weight[:, 0, 1, 1] += 0.7

    def forward(self, x: Tensor, mask: GroupMask | None = None) -> Tensor:
        """x: (N, C, H, W) -> the same shape. mask None: one group, an ordinary convolution."""
        h = silu(self.expand(x))
        if mask is None:
            h = F.conv2d(h, self.depthwise_weight, self.depthwise_bias, padding=1, groups=h.shape[1])
        else:
            h = mask.convolve(h, self.depthwise_weight, self.depthwise_bias)
        x = _add(self.project(h), x)
        return _add(self.merge(silu(self.feed(x))), x)


class MaskedConv(nn.Module):
    """3x3 convolution over all channels in which each tap counts only inside its own group."""

    def __init__(self, n_in: int, n_out: int, *, scale: float = 1.4) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n_out, n_in, 3, 3) * scale / (9 * n_in) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(n_out))

    def forward(self, x: Tensor, mask: GroupMask | None) -> Tensor:
        """x: (N, C_in, H, W). Returns (N, C_out, H, W)."""
        if mask is None:
            return F.conv2d(x, self.weight, self.bias, padding=1)
        return mask.convolve(x, self.weight, self.bias)


class GainTable(nn.Module):
    """Positive per-channel factors for every q_index, log-interpolated between 8 anchors.

    After Cui et al. 2021 (gain units); 64 free vectors starve on small budgets.
    """

    def __init__(self, channels: int, *, first: float = 1.0, last: float = 1.0) -> None:
        super().__init__()
        log_gain = torch.linspace(math.log(first), math.log(last), N_ANCHORS)
        self.log_gain = nn.Parameter(log_gain[:, None].repeat(1, channels))

    def log(self, q: Tensor) -> Tensor:
        """q: (N,) in 0..63, may be fractional. Returns (N, C): logarithms of the gains."""
        position = q.float() * ((N_ANCHORS - 1) / MAX_Q_INDEX)
        low = position.floor().clamp(0, N_ANCHORS - 2).long()
        return torch.lerp(self.log_gain[low], self.log_gain[low + 1], (position - low)[:, None])

    def forward(self, q: Tensor, size: tuple[int, int] = (1, 1)) -> Tensor:
        """q: (N,), or (N, rows, columns) for a q_index of its own in every cell.

        Returns (N, C, 1, 1), or (N, C, *size) where size is a multiple of the cells.
        """
        if q.ndim == 1:
            return self.log(q).exp()[:, :, None, None]
        n, rows, columns = q.shape
        gain = self.log(q.reshape(-1)).exp().view(n, rows, columns, -1).permute(0, 3, 1, 2)
        return gain.repeat_interleave(size[0] // rows, 2).repeat_interleave(size[1] // columns, 3)

    def multiply(self, x: Tensor, q: Tensor) -> Tensor:
        """x: (N, C, H, W) times the gains at q, in the type of x."""
        return x * self(q, (x.shape[2], x.shape[3])).to(x.dtype)

    @torch.no_grad()
    def table(self) -> Tensor:
        """(64, C) float32: the gains of every q_index."""
        return self.log(torch.arange(MAX_Q_INDEX + 1, device=self.log_gain.device)).exp()
