"""Motion estimation: a pyramid of warping, cost volume and refinement, after PWC-Net (Sun et al. 2018).

Every level sees the pictures reduced so that one vector stands for 4x4 of its samples,
so all levels share their weights. The finest level gives one vector for 4x4 luma samples.

Flow is backward: the sample at (x, y) of the current picture was at (x + dx, y + dy) of
the reference. Channel 0 is dx, channel 1 dy.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import silu
from .lagrangian import LAMBDA_FIRST

__all__ = ["MotionEstimation", "smooth_flow", "upsample_flow", "warp"]

BLOCK = 4  # samples of a level for one vector, on each side
FEATURES = 24
LOCAL = 9  # samples whose mean descriptors leave out, on each side
FEATURE_RADIUS = 3  # of the cost volume on features, in vectors
PHOTO_RADIUS = 2  # of the cost volume on samples, in samples of the level
WIDTH = 64
LEAST_SIDE = 4  # vectors on the shorter side of the coarsest level
MAX_LEVELS = 6
SMOOTH_LEVELS = 4
SMOOTH_STEPS = 14  # at each level
# Bits for a difference of 1 sample between neighbouring vectors, and the difference, in samples, below which it counts
# squared; both at q 0, and changing with q as was measured best at q 13, 33 and 49 (docs/decisions/0006-p-frames.md).
SMOOTH_PRICE = 1.2
SMOOTH_KNEE = 1.6


def warp(
    x: Tensor,
    flow: Tensor,
    *,
    mode: Literal["bilinear", "bicubic"] = "bilinear",
    offset: tuple[int, int] = (0, 0),
) -> Tensor:
    """Samples x at the positions that flow points to; beyond the edge, the edge.

    x: (N, C, H, W); flow: (N, 2, h, w) in samples of x, h x w being H x W or a part whose first row and column
    are offset. Returns (N, C, h, w).
    """
    height, width = x.shape[2:]
    columns = torch.arange(offset[1], offset[1] + flow.shape[3], device=x.device, dtype=flow.dtype)
    rows = torch.arange(offset[0], offset[0] + flow.shape[2], device=x.device, dtype=flow.dtype)
    gx = (flow[:, 0] + columns) * (2 / max(width - 1, 1)) - 1
    gy = (flow[:, 1] + rows[:, None]) * (2 / max(height - 1, 1)) - 1
    grid = torch.stack([gx, gy], dim=-1)
    return F.grid_sample(x, grid, mode=mode, padding_mode="border", align_corners=True)


def upsample_flow(flow: Tensor, factor: int) -> Tensor:
    """Bilinear, vectors standing for the centres of blocks; their unit stays. (N, 2, H, W) -> factor times."""
    return F.interpolate(flow, scale_factor=factor, mode="bilinear", align_corners=False)


def _window(x: Tensor) -> Tensor:
    """Means over 8x8 samples around every 4x4 block: (N, C, 4h, 4w) -> (N, C, h, w)."""
    n, channels, height, width = x.shape
    halves = F.pixel_unshuffle(x, 2).view(n, channels, 4, height // 2, width // 2).mean(2)
    return _window_of_halves(halves)


def _window_of_halves(x: Tensor) -> Tensor:
    """As _window, from means of 2x2 samples: (N, C, 2h, 2w) -> (N, C, h, w)."""
    return _means(_means(x, 2, BLOCK, BLOCK // 2), 3, BLOCK, BLOCK // 2)


def _means(x: Tensor, dim: int, size: int, stride: int = 1) -> Tensor:
    """Means of size neighbours along dim, every stride of them, of those that exist at borders.

    They are avg_pool2d's, to the bit, in a fifth to a third of its time on a processor.
    """
    n, pad = x.shape[dim] // stride, (size - stride) // 2

    def sums(values: Tensor, dim: int) -> Tensor:
        padded = F.pad(values, (0, 0) * (values.dim() - 1 - dim) + (pad, pad))
        parts = [padded[(slice(None),) * dim + (slice(k, k + stride * (n - 1) + 1, stride),)] for k in range(size)]
        total = parts[0].clone()
        for part in parts[1:]:
            total += part
        return total

    counts = sums(x.new_ones(x.shape[dim]), 0)
    return sums(x, dim) / counts.view([-1] + [1] * (x.dim() - 1 - dim))


class _Features(nn.Module):
    """Descriptors of blocks, of unit length, so that a cost volume compares structure and not brightness."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(BLOCK**2, 2 * FEATURES, 3, padding=1)
        self.second = nn.Conv2d(2 * FEATURES, FEATURES, 3, padding=1)

    def forward(self, luma: Tensor) -> Tensor:
        """luma: (N, 1, 4h, 4w). Returns (N, FEATURES, h, w)."""
        local = luma - _means(_means(luma, 2, LOCAL), 3, LOCAL)
        patches = F.pixel_unshuffle(local, BLOCK)
        patches = patches / (patches.square().mean(1, keepdim=True) + 4e-4).sqrt()
        h = self.second(silu(self.first(patches.to(self.first.weight.dtype))))
        return F.normalize(h.float(), dim=1)


