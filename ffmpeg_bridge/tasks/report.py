"""What a run on a task leaves behind: TSV, plot, Markdown."""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ffmpeg_bridge.bench.folder import open_results
from ffmpeg_bridge.bench.plots import can_plot
from ffmpeg_bridge.bench.report import table
from ffmpeg_bridge.tasks.run import ReadingCache, TaskFailure, TaskRow, TaskRun
from ffmpeg_bridge.tasks.task import ORIGINAL, Task
from ssvc_codec.evaluation.bd_rate import BdRate, RatePoint
from ssvc_codec.evaluation.task_rate import RateAtEqual, pareto_front, rate_at_equal, task_bd_rate

__all__ = ["TaskComparison", "TaskFolder", "compare_ways"]


class TaskComparison(NamedTuple):
    """A way of reading ssvc against an anchor, by one metric."""

    metric: str
    way: str
    anchor: str
    anchor_way: str
    bd: BdRate
    front: int  # points of ssvc on the Pareto front
    anchor_front: int
    at_equal: tuple[tuple[float, RateAtEqual], ...]  # by quality point of ssvc: rate at equal metric


def compare_ways(rows: Sequence[TaskRow], task: Task, *, own: str) -> list[TaskComparison]:
    """Each pair of ways of the task, against every anchor, by every metric."""
    anchors = list(dict.fromkeys(row.codec for row in rows if row.codec not in (own, ORIGINAL)))
    comparisons: list[TaskComparison] = []
    for index, metric in enumerate(task.metrics):
        for way, anchor_way in task.pairs:
            test = _curve(rows, own, way, index)
            for name in anchors:
                anchor = [point for _, point in _curve(rows, name, anchor_way, index)]
                points = [point for _, point in test]
                if not (anchor and points):
                    continue
                at_equal = tuple((number, rate_at_equal(anchor, point)) for number, point in test)
                fronts = len(pareto_front(points)), len(pareto_front(anchor))
                bd = task_bd_rate(anchor, points)
                comparisons.append(TaskComparison(metric, way, name, anchor_way, bd, *fronts, at_equal))
    return comparisons


def _curve(rows: Sequence[TaskRow], codec: str, way: str, metric: int) -> list[tuple[float, RatePoint]]:
    chosen = [row for row in rows if (row.codec, row.way) == (codec, way) and row.n_bits]
    return [(row.point, RatePoint(row.bpp, row.scores[metric])) for row in chosen]


@dataclass(frozen=True)
class TaskFolder:
    """The folder that a run writes."""

    path: Path

    @property
    def report(self) -> Path:
        """The Markdown report."""
        return self.path / "report.md"

    def open(self, *, resume: bool, overwrite: bool) -> ReadingCache:
        """Makes the folder and gives its cache, emptied unless resume.

        Raises MediaError where it holds results and neither resume nor overwrite says what to do with them.
        """
        cache = ReadingCache(self.path / "cache")
        open_results(self.path, cache, resume=resume, overwrite=overwrite)
        return cache

    def write(self, run: TaskRun, *, missing: Mapping[str, str]) -> None:
        """Tables, plot and report. missing: anchors that could not be measured, and why. Raises MediaError."""
        rows = run.rows()
        comparisons = compare_ways(rows, run.task, own=run.own.name)
        (self.path / "results.tsv").write_text(_rows_tsv(rows, run.task))
        (self.path / "bd_rate.tsv").write_text(_comparisons_tsv(comparisons))
        if can_plot():
            _plot(self.path / "curves.png", rows, run.task, own=run.own.name)
        parts = [
            f"# {run.task.name}\n",
            "" if run.results.is_complete else "**The run was stopped: this is a part. `--resume` goes on.**\n",
            _setup(run, rows, missing),
            "## Results\n\n" + _rows_table(rows, run.task),
            "## Bits at equal metric\n\n" + _comparisons_table(comparisons),
            "![curves](curves.png)\n" if can_plot() else "No plot: `pip install ssvc[bench]` brings matplotlib.\n",
            _failures(run.results.failures),
        ]
        self.report.write_text("\n".join(part for part in parts if part))


def _setup(run: TaskRun, rows: Sequence[TaskRow], missing: Mapping[str, str]) -> str:
    own, settings = run.own, run.own.settings
    objects = own.detector.description if own.detector else "none"
    lines = [
        f"- {rows[0].n_items} items; key frames every {settings.keyint} frames; threads: {settings.threads or 'all'};"
        f" {platform.machine()}, Python {platform.python_version()}",
        f"- ssvc: {own.identity(own.points[0])[2]}, preset {own.preset}; objects: {objects}",
        *[f"- {codec.name}: {codec.version()}, `{codec.command()}`" for codec in run.anchors],
        *[f"- {name} is left out: {reason}" for name, reason in missing.items()],
        "- Bits are those of the packets, heads and substreams that were read; bpp divides them by the luma samples of"
        " all frames of the items, decoded or not. Seconds: ssvc inside the decoder, anchors as whole processes.",
        *[f"- {note}" for note in run.task.notes],
    ]
    return "## Set-up\n\n" + "\n".join(lines) + "\n"


