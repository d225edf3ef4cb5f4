"""Crops of consecutive frames, and pairs of pictures with known motion between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import MediaError
from ..nets.intra import merge_planes
from ..nets.motion import warp
from .shards import Clip

__all__ = ["ClipSampler", "KnownMotion", "known_motion"]


@dataclass
class ClipSampler:
    """Random crops of consecutive frames from resident clips."""

    clips: list[Clip]
    device: str
    generator: torch.Generator

    def integer(self, high: int) -> int:
        """Uniform in 0..high - 1."""
        return int(torch.randint(high, (), generator=self.generator))

    def draw(self, n: int, n_frames: int, size: int) -> list[Tensor]:
        """n_frames tensors (n, 96, size/8, size/8) float32 in -0.5..0.5; size: a multiple of 32.

        A sixth of the samples takes every second frame, half run backwards, half are mirrored.
        """
        frames: list[list[tuple[Tensor, Tensor, Tensor]]] = [[] for _ in range(n_frames)]
        for _ in range(n):
            clip = self._clip(n_frames, size)
            length, height, width = clip.y.shape
            stride = 2 if length >= 2 * n_frames - 1 and self.integer(6) == 0 else 1
            first = self.integer(length - stride * (n_frames - 1))
            order = [first + stride * k for k in range(n_frames)]
            if self.integer(2):
                order.reverse()
            top = 2 * self.integer((height - size) // 2 + 1)
            left = 2 * self.integer((width - size) // 2 + 1)
            flip = self.integer(2) == 1
            half, t, s = size // 2, top // 2, left // 2
            for where, number in zip(frames, order, strict=True):
                crops = (
                    clip.y[number, top : top + size, left : left + size],
                    clip.u[number, t : t + half, s : s + half],
                    clip.v[number, t : t + half, s : s + half],
                )
                y, u, v = (crop.flip(-1) if flip else crop for crop in crops)
                where.append((y, u, v))
        return [_merge(samples) for samples in frames]

    def _clip(self, n_frames: int, size: int) -> Clip:
        for _ in range(1000):
            clip = self.clips[self.integer(len(self.clips))]
            length, height, width = clip.y.shape
            if length >= n_frames and min(height, width) >= size:
                return clip
        raise MediaError(f"no clip of {n_frames} frames, {size} samples on each side")


def _merge(samples: list[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    y, u, v = (torch.stack(planes)[:, None].float() / 255 - 0.5 for planes in zip(*samples, strict=True))
    return merge_planes(y, u, v).contiguous(memory_format=torch.channels_last)


class KnownMotion(NamedTuple):
    """current(x) = reference(x + flow(x)) wherever nothing is hidden. (N, 1, H, W) each, flow (N, 2, H, W)."""

    current: Tensor
    reference: Tensor
    flow: Tensor


def known_motion(luma: Tensor, generator: torch.Generator, *, most: float = 24.0) -> KnownMotion:
    """A moving foreground over a moving background, made of real pictures.

    luma: (2 N, 1, H, W) in -0.5..0.5: N backgrounds, then N foregrounds. most: largest shift in samples.
    """
    back, front = luma.chunk(2)
    n, _, height, width = back.shape
    shape = _blob(n, height, width, generator).to(back.device)
    flow_back = _smooth_flow(n, height, width, generator, most).to(back.device)
    flow_front = _smooth_flow(n, height, width, generator, most).to(back.device)
    moved = warp(shape, flow_front)
    current = torch.lerp(warp(back, flow_back, mode="bicubic"), warp(front, flow_front, mode="bicubic"), moved)
    reference = torch.lerp(back, front, shape)
    flow = torch.where(moved > 0.5, flow_front, flow_back)
    noise = torch.rand(n, 1, 1, 1, generator=generator).to(back.device) * 0.02
    shift = (torch.rand(n, 1, 1, 1, generator=generator).to(back.device) - 0.5) * 0.02
    reference = reference + torch.randn(reference.shape, generator=generator).to(back.device) * noise
    return KnownMotion((current + shift).clamp(-0.5, 0.5), reference.clamp(-0.5, 0.5), flow)


def _smooth_flow(n: int, height: int, width: int, generator: torch.Generator, most: float) -> Tensor:
    """Shift, rotation, zoom, and a smooth field; magnitudes spread over octaves."""

    def spread(low: float, high: float) -> Tensor:
        return low * (high / low) ** torch.rand(n, 1, 1, 1, generator=generator)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    shift = F.normalize(normal(n, 2, 1, 1), dim=1) * spread(0.1, most)
    rows = torch.linspace(-1, 1, height)[None, None, :, None].expand(n, 1, height, width)
    columns = torch.linspace(-1, 1, width)[None, None, None, :].expand(n, 1, height, width)
    a, b, c, d = (normal(n, 4, 1, 1) * spread(0.1, 0.12 * most)).split(1, dim=1)
    affine = torch.cat([a * columns + b * rows, c * columns + d * rows], dim=1)
    coarse = normal(n, 2, 3, 3) * spread(0.05, 0.1 * most)
    field = F.interpolate(coarse, size=(height, width), mode="bicubic", align_corners=False)
    return shift + affine + field


def _blob(n: int, height: int, width: int, generator: torch.Generator) -> Tensor:
    """(n, 1, H, W) in 0..1: smooth random shapes with edges of a few samples."""
    grids = torch.randn(n, 1, 4, 4, generator=generator)
    field = F.interpolate(grids, size=(height, width), mode="bicubic", align_corners=False)
    return torch.sigmoid((field - 0.4) * 40)