def cost_volume(current: Tensor, reference: Tensor, radius: int) -> Tensor:
    """Products of descriptors over all shifts. (N, C, h, w) each -> (N, (2 radius + 1)^2, h, w)."""
    _, _, height, width = current.shape
    padded = F.pad(reference, (radius,) * 4)
    shifts = [(dy, dx) for dy in range(2 * radius + 1) for dx in range(2 * radius + 1)]
    return torch.stack([(current * padded[:, :, y : y + height, x : x + width]).sum(1) for y, x in shifts], dim=1)


def _photo_costs(luma: Tensor, warped: Tensor) -> Tensor:
    """Squared differences of windows for shifts of few samples, relative to no shift: (N, 25, h, w).

    Samples are taken apart into the four of each 2x2 first: pooling as torch does it took most of the time.
    """
    r = PHOTO_RADIUS
    height, width = luma.shape[2:]
    padded = F.pad(warped, (r, r + 1, r, r + 1), mode="replicate")
    parity = [
        F.pixel_unshuffle(padded[:, :, y : y + height + 2 * r, x : x + width + 2 * r], 2)
        for y in (0, 1)
        for x in (0, 1)
    ]
    quarters = F.pixel_unshuffle(luma, 2)
    shifts = [(dy, dx) for dy in range(2 * r + 1) for dx in range(2 * r + 1)]
    squares: list[Tensor] = []
    for y, x in shifts:
        moved = parity[2 * (y % 2) + x % 2][:, :, y // 2 : y // 2 + height // 2, x // 2 : x // 2 + width // 2]
        squares.append((quarters - moved).square().mean(1, keepdim=True))
    costs = _window_of_halves(torch.cat(squares, dim=1))
    centre = len(shifts) // 2
    level = costs.mean(1, keepdim=True) + 1e-5
    others = [k for k in range(len(shifts)) if k != centre]
    return torch.cat([(costs[:, others] - costs[:, centre : centre + 1]) / level, level.log() * 0.2 + 1], dim=1)


def _least_squares(luma: Tensor, warped: Tensor) -> Tensor:
    """The displacement that best explains what is left, to first order (Lucas and Kanade 1981): (N, 2, h, w)."""
    padded = F.pad(warped, (1, 1, 1, 1), mode="replicate")
    gx = (padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]) / 2
    gy = (padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]) / 2
    e = luma - warped
    xx, xy, yy, xe, ye = _window(torch.cat([gx * gx, gx * gy, gy * gy, gx * e, gy * e], dim=1)).split(1, dim=1)
    damping = 4e-5 + 0.02 * (xx + yy)
    xx, yy = xx + damping, yy + damping
    determinant = xx * yy - xy * xy
    step = torch.cat([yy * xe - xy * ye, xx * ye - xy * xe], dim=1) / determinant
    return step.clamp(-1, 1)