def _failures(failures: Sequence[TaskFailure]) -> str:
    if not failures:
        return ""
    lines = [[f.item, f.codec, f"{f.point:g}", f.reason] for f in failures]
    return "## Failed, left out for all\n\n" + table(["item", "codec", "point", "why"], lines)


def _rows_tsv(rows: Sequence[TaskRow], task: Task) -> str:
    lines = ["\t".join(["codec", "way", "point", "n_items", "n_bits", "bpp", *task.metrics, "decode_seconds"])]
    for row in rows:
        cells = [row.codec, row.way, f"{row.point:g}", str(row.n_items), str(row.n_bits), f"{row.bpp:.6g}"]
        lines.append("\t".join([*cells, *[f"{s:.6g}" for s in row.scores], f"{row.decode_seconds:.3f}"]))
    return "\n".join(lines) + "\n"


def _rows_table(rows: Sequence[TaskRow], task: Task) -> str:
    lines = []
    for row in rows:
        point = "" if math.isnan(row.point) else f"{row.point:g}"
        scores = [f"{100 * score:.2f}" for score in row.scores]
        lines.append([row.codec, row.way, point, f"{row.bpp:.5f}", *scores, f"{row.decode_seconds:.2f}"])
    head = ["codec", "read", "point", "bpp", *[f"{metric}, %" for metric in task.metrics], "decode, s"]
    return table(head, lines)


def _comparisons_tsv(comparisons: Sequence[TaskComparison]) -> str:
    head = "metric way anchor anchor_way bd_rate overlap points anchor_points at_equal note"
    lines = [head.replace(" ", "\t")]
    for c in comparisons:
        at_equal = ",".join(f"{point:g}:{_equal(value)}" for point, value in c.at_equal)
        cells = [c.metric, c.way, c.anchor, c.anchor_way, f"{c.bd.percent:.2f}", f"{c.bd.overlap:.3f}"]
        lines.append("\t".join([*cells, str(c.front), str(c.anchor_front), at_equal, c.bd.reason]))
    return "\n".join(lines) + "\n"


def _comparisons_table(comparisons: Sequence[TaskComparison]) -> str:
    lines = []
    for c in comparisons:
        bd = "n/a" if math.isnan(c.bd.percent) else f"{c.bd.percent:+.1f}"
        equal = ", ".join(_equal(value) for _, value in c.at_equal)
        overlap, points = f"{100 * c.bd.overlap:.0f}", f"{c.front}, {c.anchor_front}"
        lines.append([c.metric, c.way, f"{c.anchor} {c.anchor_way}", bd, overlap, points, equal, c.bd.reason])
    head = ["metric", "ssvc", "against", "BD-rate %", "overlap %", "points used", "at equal metric %", "note"]
    text = "BD-rate over the Pareto fronts of both curves (points used: ssvc, anchor). At equal metric: each point of\n"
    text += (
        "ssvc against the anchor's rate for the same result; < the anchor never gets there, > its worst is better.\n"
    )
    return text + "\n" + table(head, lines)


def _equal(value: RateAtEqual) -> str:
    return "n/a" if math.isnan(value.percent) else f"{value.bound}{value.percent:+.0f}"


def _plot(path: Path, rows: Sequence[TaskRow], task: Task, *, own: str) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    n = len(task.metrics)
    figure, axes = plt.subplots(1, n, figsize=(6 * n, 5), constrained_layout=True, squeeze=False)
    for index, (ax, metric) in enumerate(zip(axes[0], task.metrics, strict=True)):
        for codec, way in dict.fromkeys((row.codec, row.way) for row in rows):
            curve = sorted((r for r in rows if (r.codec, r.way) == (codec, way)), key=lambda r: r.bpp)
            scores = [100 * row.scores[index] for row in curve]
            if codec == ORIGINAL:
                ax.axhline(scores[0], color="gray", linewidth=0.8, linestyle=":", label=f"{codec} {way}")
                continue
            style = {"linewidth": 2.2 if codec == own else 1.2, "marker": "o", "markersize": 3}
            ax.plot([row.bpp for row in curve], scores, label=f"{codec} {way}", **style)
        ax.set(xlabel="bits read per pixel", ylabel=f"{metric}, %", xscale="log")
        ax.grid(which="both", alpha=0.3)
        ax.legend(fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)
