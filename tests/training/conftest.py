"""Small networks, and clips to train them on."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from ssvc_codec.nets.inter import InterConfig, InterNet
from ssvc_codec.nets.intra import IntraConfig, IntraNet
from ssvc_codec.training.export import export_model
from ssvc_codec.training.shards import ShardWriter


class Small(NamedTuple):
    """Sizes of networks that a test can afford."""

    intra: IntraConfig
    inter: InterConfig


_INTER = InterConfig(
    n_motion_z=4,
    motion_width=16,
    analysis_width=16,
    refine_width=8,
    refine_width8=16,
    mend_width=8,
    mend_layers=1,
)


@pytest.fixture
def small(small_intra: IntraConfig) -> Small:
    return Small(small_intra, _INTER)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A shard of 4 clips of 6 frames of 64x96: waves that move by 2 samples a frame."""
    writer = ShardWriter(tmp_path / "data")
    for number in range(4):
        y, x = np.mgrid[:64, :96]
        frames = []
        for t in range(6):
            wave = 128 + 80 * np.sin((x - 2 * t) / (4 + number)) * np.cos((y + t) / 9)
            luma = wave.clip(0, 255).astype(np.uint8)
            frames.append((luma, luma[::2, ::2].copy(), 255 - luma[::2, ::2]))
        writer.add(frames, f"wave@{number}")
    writer.flush()
    return tmp_path / "data"


@pytest.fixture
def model(tmp_path: Path, small_intra: IntraConfig) -> str:
    """A folder with small fresh networks for I and P frames."""
    torch.manual_seed(0)
    export_model(IntraNet(small_intra), InterNet(_INTER), tmp_path / "m", name="small", about={})
    return str(tmp_path / "m")