class MotionEstimation(nn.Module):
    """Backward flow from a reference to the current picture, luma only, float32."""

    def __init__(self) -> None:
        super().__init__()
        self.features = _Features()
        shifts = (2 * FEATURE_RADIUS + 1) ** 2
        n_in = shifts + (2 * PHOTO_RADIUS + 1) ** 2 + FEATURES + 2 + 2
        self.first = nn.Conv2d(n_in, WIDTH, 3, padding=1)
        self.second = nn.Conv2d(WIDTH, WIDTH, 3, padding=1)
        self.third = nn.Conv2d(WIDTH, WIDTH // 2, 3, padding=1)
        self.last = nn.Conv2d(WIDTH // 2, 2, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # pyright: ignore[reportArgumentType]

    def _refine(self, luma: Tensor, reference: Tensor, flow: Tensor, features: Tensor | None = None) -> Tensor:
        """One step at one level.

        luma, reference: (N, 1, 4h, 4w); flow: (N, 2, h, w) in samples of the level; features: of luma.
        """
        warped = warp(reference, upsample_flow(flow, BLOCK))
        current: Tensor = self.features(luma) if features is None else features
        costs = cost_volume(current, self.features(warped), FEATURE_RADIUS)
        step = _least_squares(luma, warped)
        local = flow - F.avg_pool2d(flow, 5, 1, 2, count_include_pad=False)
        x = torch.cat([costs * 4, _photo_costs(luma, warped), current, step, local], dim=1)
        h = silu(self.third(silu(self.second(silu(self.first(x.to(self.first.weight.dtype)))))))
        return flow + 0.7 * step + self.last(h).float()

    def pyramid(self, luma: Tensor, reference: Tensor, *, finest: int = 0) -> list[Tensor]:
        """Flow at every level, coarse to fine, each (N, 2, h, w) in samples of its own level.

        luma, reference: (N, 1, H, W) in -0.5..0.5, sides multiples of 32. finest: the level to stop at, 0 for
        flow at 1/4, 1 for flow at 1/8.
        """
        pictures = [torch.cat([luma, reference])]
        while len(pictures) < MAX_LEVELS and min(pictures[-1].shape[2:]) >= 2 * LEAST_SIDE * BLOCK:
            pictures.append(_halve(pictures[-1]))
        flows: list[Tensor] = []
        for picture in reversed(pictures[finest:]):
            now, before = picture.chunk(2)
            size = (now.shape[2] // BLOCK, now.shape[3] // BLOCK)
            flow = 2 * _resize(flows[-1], size) if flows else now.new_zeros(now.shape[0], 2, *size)
            flows.append(self._refine(now, before, flow))
        return flows

    def search(self, luma: Tensor, reference: Tensor, *, finest: int = 0) -> Tensor:
        """The flow an encoder uses, (N, 2, H/4, W/4) in luma samples; float32, whatever autocast says.

        finest: 0 refines once more at 1/4, 1 stops at 1/8. More steps, and candidates from the flow of the frame
        before, warp better by up to 1 dB but cost as many bits as they save.
        """
        with torch.autocast(luma.device.type, enabled=False):
            luma, reference = luma.float(), reference.float()
            flow = self.pyramid(luma, reference, finest=finest)[-1]
            if finest:
                return 2 * _resize(flow, (luma.shape[2] // BLOCK, luma.shape[3] // BLOCK))
            return self._refine(luma, reference, flow)

    def forward(self, luma: Tensor, reference: Tensor) -> Tensor:
        """See search."""
        return self.search(luma, reference)


@torch.no_grad()
def smooth_flow(flow: Tensor, luma: Tensor, lmbda: Tensor, *, strength: float = 1.0) -> Tensor:
    """The flow that is worth coding: as smooth as the warp error it makes, weighed by lambda, allows.

    Minimises lambda (f - flow)' T (f - flow) + price |f - f_neighbour| over all blocks, T being the sum of the
    products of luma gradients in a block: flat parts and directions along edges take over the motion around them.
    Solved by reweighted Jacobi steps from coarse blocks to fine ones.
    flow: (N, 2, h, w); luma: (N, 1, 4h, 4w) in -0.5..0.5; lmbda: (N, 1, 1, 1) or (N, 1, h, w), see lambda_of;
    strength: multiplies the price.
    """
    padded = F.pad(luma, (1, 1, 1, 1), mode="replicate")
    gx = (padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]) * (255 / 2)
    gy = (padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]) * (255 / 2)
    tensor = F.avg_pool2d(torch.cat([gx * gx, gx * gy, gy * gy], dim=1), BLOCK) * (BLOCK**2 * lmbda)
    xx, xy, yy = tensor.split(1, dim=1)
    u, v = flow.split(1, dim=1)
    relative = (lmbda / LAMBDA_FIRST).expand(-1, -1, *flow.shape[2:])
    known = torch.cat([tensor, xx * u + xy * v, xy * u + yy * v, flow, relative.log()], dim=1)
    levels = [known]
    while len(levels) < SMOOTH_LEVELS and min(levels[-1].shape[2:]) >= 2 * LEAST_SIDE:
        levels.append(F.avg_pool2d(levels[-1], 2, ceil_mode=True, count_include_pad=False))
    result = levels[-1][:, 5:7]
    for number in reversed(range(len(levels))):
        level = levels[number]
        result = F.interpolate(result, size=level.shape[2:], mode="nearest")
        price = strength * SMOOTH_PRICE * (0.3 * level[:, 7:]).exp() / 2**number  # per edge; data are means, not sums
        knee = SMOOTH_KNEE * (-0.57 * level[:, 7:]).exp()
        result = _relax(result, level[:, :3], level[:, 3:5], price, knee)
    return result


def _relax(flow: Tensor, tensor: Tensor, data: Tensor, price: Tensor, knee: Tensor) -> Tensor:
    """Jacobi steps on (T + sum of weights) f = data + weighted neighbours, weights renewed at each."""
    xx, xy, yy = tensor.split(1, dim=1)
    floor = knee.square()
    for _ in range(SMOOTH_STEPS):
        g = F.pad(flow, (1, 1, 1, 1), mode="replicate")
        around = torch.stack([g[:, :, 1:-1, :-2], g[:, :, 1:-1, 2:], g[:, :, :-2, 1:-1], g[:, :, 2:, 1:-1]])
        distance = (around - flow).square_().sum(2, keepdim=True).add_(floor).rsqrt_()
        weights = distance.mul_(price)  # of |.|: edges of motion stay
        right = data + (weights * around).sum(0)
        total = weights.sum(0)
        a, d = xx + total, yy + total
        top = torch.cat([d * right[:, :1] - xy * right[:, 1:], a * right[:, 1:] - xy * right[:, :1]], dim=1)
        flow = top / (a * d - xy * xy)
    return flow


def _halve(x: Tensor) -> Tensor:
    """Half the size, sides padded to whole blocks by repeating the edge."""
    x = F.avg_pool2d(x, 2)
    missing = [-side % BLOCK for side in x.shape[2:]]
    return F.pad(x, (0, missing[1], 0, missing[0]), mode="replicate") if any(missing) else x


def _resize(flow: Tensor, size: tuple[int, int]) -> Tensor:
    """Twice as many vectors, the surplus of padding cut off."""
    return upsample_flow(flow, 2)[:, :, : size[0], : size[1]]
