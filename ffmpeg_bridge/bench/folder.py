"""The folder that a run writes: tables, report, plots, cache and coded files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ffmpeg_bridge.bench.codec import Settings
from ffmpeg_bridge.bench.comparisons import Pair, compare, write_comparisons
from ffmpeg_bridge.bench.plots import can_plot, plot_clip
from ffmpeg_bridge.bench.registry import Choice
from ffmpeg_bridge.bench.report import About, render_report
from ffmpeg_bridge.bench.results import RowCache, write_rows
from ffmpeg_bridge.bench.run import Results
from ssvc_codec.errors import MediaError

__all__ = ["ResultFolder", "open_results"]

_NO_PLOTS = "matplotlib is not installed: `pip install ssvc[bench]` brings it, and a run with --resume draws the plots."


class _Cache(Protocol):
    """What was measured before."""

    def clear(self) -> None: ...


def open_results(folder: Path, cache: _Cache, *, resume: bool, overwrite: bool) -> None:
    """Makes a folder for results; empties its cache unless resume.

    Raises MediaError where it holds results and neither resume nor overwrite says what to do with them.
    """
    if folder.exists() and not folder.is_dir():
        raise MediaError(f"{folder}: this is a file, not a folder")
    is_used = (folder / "results.tsv").exists() or (folder / "cache").exists()
    if is_used and not (resume or overwrite):
        raise MediaError(f"{folder} holds results: --resume goes on with them, -y measures anew")
    if not resume:
        cache.clear()
    folder.mkdir(parents=True, exist_ok=True)


@dataclass(frozen=True)
class ResultFolder:
    """What a run leaves behind."""

    path: Path

    @property
    def report(self) -> Path:
        """The Markdown report."""
        return self.path / "report.md"

    @property
    def coded(self) -> Path:
        """Where coded files are kept."""
        return self.path / "coded"

    def open(self, *, resume: bool, overwrite: bool) -> RowCache:
        """Makes the folder and gives its cache, emptied unless resume.

        Raises MediaError where it holds results and neither resume nor overwrite says what to do with them.
        """
        cache = RowCache(self.path / "cache")
        open_results(self.path, cache, resume=resume, overwrite=overwrite)
        return cache

    def write(self, results: Results, *, pairs: Sequence[Pair], settings: Settings, choice: Choice) -> None:
        """All tables, the report, and the plots of those clips that have points."""
        write_rows(self.path / "results.tsv", results.rows)
        comparisons = compare(results.rows, pairs)
        write_comparisons(self.path / "bd_rate.tsv", comparisons)
        plots = self._plot(results) if can_plot() else {}
        about = About(settings, choice.codecs, choice.missing, plots, "" if can_plot() else _NO_PLOTS)
        self.report.write_text(render_report(results, comparisons, about))

    def _plot(self, results: Results) -> dict[str, str]:
        plots = {}
        for clip in dict.fromkeys(row.clip for row in results.rows):
            name = f"{clip}.png"
            plot_clip(self.path / name, results.rows, clip=clip)
            plots[clip] = name
        return plots
