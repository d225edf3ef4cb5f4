"""A picture of the curves of each clip, where matplotlib is installed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from ffmpeg_bridge.bench.results import Row

__all__ = ["can_plot", "plot_clip"]


def can_plot() -> bool:
    """Whether matplotlib is installed: the extras bench and dev bring it."""
    return find_spec("matplotlib") is not None


def plot_clip(path: Path, rows: Sequence[Row], *, clip: str) -> None:
    """Draws PSNR 6:1:1 and MS-SSIM over bits per pixel, one curve for each codec."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    shown = [row for row in rows if row.clip == clip]
    has_ssim = any(not math.isnan(row.ms_ssim) for row in shown)
    figure, axes = plt.subplots(1, 1 + has_ssim, figsize=(6 + 6 * has_ssim, 5), constrained_layout=True, squeeze=False)
    for codec in dict.fromkeys(row.codec for row in shown):
        curve = sorted((row for row in shown if row.codec == codec), key=lambda row: row.bpp)
        width = 2.2 if codec.startswith("ssvc") else 1.2
        bpp = [row.bpp for row in curve]
        values = [[row.psnr_611 for row in curve], [row.ms_ssim_db for row in curve] if has_ssim else []]
        for ax, quality in zip(axes[0], values, strict=False):
            ax.plot(bpp, quality, marker="o", markersize=3, linewidth=width, label=codec)
    for ax, label in zip(axes[0], ("PSNR 6:1:1, dB", "MS-SSIM of luma, dB"), strict=False):
        ax.set(xlabel="bits per pixel", ylabel=label, xscale="log")
        ax.grid(which="both", alpha=0.3)
        ax.legend()
    figure.suptitle(clip)
    figure.savefig(path, dpi=110)
    plt.close(figure)
