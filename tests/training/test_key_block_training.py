"""Training of what codes I frames in blocks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from ssvc_codec.errors import ModelError
from ssvc_codec.nets.intra import IntraNet, Masks
from ssvc_codec.training.export import export_model, import_intra
from ssvc_codec.training.intra import TrainOptions
from ssvc_codec.training.key_blocks import KeyBlockTrainer
from ssvc_codec.weights import load_model


def options(data: Path, out: Path, model: str) -> TrainOptions:
    return TrainOptions(data=data, out=out, init=model, crop=64, batch=2, device="cpu", learning_rate=2e-3)


def test_blocks_learn_and_everything_else_stays(data: Path, tmp_path: Path, model: str) -> None:
    trainer = KeyBlockTrainer(options(data, tmp_path / "run", model))
    before = {name: p.detach().clone() for name, p in trainer.net.named_parameters()}
    x, q = trainer.sampler.draw(4, 64), torch.full((4,), 50.0)

    def loss() -> float:
        trainer.generator.manual_seed(1)
        with torch.no_grad():
            return float(trainer.loss(x, q, Masks())[0])

    first = loss()
    for _ in range(60):
        trainer.step(0.1)
    assert loss() < 0.9 * first
    changed = {name for name, p in trainer.net.named_parameters() if not torch.equal(p, before[name])}
    assert changed
    assert all(name.startswith("blocks.") for name in changed)


def test_a_trained_model_keeps_its_blocks(data: Path, tmp_path: Path, model: str) -> None:
    trainer = KeyBlockTrainer(options(data, tmp_path / "run", model))
    for _ in range(3):
        trainer.step(0.1)
    row = trainer.validate()
    assert row["step"] == 3
    again = import_intra(load_model(str(tmp_path / "run" / "model")))
    assert again.blocks is not None
    gains = trainer.ema.values["blocks.y_gain.log_gain"]
    torch.testing.assert_close(again.blocks.y_gain.log_gain.detach(), gains)
    torch.manual_seed(0)
    q = torch.tensor([40.0])
    x = trainer.sampler.draw(1, 64)
    trainer.ema.copy_to(trainer.net)
    assert trainer.net.blocks is not None
    expected, found = trainer.net.blocks(x, q), again.blocks(x, q)
    torch.testing.assert_close(found.bits, expected.bits, rtol=0.01, atol=1.0)  # heads are rounded to integers


def test_a_model_without_blocks_has_nothing_to_train(data: Path, tmp_path: Path, small: Any) -> None:

    export_model(IntraNet(replace(small.intra, blocks=0)), None, tmp_path / "none", name="none", about={})
    with pytest.raises(ModelError, match="blocks"):
        KeyBlockTrainer(options(data, tmp_path / "run", str(tmp_path / "none")))
