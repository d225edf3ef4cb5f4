"""The example of docs/dataset.md runs and learns."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def example(repository: Path) -> ModuleType:
    path = repository / "examples" / "train_on_ssv.py"
    spec = importlib.util.spec_from_file_location("train_on_ssv", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_classifier_learns_from_flow_and_boxes(example: ModuleType, tmp_path: Path) -> None:
    for direction in ("left", "down"):
        (tmp_path / direction).mkdir()
        for k in range(3):
            example.make_clip(tmp_path / direction / f"{k}.ssv", direction, k, n_frames=6)
    files = [str(path) for path in sorted(tmp_path.glob("*/*.ssv"))]
    assert example.main([*files, "--epochs", "5"]) == 1.0
