"""The Markdown report of a run."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ffmpeg_bridge.bench.codec import Codec, Settings
from ffmpeg_bridge.bench.comparisons import MEAN, Comparison, percent_cell
from ffmpeg_bridge.bench.results import Row
from ffmpeg_bridge.bench.run import Results
from ssvc_codec.evaluation.bd_rate import BdRate

__all__ = ["About", "render_bd_rates", "render_report", "table"]


@dataclass(frozen=True)
class About:
    """What a report says besides its numbers."""

    settings: Settings
    codecs: Sequence[Codec]
    missing: Mapping[str, str]  # by name, why it was not measured
    plots: Mapping[str, str]  # file by clip
    plot_note: str = ""  # why there are none


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    rows = [head, ["---"] * len(head), *lines]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |\n" for row in rows)


def render_report(results: Results, comparisons: Sequence[Comparison], about: About) -> str:
    """The whole report."""
    parts = ["# Rate and distortion\n"]
    if not results.is_complete:
        parts.append("**The run was stopped: what follows is a part of it. `--resume` goes on.**\n")
    parts += [
        _setup(results, about),
        render_bd_rates(comparisons),
        _speed(results, about),
        _failures(results),
        _plots(about),
    ]
    return "\n".join(part for part in parts if part)


def _setup(results: Results, about: About) -> str:
    settings = about.settings
    structure = "every frame a key frame" if settings.keyint == 1 else f"closed GoPs of {settings.keyint}, low delay"
    threads = "all threads" if settings.threads == 0 else f"threads: {settings.threads}"
    lines = [
        f"Frames: {structure}; {threads}; {platform.machine()} {platform.system()}, Python {platform.python_version()}."
    ]
    lines.append("All codecs got the same 8-bit 4:2:0 samples of limited range. Bits are those of video packets.")
    clips = [
        [c.name, f"{c.width}x{c.height}", str(c.n_frames), f"{c.rate:g}", "; ".join(c.notes)] for c in results.clips
    ]
    codecs = [
        [codec.name, codec.version(), f"`{codec.command()}`", ", ".join(f"{p:g}" for p in codec.points)]
        for codec in about.codecs
    ]
    text = "## Set-up\n\n" + " ".join(lines) + "\n\n"
    text += table(["clip", "size", "frames", "rate", "notes"], clips) + "\n"
    text += table(["codec", "version", "how", "points"], codecs)
    alone = [codec.name for codec in about.codecs if codec.is_intra]
    if alone and settings.keyint > 1:
        text += f"\nEvery frame by itself, whatever the GoP: {', '.join(alone)}.\n"
    if about.missing:
        text += "\nNot measured: " + "; ".join(f"{name} ({reason})" for name, reason in about.missing.items()) + ".\n"
    return text


def render_bd_rates(comparisons: Sequence[Comparison]) -> str:
    """A table for each anchor, with a heading; nothing where nothing was compared."""
    if not comparisons:
        return ""
    text = "## BD-rate\n\nPercent more bits than the anchor at equal quality; negative is fewer. Overlap: the quality\n"
    text += "range that both curves have, of that of either; in a mean, that of its worst clip.\n"
    text += _means(comparisons)
    for anchor in dict.fromkeys(c.anchor for c in comparisons):
        lines = [_bd_line(c) for c in comparisons if c.anchor == anchor]
        head = ["codec", "clip", "PSNR 6:1:1 %", "overlap %", "MS-SSIM %", "overlap %", "note"]
        text += f"\n### Against {anchor}\n\n" + table(head, lines)
    return text


def _means(comparisons: Sequence[Comparison]) -> str:
    """A table of the means with their worst and best clip; nothing for one clip, where it would say nothing new."""
    means = [c for c in comparisons if c.clip == MEAN]
    if len(comparisons) <= 2 * len(means):
        return ""
    lines = []
    for mean in means:
        clips = [c for c in comparisons if (c.test, c.anchor) == (mean.test, mean.anchor)]
        psnr, ssim = _extremes([c.psnr for c in clips]), _extremes([c.ms_ssim for c in clips])
        lines.append(
            [mean.test, mean.anchor, percent_cell(mean.psnr), psnr, percent_cell(mean.ms_ssim), ssim, mean.note]
        )
    head = ["codec", "against", "PSNR 6:1:1 %, mean", "worst, best clip", "MS-SSIM %, mean", "worst, best clip", "note"]
    return "\n" + table(head, lines)


def _extremes(results: Sequence[BdRate]) -> str:
    known = sorted((result for result in results if result.is_known), key=lambda result: result.percent)
    return f"{percent_cell(known[-1])}, {percent_cell(known[0])}" if known else ""


def _bd_line(comparison: Comparison) -> list[str]:
    cells = [comparison.test, comparison.clip]
    for result in (comparison.psnr, comparison.ms_ssim):
        cells += [percent_cell(result), f"{100 * result.overlap:.0f}"]
    cells.append(comparison.note)
    return [f"**{cell}**" if cell and comparison.clip == MEAN else cell for cell in cells]


def _speed(results: Results, about: About) -> str:
    lines = []
    for codec in about.codecs:
        rows = [row for row in results.rows if row.codec == codec.name]
        if rows:
            lines.append(
                [
                    codec.name,
                    *(_rates(rows, [r.encode_seconds for r in rows])),
                    *_rates(rows, [r.decode_seconds for r in rows]),
                ]
            )
    if not lines:
        return ""
    head = ["codec", "encode, frames/s", "Mpixel/s", "decode, frames/s", "Mpixel/s"]
    text = (
        "## Speed\n\nOver all clips and points. Anchors that are programs count from their start to their end, ssvc\n"
    )
    return text + "and compressai inside encoder and decoder.\n\n" + table(head, lines)


def _rates(rows: Sequence[Row], seconds: Sequence[float]) -> list[str]:
    total = max(sum(seconds), 1e-9)
    n_frames = sum(row.n_frames for row in rows)
    n_pixels = sum(row.n_frames * row.width * row.height for row in rows)
    return [f"{n_frames / total:.3g}", f"{n_pixels / total / 1e6:.3g}"]


def _failures(results: Results) -> str:
    if not results.failures:
        return ""
    lines = [[f.clip, f.codec, f"{f.point:g}", f.reason] for f in results.failures]
    return "## Failed\n\n" + table(["clip", "codec", "point", "why"], lines)


def _plots(about: About) -> str:
    if about.plot_note:
        return f"## Plots\n\n{about.plot_note}\n"
    if not about.plots:
        return ""
    return "## Plots\n\n" + "\n".join(f"![{clip}]({file})" for clip, file in about.plots.items()) + "\n"
