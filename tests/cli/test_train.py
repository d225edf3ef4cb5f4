"""`ssvc train inter` from shards to a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from ssvc_codec.nets.inter import InterConfig, InterNet
from ssvc_codec.nets.intra import IntraConfig, IntraNet
from ssvc_codec.training.export import export_model
from ssvc_codec.training.shards import ShardWriter
from ssvc_codec.weights import load_model

if TYPE_CHECKING:
    from collections.abc import Callable

    from .conftest import Result

INTER = InterConfig(motion_width=16, refine_width8=16, mend_width=8)


@pytest.fixture
def arguments(tmp_path: Path, small_intra: IntraConfig) -> list[str]:
    """Two clips of noise that moves, and a model to start from."""
    random = np.random.default_rng(0)
    writer = ShardWriter(tmp_path / "data")
    for number in range(2):
        noise = random.integers(0, 256, (64, 80), np.uint8)
        frames = [np.roll(noise, t, axis=1)[:, :64] for t in range(5)]
        writer.add([(luma, luma[::2, ::2].copy(), luma[1::2, ::2].copy()) for luma in frames], f"noise{number}")
    writer.flush()
    torch.manual_seed(0)
    export_model(IntraNet(small_intra), InterNet(INTER), tmp_path / "start", name="small", about={})
    start = ["--init", str(tmp_path / "start"), "--crop", "64", "--batch", "1", "--device", "cpu"]
    return ["train", "inter", "--data", str(tmp_path / "data"), "--out", str(tmp_path / "run"), *start]


@pytest.mark.parametrize(
    "stage",
    [
        ["motion", "--learning-rate", "1e-4"],
        ["joint", "--frames", "2", "--mask-share", "1"],
        ["gop", "--frames", "2", "--intra-share", "0.1", "--seed", "7"],
    ],
    ids=lambda stage: stage[0],
)
def test_every_stage_trains_and_goes_on(
    ssvc: Callable[..., Result], arguments: list[str], tmp_path: Path, stage: list[str]
) -> None:
    result = ssvc(*arguments, "--stage", *stage, "--max-steps", "2")
    assert result.code == 0, result.stderr
    assert "validation: step=2 " in result.stderr
    model = load_model(str(tmp_path / "run" / "model"))
    assert set(model.config) >= {"intra", "inter"}
    result = ssvc(*arguments, "--stage", *stage, "--max-steps", "3", "--resume", "-q")
    assert (result.code, result.stderr) == (0, "")
    rows = (tmp_path / "run" / "validation.csv").read_text().splitlines()
    steps = [row.split(",")[rows[0].split(",").index("step")] for row in rows]
    assert steps[0] == "step"
    assert [float(step) for step in steps[1:]] == [2, 3]


def test_a_stage_goes_on_from_another_by_init_alone(ssvc: Callable[..., Result], arguments: list[str]) -> None:
    assert ssvc(*arguments, "--stage", "motion", "--max-steps", "1").code == 0
    result = ssvc(*arguments, "--stage", "joint", "--resume", "--max-steps", "2")
    assert result.code != 0
    assert "start from it with --init" in result.stderr
    assert result.stderr.count("\n") == 1


def test_training_without_shards_says_how_to_make_them(ssvc: Callable[..., Result], arguments: list[str]) -> None:
    arguments[3] = str(Path(arguments[3]).parent / "start" / "nothing")
    result = ssvc(*arguments, "--stage", "motion")
    assert result.code != 0
    assert "ssvc train pack" in result.stderr


@pytest.mark.parametrize("wrong", [[], ["--stage", "all"], ["--stage", "gop", "--crop", "32"]])
def test_wrong_options_are_wrong_usage(ssvc: Callable[..., Result], arguments: list[str], wrong: list[str]) -> None:
    assert ssvc(*arguments[:4], *wrong).code == 2
