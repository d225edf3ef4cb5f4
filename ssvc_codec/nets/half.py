"""Pictures of P frames at the resolutions at which they are worked on, and sizes of the networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .blocks import GroupMask
from .distortion import tune_of
from .intra import merge_planes

__all__ = ["InterConfig", "InterMasks", "Planes", "half_to_merged", "half_to_planes", "planes_to_half"]


@dataclass(frozen=True, slots=True)
class InterConfig:
    """Sizes of the P-frame networks."""

    n_motion: int = 32  # latents at 1/16: as many as a 16x16 block has vector components
    n_motion_z: int = 8
    motion_width: int = 64
    analysis_width: int = 96  # at 1/8
    refine_width: int = 24  # at 1/2
    refine_width8: int = 96  # at 1/8
    mend_width: int = 32  # at 1/2
    mend_layers: int = 2  # between the first and the last
    mend_width8: int = 128  # at 1/8, between the first and these
    merge: int = 1  # whether blocks may take their vectors from other places
    tune: str = "psnr"  # what encoders weigh cells by, see nets.distortion

    def to_dict(self) -> dict[str, int | str]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def of(cls, values: object) -> InterConfig:
        """That of a model's config.json. Raises TypeError."""
        if not isinstance(values, Mapping):
            raise TypeError("the sizes of the P-frame networks are no table")
        config = cls(**{"merge": 0, **values})
        tune_of(config.tune)
        return config


class Planes(NamedTuple):
    """A picture. y: (N, 1, H, W); uv: (N, 2, H/2, W/2); float32 in -0.5..0.5."""

    y: Tensor
    uv: Tensor


class InterMasks(NamedTuple):
    """The group mask at each resolution; None where there is one group."""

    at2: GroupMask | None = None
    at4: GroupMask | None = None
    at8: GroupMask | None = None
    at16: GroupMask | None = None
    at32: GroupMask | None = None  # training alone needs it


def half_to_planes(x: Tensor) -> Planes:
    """Planes of what to_half gives, clipped to the range of samples."""
    x = x.clamp(-0.5, 0.5)
    return Planes(F.pixel_shuffle(x[:, :4], 2), x[:, 4:])


def planes_to_half(planes: Planes) -> Tensor:
    """(N, 6, H/2, W/2) as nets.intra.to_half orders them."""
    return torch.cat([F.pixel_unshuffle(planes.y, 2), planes.uv], dim=1)


def half_to_merged(x: Tensor) -> Tensor:
    """(N, 6, H/2, W/2) to the channels of merge_planes, (N, 96, H/8, W/8)."""
    luma = F.pixel_shuffle(x[:, :4], 2)
    return merge_planes(luma, x[:, 4:5], x[:, 5:])
