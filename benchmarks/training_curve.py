"""Cost of held-out pictures against minutes of training, from the validation logs in docs/training.

    python benchmarks/training_curve.py --out docs/images/training.png

I frames: runs 4 and intra 5; P frames: joint 5 and 6; in blocks (decisions/0011, 0012): joint 7, 8 and 10
(docs/training-log.md). Joint 11 is not here: its score counts more.
The cost R + lambda D of the last row is 100 %, of P frames that in blocks.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

LOGS = Path(__file__).parent.parent / "docs" / "training"
# Minutes before the first row of a log, of all runs that led to it.
RUNS = {
    "I frames": (("2026-11-21-run4-validation.csv", 46.0), ("2026-11-21-intra5-validation.csv", 82.0)),
    "P frames": (("2026-11-21-joint5-validation.csv", 103.0), ("2026-11-21-joint6-validation.csv", 127.0)),
    "P frames in blocks": (
        ("2026-11-21-joint7-validation.csv", 175.0),
        ("2026-11-21-joint8-validation.csv", 223.0),
        ("2026-11-21-joint10-validation.csv", 236.0),
    ),
}


def points(runs: tuple[tuple[str, float], ...]) -> tuple[list[float], list[float]]:
    """Minutes, and score: the mean log2 of the cost."""
    minutes: list[float] = []
    scores: list[float] = []
    for name, before in runs:
        with (LOGS / name).open() as source:
            for row in csv.DictReader(source):
                minutes.append(before + float(row["minutes"]))
                scores.append(float(row["score"]))
    return minutes, scores


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    figure, axes = plt.subplots(figsize=(6, 3.2), layout="constrained")
    for label, runs in RUNS.items():
        minutes, scores = points(runs)
        least = points(RUNS["P frames in blocks"])[1][-1] if label.startswith("P") else scores[-1]
        cost = [100 * 2 ** (score - least) for score in scores]
        axes.plot(minutes, cost, marker="o", label=label)
        print(label, *(f"{m:.0f} min {c:.1f} %" for m, c in zip(minutes, cost, strict=True)), sep="; ")
    axes.set_xlabel("minutes of training, one CPU thread or two")
    axes.set_ylabel("R + λ D of held-out pictures, % of now")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(options.out, dpi=120)


if __name__ == "__main__":
    main()
