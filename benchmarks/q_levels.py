"""All 64 q levels: do bytes and PSNR fall from level to level, over which rates, and what do z and headers cost?

    python benchmarks/q_levels.py --data ../shared/data/eval --out results/q_levels

Writes q_levels.tsv (one row per clip and level), q_levels_mean.tsv (over clips), q_levels.md and q_levels.png.
Exit code 1 where the means do not fall from level to level, or z costs more than 5 % of a clip at any level.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from clips import find_clips, load_clip

from ssvc_codec.bitstream import SequenceHeader, SubstreamKind, build_packet
from ssvc_codec.evaluation.clip import Clip
from ssvc_codec.evaluation.psnr import Psnr, frame_psnr, mean_psnr
from ssvc_codec.frame import Frame
from ssvc_codec.gop.groups import group_map
from ssvc_codec.inference.intra import IntraCoder
from ssvc_codec.inference.merge_coding import CellGrid
from ssvc_codec.weights import Model, load_model

N_LEVELS = 64
DEFAULT_CLIPS = "BasketballPass,vid4_walk,park_joy,street_1080p"
Z_SHARE_LIMIT = 0.05
BPP_SPAN = (0.1, 1.5)  # what the levels must reach on both sides


@dataclass(frozen=True)
class Level:
    """One clip at one q level, or the mean over clips."""

    clip: str
    q_index: int
    bpp: float  # bits per luma sample, whole packets; means are geometric
    psnr_611: float
    z_share: float  # bytes of a string of the hyper-latents alone over bytes of the whole string
    overhead_share: float  # headers, directory and checksums over bytes of the packet


class FrameCost(NamedTuple):
    """Bytes of one coded frame, and how well it shows."""

    packet: int
    string: int  # z and y in one string
    z_alone: int
    psnr: Psnr


def code_frame(coder: IntraCoder, frame: Frame, header: SequenceHeader, q_index: int) -> FrameCost:
    """Code one frame without objects and look at what comes back."""
    video = frame.format
    groups = group_map((), width=video.width, height=video.height)
    q = np.full(groups.shape, q_index, dtype=np.int64)
    symbols = coder.latent_symbols(frame, q, groups)
    string = coder.write(symbols[0], q.reshape(-1), CellGrid(np.arange(q.size), q.shape[1]))
    z_alone = coder.coder.encode([(symbols[0].z, coder.head.z_indexes(q.reshape(-1)))])
    packet = build_packet({(SubstreamKind.BACKGROUND, 0): string}, q_index=q_index, sequence_header=header)
    decoded = Frame(*coder.synthesise(symbols, q, groups, video), video)
    return FrameCost(len(packet), len(string), len(z_alone), frame_psnr(frame, decoded))


def measure_clip(coder: IntraCoder, clip: Clip, model: Model) -> list[Level]:
    """All levels of one clip, from the coarsest."""
    header = SequenceHeader(clip.format, model.name, model.fingerprint)
    levels: list[Level] = []
    for q_index in range(N_LEVELS):
        costs = [code_frame(coder, frame, header, q_index) for frame in clip.frames]
        n_bytes, n_string = sum(cost.packet for cost in costs), sum(cost.string for cost in costs)
        levels.append(
            Level(
                clip.name,
                q_index,
                bpp=8 * n_bytes / clip.n_pixels,
                psnr_611=mean_psnr(cost.psnr for cost in costs).yuv611,
                z_share=sum(cost.z_alone for cost in costs) / max(n_string, 1),
                overhead_share=1 - n_string / n_bytes,
            )
        )
        last = levels[-1]
        line = f"{last.clip:16} q {q_index:2} {last.bpp:8.4f} bpp {last.psnr_611:6.2f} dB z {100 * last.z_share:5.2f} %"
        print(line, file=sys.stderr, flush=True)
    return levels


def mean_levels(levels: Sequence[Level]) -> list[Level]:
    """Means over clips: geometric of bpp, so that every clip counts the same, arithmetic of the rest."""
    means: list[Level] = []
    for q_index in range(N_LEVELS):
        rows = [level for level in levels if level.q_index == q_index]
        bpp = math.exp(sum(math.log(row.bpp) for row in rows) / len(rows))
        psnr, z, overhead = (
            sum(getattr(row, name) for row in rows) / len(rows) for name in ("psnr_611", "z_share", "overhead_share")
        )
        means.append(Level("mean", q_index, bpp, psnr, z, overhead))
    return means


def wrong_steps(levels: Sequence[Level], name: str) -> list[int]:
    """The levels at which a quantity is not above that of the level below."""
    values = [getattr(level, name) for level in levels]
    return [level.q_index for level, below, here in zip(levels[1:], values, values[1:], strict=False) if here <= below]


def report_line(levels: Sequence[Level]) -> list[str]:
    """One row of the summary, for one clip or the mean."""
    bpp, psnr = [level.bpp for level in levels], [level.psnr_611 for level in levels]
    steps = np.diff(psnr)
    z = max(levels, key=lambda level: level.z_share)
    overhead = max(levels, key=lambda level: level.overhead_share)
    return [
        levels[0].clip,
        f"{bpp[0]:.4f} to {bpp[-1]:.3f}",
        f"{psnr[0]:.2f} to {psnr[-1]:.2f}",
        ", ".join(map(str, wrong_steps(levels, "bpp"))) or "none",
        ", ".join(map(str, wrong_steps(levels, "psnr_611"))) or "none",
        f"{steps.min():.3f} to {steps.max():.3f}",
        f"{100 * z.z_share:.2f} (q {z.q_index})",
        f"{100 * overhead.overhead_share:.2f} (q {overhead.q_index})",
    ]


def report(levels: Sequence[Level], means: Sequence[Level]) -> str:
    """The summary as Markdown."""
    head = ["clip", "bpp", "PSNR 6:1:1, dB", "levels where bytes do not rise", "where PSNR does not rise"]
    head += ["PSNR step, dB", "largest share of z, %", "largest share of headers, %"]
    by_clip = [[level for level in levels if level.clip == clip] for clip in dict.fromkeys(x.clip for x in levels)]
    table = [head, ["---"] * len(head), *map(report_line, [*by_clip, means])]
    return "".join("| " + " | ".join(line) + " |\n" for line in table)


def failures(levels: Sequence[Level], means: Sequence[Level]) -> list[str]:
    """What the 64 levels must show and do not."""
    found = [
        f"mean {name} does not rise at q {steps}" for name in ("bpp", "psnr_611") if (steps := wrong_steps(means, name))
    ]
    if means[0].bpp > BPP_SPAN[0] or means[-1].bpp < BPP_SPAN[1]:
        found.append(f"mean bpp spans {means[0].bpp:.3f} to {means[-1].bpp:.3f}, not {BPP_SPAN[0]} to {BPP_SPAN[1]}")
    largest = max(levels, key=lambda level: level.z_share)
    if largest.z_share > Z_SHARE_LIMIT:
        found.append(f"z takes {100 * largest.z_share:.1f} % of {largest.clip} at q {largest.q_index}")
    return found


def write_table(path: Path, levels: Sequence[Level]) -> None:
    """Write rows as TSV."""
    lines = ["\t".join(field.name for field in fields(Level))]
    for level in levels:
        lines.append("\t".join(f"{v:.6g}" if isinstance(v, float) else str(v) for v in astuple(level)))
    path.write_text("\n".join(lines) + "\n")


def plot(path: Path, levels: Sequence[Level], means: Sequence[Level]) -> None:
    """Rate, PSNR and the share of z over the q level, one curve for each clip."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(16, 5), constrained_layout=True)
    for clip in dict.fromkeys(level.clip for level in [*levels, *means]):
        rows = [level for level in [*levels, *means] if level.clip == clip]
        style = {"linewidth": 2.4, "color": "black"} if clip == "mean" else {"linewidth": 1.2}
        q = [row.q_index for row in rows]
        axes[0].plot(q, [row.bpp for row in rows], label=clip, **style)
        axes[1].plot(q, [row.psnr_611 for row in rows], label=clip, **style)
        axes[2].plot(q, [100 * row.z_share for row in rows], label=clip, **style)
    axes[0].set(ylabel="bits per pixel", yscale="log")
    axes[1].set(ylabel="PSNR 6:1:1, dB")
    axes[2].set(ylabel="share of z, %")
    for ax in axes:
        ax.set(xlabel="q_index (63 - crf)")
        ax.grid(which="both", alpha=0.3)
        ax.legend()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> int:
    """Measure every clip; the model is loaded once."""
    parser = argparse.ArgumentParser(description="Rate, PSNR and shares of all 64 q levels.", allow_abbrev=False)
    parser.add_argument("--data", type=Path, required=True, help="evaluation folder with video/ and davis/")
    parser.add_argument("--out", type=Path, required=True, help="folder for tables and plot")
    parser.add_argument("--clips", default=DEFAULT_CLIPS, help="names or files, separated by commas")
    parser.add_argument("--frames", type=int, default=1, help="first frames of each clip")
    parser.add_argument("--model", default="base", help="name or folder")
    parser.add_argument("--preset", default="medium", choices=["fast", "medium", "slow"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    model = load_model(args.model)
    coder = IntraCoder(model, device=args.device, optimise=args.preset != "fast")
    levels: list[Level] = []
    for name, path in find_clips(args.data, args.clips).items():
        levels += measure_clip(coder, load_clip(name, path, n_frames=args.frames), model)
    means = mean_levels(levels)
    write_table(args.out / "q_levels.tsv", levels)
    write_table(args.out / "q_levels_mean.tsv", means)
    found = failures(levels, means)
    text = report(levels, means) + "\n" + "".join(f"- FAIL: {line}\n" for line in found)
    (args.out / "q_levels.md").write_text(text)
    plot(args.out / "q_levels.png", levels, means)
    print(text, end="")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
