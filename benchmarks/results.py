"""Rows of the rate-distortion table, the BD-rate tables made from them, and plots."""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import NamedTuple

from ssvc_codec.evaluation.bd_rate import BdRate, RatePoint, bd_rate
from ssvc_codec.evaluation.ms_ssim import ms_ssim_db

FROM_JPEG = ("blackswan", "car-roundabout", "dog", "soapbox")
"""Clips whose source is JPEG: its block grid favours JPEG at high quality, so there is a mean without them."""


@dataclass(frozen=True)
class Row:
    """One clip coded by one codec at one quality point."""

    clip: str
    codec: str
    point: float  # crf, q or quality: the codec's own number
    n_frames: int
    width: int
    height: int
    n_bytes: int
    bpp: float  # bits per luma sample
    psnr_y: float
    psnr_u: float
    psnr_v: float
    psnr_611: float
    ms_ssim: float  # luma, mean over frames
    encode_seconds: float
    decode_seconds: float
    encode_peak_rss_mib: float  # NaN where not measured
    decode_peak_rss_mib: float

    @property
    def ms_ssim_db(self) -> float:
        """MS-SSIM in dB."""
        return ms_ssim_db(self.ms_ssim)


MIN_OVERLAP = 0.1
"""Share of the quality range that two curves must have in common for a BD-rate to be told."""


class Comparison(NamedTuple):
    """BD-rate of the test codec against one anchor on one clip (or a mean over clips)."""

    clip: str
    anchor: str
    psnr: BdRate
    ms_ssim: BdRate


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write the table as TSV."""
    names = [field.name for field in fields(Row)]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, names, delimiter="\t", lineterminator="\n")
        writer.writeheader()
        for row in rows:
            values = asdict(row)
            writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in values.items()})


def load_row(path: Path) -> Row | None:
    """A row kept by save_row; None when there is none."""
    return Row(**json.loads(path.read_text())) if path.is_file() else None


def save_row(path: Path, row: Row) -> None:
    """Keep a row for a later run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(asdict(row)))
    temporary.replace(path)


def compare(rows: Sequence[Row], *, test: str) -> list[Comparison]:
    """BD-rates of test against every other codec on each clip, then the means over clips."""
    comparisons = []
    anchors = list(dict.fromkeys(row.codec for row in rows if row.codec != test))
    for anchor in anchors:
        per_clip = []
        for clip in dict.fromkeys(row.clip for row in rows):
            curves = [[r for r in rows if r.clip == clip and r.codec == codec] for codec in (anchor, test)]
            psnr = checked_bd_rate(*[[RatePoint(r.bpp, r.psnr_611) for r in curve] for curve in curves])
            # MS-SSIM is NaN on clips too small for it.
            ssim = checked_bd_rate(
                *[[RatePoint(r.bpp, r.ms_ssim_db) for r in c if not math.isnan(r.ms_ssim)] for c in curves]
            )
            per_clip.append(Comparison(clip, anchor, psnr, ssim))
        comparisons += [*per_clip, mean_comparison("mean of all", per_clip)]
        others = [c for c in per_clip if c.clip not in FROM_JPEG]
        if 0 < len(others) < len(per_clip):
            comparisons.append(mean_comparison("mean without JPEG sources", others))
    return comparisons


def checked_bd_rate(anchor: Sequence[RatePoint], test: Sequence[RatePoint]) -> BdRate:
    """BD-rate, or the reason why there is none; too little overlap is one."""
    result = bd_rate(anchor, test)
    if result.is_known and result.overlap < MIN_OVERLAP:
        return BdRate(math.nan, result.overlap, f"no overlap: below {100 * MIN_OVERLAP:.0f} % of the quality range")
    return result


def mean_comparison(name: str, comparisons: Sequence[Comparison]) -> Comparison:
    """Mean of the BD-rates that are known; the reason tells how many are not."""

    def mean(results: list[BdRate]) -> BdRate:
        known = [result for result in results if result.is_known]
        if not known:
            return BdRate(math.nan, 0.0, "no clip has a BD-rate")
        reason = "" if len(known) == len(results) else f"{len(known)} of {len(results)} clips"
        percent = sum(result.percent for result in known) / len(known)
        return BdRate(percent, min(result.overlap for result in known), reason)

    return Comparison(
        name, comparisons[0].anchor, mean([c.psnr for c in comparisons]), mean([c.ms_ssim for c in comparisons])
    )


def write_comparisons(folder: Path, comparisons: Sequence[Comparison], *, test: str) -> str:
    """Write bd_rate.tsv and bd_rate.md; gives the Markdown."""
    head = ["clip", "anchor", "BD-rate PSNR 6:1:1 %", "overlap %", "BD-rate MS-SSIM %", "overlap %", "note"]
    lines = []
    for clip, anchor, psnr, ssim in comparisons:
        note = "; ".join(dict.fromkeys(reason for reason in (psnr.reason, ssim.reason) if reason))
        cells = [
            text
            for result in (psnr, ssim)
            for text in (
                "n/a" if math.isnan(result.percent) else f"{result.percent:.1f}",
                f"{100 * result.overlap:.1f}",
            )
        ]
        lines.append([clip, anchor, *cells, note])
    tsv = "\n".join("\t".join(line) for line in [head, *lines]) + "\n"
    (folder / "bd_rate.tsv").write_text(tsv)
    table = [head, ["---"] * len(head), *lines]
    title = f"BD-rate of {test}; negative: {test} needs fewer bits. Overlap of a mean is that of its worst clip.\n\n"
    markdown = title + "".join("| " + " | ".join(line) + " |\n" for line in table)
    (folder / "bd_rate.md").write_text(markdown)
    return markdown


def plot_clip(path: Path, rows: Sequence[Row], *, clip: str) -> None:
    """Draw PSNR 6:1:1 and MS-SSIM over bits per pixel, one curve for each codec."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(12, 5), constrained_layout=True)
    for codec in dict.fromkeys(row.codec for row in rows):
        curve = sorted((r for r in rows if r.codec == codec and r.clip == clip), key=lambda r: r.bpp)
        width = 2.2 if codec.startswith("ssvc") else 1.2
        bpp = [row.bpp for row in curve]
        axes[0].plot(bpp, [row.psnr_611 for row in curve], marker="o", markersize=3, linewidth=width, label=codec)
        axes[1].plot(bpp, [row.ms_ssim_db for row in curve], marker="o", markersize=3, linewidth=width, label=codec)
    for ax, label in zip(axes, ("PSNR 6:1:1, dB", "MS-SSIM of luma, dB"), strict=True):
        ax.set(xlabel="bits per pixel", ylabel=label, xscale="log")
        ax.grid(which="both", alpha=0.3)
        ax.legend()
    figure.suptitle(clip)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def write_table(text: str, out: Path | None) -> None:
    """Writes a finished table to a file, its folder made, or to stdout."""
    if out is None:
        sys.stdout.write(text)
    else:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text)
