"""BD-rates of one codec against another, by clip and in the mean."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ffmpeg_bridge.bench.codec import Codec
from ffmpeg_bridge.bench.results import Row
from ssvc_codec.evaluation.bd_rate import BdRate, RatePoint, bd_rate

__all__ = ["MEAN", "Comparison", "Pair", "choose_pairs", "compare", "percent_cell", "write_comparisons"]

MIN_OVERLAP = 0.1
"""Share of the quality range that two curves must have in common for a BD-rate to be told."""
MEAN = "mean of all"


class Pair(NamedTuple):
    """Whose bits are counted against whose."""

    test: str
    anchor: str


class Comparison(NamedTuple):
    """BD-rate of the test codec against one anchor on one clip (or a mean over clips)."""

    clip: str
    test: str
    anchor: str
    psnr: BdRate  # PSNR 6:1:1
    ms_ssim: BdRate  # MS-SSIM of luma in dB

    @property
    def note(self) -> str:
        """Why a number is not there, or is a mean of some clips only."""
        if self.psnr.reason == self.ms_ssim.reason:
            return self.psnr.reason
        reasons = (("PSNR", self.psnr.reason), ("MS-SSIM", self.ms_ssim.reason))
        return "; ".join(f"{measure}: {reason}" for measure, reason in reasons if reason)


def choose_pairs(codecs: Sequence[Codec], *, own: Collection[str], against: Sequence[str] = ()) -> list[Pair]:
    """Every codec against those of `against`; without it, the first of ours against every other.

    own: names of ours. Where some codecs code key frames alone and the first of ours does not, one of ours that does
    is compared with them too. Without any of ours the first codec is the anchor of all others.
    """
    if against:
        return [Pair(codec.name, anchor) for anchor in against for codec in codecs if codec.name != anchor]
    ours = [codec for codec in codecs if codec.name in own]
    if not ours:
        return [Pair(codec.name, codecs[0].name) for codec in codecs[1:]]
    pairs = [Pair(ours[0].name, codec.name) for codec in codecs if codec is not ours[0]]
    for other in ours[1:]:
        if other.is_intra and not ours[0].is_intra:
            pairs += [Pair(other.name, codec.name) for codec in codecs if codec.is_intra and codec not in ours]
    return pairs


def compare(
    rows: Sequence[Row], pairs: Sequence[Pair], *, subsets: Mapping[str, Collection[str]] | None = None
) -> list[Comparison]:
    """For each pair the BD-rates on each clip, then the means: over all clips, and over each subset of them.

    subsets: clips by the name of their mean; told where some but not all clips are in it.
    """
    comparisons = []
    for pair in pairs:
        per_clip = [_compare_clip(rows, pair, clip) for clip in dict.fromkeys(row.clip for row in rows)]
        comparisons += per_clip
        if per_clip:
            comparisons.append(_mean(MEAN, per_clip))
        for name, clips in (subsets or {}).items():
            part = [comparison for comparison in per_clip if comparison.clip in clips]
            if 0 < len(part) < len(per_clip):
                comparisons.append(_mean(name, part))
    return comparisons


def _compare_clip(rows: Sequence[Row], pair: Pair, clip: str) -> Comparison:
    curves = [[row for row in rows if row.clip == clip and row.codec == codec] for codec in (pair.anchor, pair.test)]
    psnr = _checked(*[[RatePoint(row.bpp, row.psnr_611) for row in curve] for curve in curves])
    if any(math.isnan(row.ms_ssim) for curve in curves for row in curve):
        ssim = BdRate(math.nan, 0.0, "picture too small")
    else:
        ssim = _checked(*[[RatePoint(row.bpp, row.ms_ssim_db) for row in curve] for curve in curves])
    return Comparison(clip, pair.test, pair.anchor, psnr, ssim)


def _checked(anchor: Sequence[RatePoint], test: Sequence[RatePoint]) -> BdRate:
    """BD-rate, or the reason why there is none; too little overlap is one."""
    result = bd_rate(anchor, test)
    if result.is_known and result.overlap < MIN_OVERLAP:
        return BdRate(math.nan, result.overlap, f"no overlap: below {100 * MIN_OVERLAP:.0f} % of the quality range")
    return result


def _mean(name: str, comparisons: Sequence[Comparison]) -> Comparison:
    """Mean of the BD-rates that are known; the reason tells how many are not."""

    def mean(results: list[BdRate]) -> BdRate:
        known = [result for result in results if result.is_known]
        if not known:
            return BdRate(math.nan, 0.0, "no clip has a BD-rate")
        reason = "" if len(known) == len(results) else f"{len(known)} of {len(results)} clips"
        percent = sum(result.percent for result in known) / len(known)
        return BdRate(percent, min(result.overlap for result in known), reason)

    first = comparisons[0]
    psnr, ssim = mean([c.psnr for c in comparisons]), mean([c.ms_ssim for c in comparisons])
    return Comparison(name, first.test, first.anchor, psnr, ssim)


def percent_cell(result: BdRate) -> str:
    """A BD-rate with its sign and a decimal."""
    return "n/a" if math.isnan(result.percent) else f"{result.percent:+.1f}"


def write_comparisons(path: Path, comparisons: Sequence[Comparison]) -> None:
    """Writes the table as TSV."""
    head = ("clip", "codec", "anchor", "bd_rate_psnr_611", "overlap", "bd_rate_ms_ssim", "overlap", "note")
    lines = ["\t".join(head)]
    for c in comparisons:
        numbers = [
            f"{c.psnr.percent:.3f}",
            f"{c.psnr.overlap:.3f}",
            f"{c.ms_ssim.percent:.3f}",
            f"{c.ms_ssim.overlap:.3f}",
        ]
        lines.append("\t".join([c.clip, c.test, c.anchor, *numbers, c.note]))
    path.write_text("\n".join(lines) + "\n")
