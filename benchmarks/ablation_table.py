"""Rows of ablations.py, and the table they make."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

BASELINE = "baseline"


class Row(NamedTuple):
    """One run."""

    family: str
    question: str
    variant: str
    seed: int
    steps: int
    n_parameters: int
    step_ms: float  # of processor time
    score: float  # mean log2(R + lambda D): 0.01 less is 0.7 % less of both
    score_groups: float  # the same with two groups of cells; NaN where it was not measured


def read_rows(path: Path) -> list[Row]:
    """Rows of earlier runs; none where there is no file."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [
            Row(
                line["family"],
                line["question"],
                line["variant"],
                int(line["seed"]),
                int(line["steps"]),
                int(line["n_parameters"]),
                float(line["step_ms"]),
                float(line["score"]),
                float(line["score_groups"]),
            )
            for line in csv.DictReader(file, delimiter="\t")
        ]


def append_row(path: Path, row: Row) -> None:
    """Adds a row, and the header where the file is new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    is_new = not path.exists()
    with path.open("a") as file:
        if is_new:
            print(*Row._fields, sep="\t", file=file)
        print(*(f"{value:.6g}" if isinstance(value, float) else value for value in row), sep="\t", file=file)


def spread(values: Sequence[float]) -> float:
    """Largest less smallest; NaN of fewer than two."""
    return max(values) - min(values) if len(values) > 1 else math.nan


def verdict(change: float, noise: float) -> str:
    """What a change of the score says. noise: spread of the baseline over its seeds."""
    if math.isnan(change) or math.isnan(noise):
        return ""
    if abs(change) <= noise:
        return "inside the spread"
    return "better" if change < 0 else "worse"


def percent(change: float) -> str:
    """A change of log2 of the cost as a change of the cost."""
    return "" if math.isnan(change) else f"{100 * (2**change - 1):+.1f} %"


def markdown(rows: Sequence[Row]) -> str:
    """A table for each family: baselines first, every variant against their mean."""
    lines: list[str] = []
    for family, steps in dict.fromkeys((row.family, row.steps) for row in rows):
        own = [row for row in rows if (row.family, row.steps) == (family, steps)]
        lines += [*_family(family, steps, own), ""]
    return "\n".join(lines)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _family(family: str, steps: int, rows: Sequence[Row]) -> list[str]:
    base = [row for row in rows if row.question == BASELINE]
    scores, grouped_scores = [row.score for row in base], [row.score_groups for row in base]
    mean, grouped_mean, noise = _mean(scores), _mean(grouped_scores), spread(scores)
    title = "I frames" if family == "intra" else "P frames"
    scale = "unknown" if math.isnan(noise) else f"{noise:.4f} ({percent(noise)[1:]})"
    lines = [
        f"### {title}, {steps} steps",
        "",
        f"Baseline: {len(base)} seeds, score {mean:.4f}, largest less smallest {scale}.",
        "",
        "| question | variant | parameters | ms a step | score | cost | | with groups |",
        "|---" * 8 + "|",
    ]
    for row in sorted(rows, key=lambda row: (row.question != BASELINE, row.question)):
        change, grouped = row.score - mean, row.score_groups - grouped_mean
        is_base = row.question == BASELINE
        cells = [row.question, f"seed {row.seed}" if is_base else row.variant, f"{row.n_parameters / 1e6:.2f} M"]
        cells += [f"{row.step_ms:.0f}", f"{row.score:.4f}", percent(change)]
        cells += ["" if is_base else verdict(change, noise), percent(grouped)]
        lines.append("| " + " | ".join(cells) + " |")
    return lines
