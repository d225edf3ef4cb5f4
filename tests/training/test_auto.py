"""Unattended training: which stage comes next, and that better weights are never lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from ssvc_codec.errors import ModelError
from ssvc_codec.nets.inter import InterNet
from ssvc_codec.nets.intra import IntraNet
from ssvc_codec.training import auto
from ssvc_codec.training.auto import LEARNING_RATES, AutoOptions, AutoTrainer, Slice, next_stage
from ssvc_codec.training.export import export_model
from ssvc_codec.training.real_validation import code_groups
from ssvc_codec.training.shards import read_shards


def slice_of(stage, before, after, *, share=1.0, minutes=10.0):
    return Slice(stage, minutes, share * LEARNING_RATES[stage], before, after, seed=1)


def test_every_stage_is_tried_once():
    assert next_stage([]) == ("intra", 1.0)
    assert next_stage([slice_of("intra", 0.0, 0.1)]) == ("joint", 1.0)


def test_the_stage_that_gained_most_a_minute_goes_on_at_its_rate():
    slices = [slice_of("intra", 1.0, 0.9), slice_of("joint", 0.9, 0.7, minutes=40.0)]
    assert next_stage(slices) == ("intra", 1.0)
    assert next_stage([*slices, slice_of("intra", 0.7, 0.69)]) == ("joint", 1.0)


def test_a_stage_that_lost_comes_back_at_a_quarter_of_its_rate_and_with_less_hope():
    slices = [slice_of("intra", 1.0, 0.8), slice_of("joint", 0.8, 0.65), slice_of("intra", 0.65, 0.75)]
    assert next_stage(slices) == ("joint", 1.0)
    slices = [slice_of("intra", 1.0, 0.8), slice_of("joint", 0.8, 0.75), slice_of("intra", 0.75, 0.8)]
    assert next_stage(slices) == ("intra", 0.25)


@pytest.fixture
def trainer(data: Path, model: str, small: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AutoTrainer:
    """Two slices of the shortest kind, their learning left to the tests."""

    def untrained(self: AutoTrainer, folder: Path, *_rest: object) -> None:
        torch.manual_seed(len(self.ledger.slices) + 1)
        export_model(IntraNet(small.intra), InterNet(small.inter), folder / "model", name="small", about={})

    monkeypatch.setattr(AutoTrainer, "_train_intra", untrained)
    monkeypatch.setattr(AutoTrainer, "_train_inter", untrained)
    monkeypatch.setattr(AutoTrainer, "_judge", lambda self, folder: {"score": scores[folder.name == "best"].pop(0)})
    scores = {True: [1.0], False: [0.9, 0.95, 0.8]}
    return AutoTrainer(AutoOptions(stills=data, clips=data, out=tmp_path / "out", init=model))


def weights(folder: Path) -> bytes:
    return (folder / "weights.safetensors").read_bytes()


def test_better_weights_are_kept_and_worse_thrown_away(trainer: AutoTrainer, model: str):
    assert weights(trainer.best) == weights(Path(model))
    assert trainer._slice(0.0, print).is_kept
    better = weights(trainer.best)
    assert better != weights(Path(model))
    assert not trainer._slice(0.0, print).is_kept
    assert weights(trainer.best) == better
    assert trainer.ledger.score == 0.9


def test_another_run_goes_on_from_the_ledger(trainer: AutoTrainer):
    trainer._slice(0.0, print)
    again = AutoTrainer(trainer.options)
    assert again.ledger == trainer.ledger
    assert [entry["stage"] for entry in json.loads((trainer.options.out / "auto.json").read_text())["slices"]] == [
        "intra"
    ]


def test_a_folder_tuned_for_something_else_is_refused(trainer: AutoTrainer):
    options = AutoOptions(**{**vars_of(trainer.options), "tune": "ms-ssim"})
    with pytest.raises(ModelError, match="tuned for psnr"):
        AutoTrainer(options)


def vars_of(options: AutoOptions) -> dict[str, object]:
    return {name: getattr(options, name) for name in options.__dataclass_fields__}


def test_real_slices_of_both_stages_end_with_a_model_that_codes(
    data: Path, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(auto, "CROP", 64)
    options = AutoOptions(stills=data, clips=data, out=tmp_path / "out", init=model, device="cpu", minutes=0.0)
    trainer = AutoTrainer(options)
    monkeypatch.setattr("ssvc_codec.training.intra.IntraTrainer.step", lambda self, progress: {"loss": 0.0})
    done = [trainer._slice(1e-6, print) for _ in range(2)]
    assert [s.stage for s in done] == ["intra", "joint"]
    row = code_groups(str(trainer.best), list(read_shards(data))[:1], tune="psnr", device="cpu")
    assert row["score"] == pytest.approx(trainer.ledger.score, abs=1e-6)
    assert row["bpp50"] > 0
