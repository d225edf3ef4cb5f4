"""What ffprobe says about a rich clip before and after it was an .ssv."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(
    shutil.which("ffmpeg") is None or shutil.which("ffprobe") is None, reason="ffmpeg or ffprobe is not installed"
)


@pytest.fixture(scope="module")
def fidelity() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "fidelity.py"
    spec = importlib.util.spec_from_file_location("fidelity", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["fidelity"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def clip(fidelity: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fidelity.make_clip(tmp_path_factory.mktemp("rich"))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_all_but_the_codec_comes_back(fidelity: ModuleType, clip: Path, ssvc: Callable[..., Any], suffix: str) -> None:
    source = clip if suffix == ".mp4" else fidelity.make_matroska(clip)

    def run(*arguments: str | Path) -> None:
        assert ssvc(*arguments).code == 0

    rows = fidelity.compare(source, ssvc=run)
    assert [row for row in rows if not row.is_kept and row.what not in fidelity.EXCEPTIONS] == []
    before = {row.what: row.before for row in rows}
    times = [int(time) for time in before["frame times, ms"].split()]
    assert len({b - a for a, b in pairwise(times)}) > 2  # the rate does vary
    assert before["pixel shape"] == "4:3"
    assert before["cover"] == "png, 32x32"
    assert before["chapters"].count(";") == 1
    assert before["language of sound"] == "deu"
