"""The table of benchmarks/ablations.py; nothing is trained here."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture(scope="module")
def table(repository: Path) -> ModuleType:
    path = repository / "benchmarks" / "ablation_table.py"
    spec = importlib.util.spec_from_file_location("ablation_table", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["ablation_table"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def row(table: ModuleType, variant: str, score: float, *, seed: int = 1, groups: float = math.nan) -> Any:
    question = "baseline" if variant == "baseline" else "context"
    return table.Row("intra", question, variant, seed, 150, 2_000_000, 90.0, score, groups)


def test_a_change_of_one_in_the_score_halves_or_doubles_the_cost(table: ModuleType) -> None:
    assert table.percent(-1.0) == "-50.0 %"
    assert table.percent(1.0) == "+100.0 %"
    assert table.percent(math.nan) == ""


@pytest.mark.parametrize(
    ("change", "expected"),
    [(-0.01, "inside the spread"), (0.02, "inside the spread"), (-0.03, "better"), (0.5, "worse")],
)
def test_what_seeds_do_as_well_is_no_difference(table: ModuleType, change: float, expected: str) -> None:
    assert table.verdict(change, 0.02) == expected


def test_one_seed_says_nothing_about_chance(table: ModuleType) -> None:
    assert math.isnan(table.spread([-1.0]))
    assert table.verdict(-0.5, table.spread([-1.0])) == ""
    assert table.spread([-1.0, -1.25, -1.125]) == 0.25


def test_variants_are_held_against_the_mean_of_the_baselines(table: ModuleType) -> None:
    rows = [row(table, "baseline", -1.0), row(table, "baseline", -1.5, seed=2), row(table, "no context", -0.25)]
    lines = table.markdown(rows).splitlines()
    assert "Baseline: 2 seeds, score -1.2500, largest less smallest 0.5000 (41.4 %)." in lines
    assert "| context | no context | 2.00 M | 90 | -0.2500 | +100.0 % | worse |  |" in lines


def test_runs_of_another_length_get_a_table_of_their_own(table: ModuleType) -> None:
    short, long = row(table, "baseline", -1.0), row(table, "baseline", -2.0)._replace(steps=600)
    text = table.markdown([short, long])
    assert "### I frames, 150 steps" in text
    assert "### I frames, 600 steps" in text


def test_rows_come_back_as_they_were_written(table: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "new" / "ablations.tsv"
    assert table.read_rows(path) == []
    rows = [row(table, "baseline", -1.125, groups=-1.0625), row(table, "no context", -0.5, groups=0.25)]
    for each in rows:
        table.append_row(path, each)
    assert table.read_rows(path) == rows
