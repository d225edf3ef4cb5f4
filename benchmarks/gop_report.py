"""Frame by frame: types, bytes by part, and PSNR from the warped prediction to the decoded picture.

    python benchmarks/gop_report.py --data ../shared/data/eval --out results/gop_report

Writes gop_report.tsv (one row per frame), gop_report.md (one row per clip) and a plot per clip. The drift column is
the PSNR of the last ten frames less that of the first ten P frames. Clips that are too short are played forwards and
backwards, so that both tens are the same pictures (clips.ping_pong).
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
from clips import find_clips, load_clip, ping_pong
from ssvc_runner import add_options, decode_frames, open_decoder, open_encoder, run_options

from ssvc_codec.bitstream import FrameType, SubstreamKind, parse_packet
from ssvc_codec.decoder import Decoder
from ssvc_codec.encoder import Encoder
from ssvc_codec.evaluation.clip import Clip
from ssvc_codec.evaluation.psnr import frame_psnr
from ssvc_codec.frame import Frame
from ssvc_codec.inference.latents import Past
from ssvc_codec.inference.merge_coding import CellGrid
from ssvc_codec.inference.planes import tensor_to_planes
from ssvc_codec.inference.reference import InterReference
from ssvc_codec.packet import Packet
from ssvc_codec.training.validation import rate_of_z

DEFAULT_CLIPS = "BasketballPass,vid4_walk"
N_DRIFT = 10
DRIFT_LIMIT_DB = 1.5
NAN = math.nan


class Inspection(NamedTuple):
    """What only the encoder knows of the P frame coded last; None and NaN for an I frame."""

    warped: Frame | None = None  # the decoded frame before, moved by the decoded flow
    refined: Frame | None = None  # the prediction that the residual is coded upon
    z_share_motion: float = NAN  # bytes of the hyper-latents alone over bytes of the MOTION payload
    busy_share_residual: float = NAN


@dataclass(frozen=True)
class FrameLine:
    """One coded frame. NaN: not of this frame type, or not told."""

    clip: str
    index: int
    frame_number: int  # since the I frame
    frame_type: str
    q_index: int
    n_bytes: int  # of the packet: the sum of the next four
    n_header_bytes: int  # all that is no payload: headers, directory, checksums
    n_motion_bytes: int
    n_residual_bytes: int
    n_intra_bytes: int
    z_share_motion: float
    busy_share_residual: float  # offsets and classes of blocks
    z_share_intra: float
    psnr_warped: float  # 6:1:1, dB
    psnr_refined: float
    psnr: float


def inspect(encoder: Encoder, before: InterReference | None, *, q_index: int) -> Inspection:
    """The one place that looks inside the encoder. before: its reference before it coded the frame."""
    coded, coder, video = encoder.p_frame, encoder._inter, encoder.format
    if coded is None or coder is None or before is None:
        return Inspection()
    warped, refined = (Frame(*tensor_to_planes(x, video), video) for x in (coded.warped, coded.predicted))
    motion, residual = before.motion, before.residual
    after = coded.reference
    q = np.full(len(motion.known), q_index)
    n_z_motion = coder.motion.z_bytes(after.motion.symbols, q, Past(motion.symbols, motion.known))
    past = Past(residual.symbols, residual.known, after.motion.symbols, after.motion.known)
    n_busy = coder.residual.beginning_bytes(
        after.residual.symbols, q, past, CellGrid(np.arange(q.size), before.groups.shape[1])
    )
    n_motion, n_residual = (sum(map(len, strings.values())) for strings in (coded.motion, coded.residual))
    return Inspection(warped, refined, share(n_z_motion, n_motion), share(n_busy, n_residual))


def share(part: float, whole: float) -> float:
    """A part of the whole; NaN of nothing."""
    return part / whole if whole else NAN


def intra_z_share(decoder: Decoder, packet: Packet, *, q_index: int) -> float:
    """Share of the hyper-latents in the strings of an I packet; NaN where all symbols are 0."""
    parsed = parse_packet(packet.data)
    coder = decoder._intra
    assert coder is not None
    groups = decoder.symbols(packet.data).values()
    n_z = sum(rate_of_z(coder, symbols.z, np.full(len(symbols.z), q_index)) for symbols in groups)
    return share(n_z, sum(entry.length for entry in parsed.entries))


def psnr_611(reference: Frame, other: Frame | None) -> float:
    """6:1:1 PSNR in dB; NaN where there is no picture."""
    return NAN if other is None else frame_psnr(reference, other).yuv611


def frame_line(clip: str, frame: Frame, packet: Packet, inside: Inspection, *, decoder: Decoder) -> FrameLine:
    """Decode a packet and look at it."""
    parsed = parse_packet(packet.data)
    (decoded,) = decode_frames(decoder, packet)
    is_intra = parsed.header.frame_type is FrameType.I

    def n_bytes(*kinds: SubstreamKind) -> int:
        return sum(entry.length for entry in parsed.entries if entry.kind in kinds)

    q_index = parsed.header.q_index
    return FrameLine(
        clip=clip,
        index=packet.pts or 0,
        frame_number=parsed.header.frame_number,
        frame_type=parsed.header.frame_type.name,
        q_index=q_index,
        n_bytes=len(packet.data),
        n_header_bytes=len(packet.data) - n_bytes(*SubstreamKind),
        n_motion_bytes=n_bytes(SubstreamKind.MOTION),
        n_residual_bytes=n_bytes(SubstreamKind.RESIDUAL),
        n_intra_bytes=n_bytes(SubstreamKind.BACKGROUND, SubstreamKind.OBJECT),
        z_share_motion=inside.z_share_motion,
        busy_share_residual=inside.busy_share_residual,
        z_share_intra=intra_z_share(decoder, packet, q_index=q_index) if is_intra else NAN,
        psnr_warped=psnr_611(frame, inside.warped),
        psnr_refined=psnr_611(frame, inside.refined),
        psnr=psnr_611(frame, decoded),
    )


def run_clip(clip: Clip, args: argparse.Namespace) -> list[FrameLine]:
    """Code and decode a clip, with a line of progress for each frame."""
    options = run_options(args)
    encoder = open_encoder(
        clip.format, time_base=1 / clip.frame_rate, crf=args.crf, keyint=args.keyint, options=options
    )
    decoder = open_decoder(encoder.sequence_header, options=options)
    lines: list[FrameLine] = []
    for frame in clip.frames:
        before = encoder._reference
        (packet,) = encoder.send(frame)
        assert encoder.statistics is not None
        inside = inspect(encoder, before, q_index=encoder.statistics.q_index)
        line = frame_line(clip.name, frame, packet, inside, decoder=decoder)
        print(
            f"{line.clip:16} {line.index:4} {line.frame_type} q {line.q_index:2} {line.n_bytes:7} bytes"
            f" {line.psnr_warped:6.2f} {line.psnr_refined:6.2f} {line.psnr:6.2f} dB",
            file=sys.stderr,
            flush=True,
        )
        lines.append(line)
    return lines


def mean(values: Sequence[float]) -> float:
    """Mean of the numbers that are known."""
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else NAN


def drift(lines: Sequence[FrameLine]) -> float:
    """PSNR of the last ten frames less that of the first ten P frames; NaN where they are not all of one GoP."""
    if len(lines) < 2 * N_DRIFT + 1 or any(line.frame_type == "I" for line in lines[1:]):
        return NAN
    first, last = lines[1 : N_DRIFT + 1], lines[-N_DRIFT:]
    return mean([line.psnr for line in last]) - mean([line.psnr for line in first])


def summary(lines: Sequence[FrameLine]) -> list[str]:
    """One row of the Markdown table: I and P frames of one clip."""
    intra, inter = ([line for line in lines if line.frame_type == kind] for kind in "IP")
    shown = inter or intra
    n_bytes = sum(line.n_bytes for line in inter)

    def percent(name: str) -> str:
        return f"{100 * sum(getattr(line, name) for line in inter) / n_bytes:.1f}" if inter else ""

    def z_percent(part: str) -> str:
        counted = [(getattr(line, f"z_share_{part}"), getattr(line, f"n_{part}_bytes")) for line in lines]
        known = [(z_share, n) for z_share, n in counted if not math.isnan(z_share)]
        return number(100 * share(sum(z_share * n for z_share, n in known), sum(n for _, n in known)), 1)

    psnr_names = ("psnr_warped", "psnr_refined", "psnr")
    return [
        lines[0].clip,
        f"{len(intra)} I, {len(inter)} P",
        number(mean([line.n_bytes for line in intra]), 0),
        number(mean([line.n_bytes for line in inter]), 0),
        *map(percent, ("n_header_bytes", "n_motion_bytes", "n_residual_bytes")),
        *map(z_percent, ("intra", "motion", "residual")),
        *(number(mean([getattr(line, name) for line in shown]), 2) for name in psnr_names),
        number(drift(lines), 2),
    ]


def number(value: float, n_digits: int) -> str:
    """A cell of the table; empty where unknown."""
    return "" if math.isnan(value) else f"{value:.{n_digits}f}"


def write_tables(folder: Path, lines: Sequence[FrameLine]) -> str:
    """Write gop_report.tsv and gop_report.md; gives the Markdown."""
    rows = ["\t".join(field.name for field in fields(FrameLine))]
    for line in lines:
        rows.append("\t".join(number(v, 5) if isinstance(v, float) else str(v) for v in astuple(line)))
    (folder / "gop_report.tsv").write_text("\n".join(rows) + "\n")
    head = ["clip", "frames", "bytes of an I frame", "of a P frame"]
    head += [f"{part} % of P" for part in ("headers", "motion", "residual")]
    head += [f"z % of {part}" for part in ("intra", "motion", "residual")]
    head += ["PSNR 6:1:1 of P, dB: warped", "refined", "decoded", f"last {N_DRIFT} less first {N_DRIFT} P, dB"]
    by_clip = [[line for line in lines if line.clip == clip] for clip in dict.fromkeys(line.clip for line in lines)]
    table = [head, ["---"] * len(head), *map(summary, by_clip)]
    markdown = "".join("| " + " | ".join(row) + " |\n" for row in table)
    (folder / "gop_report.md").write_text(markdown)
    return markdown


def plot_clip(path: Path, lines: Sequence[FrameLine]) -> None:
    """PSNR, bytes by part, and q with the shares of z, over time."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(3, 1, figsize=(12, 10), sharex=True, constrained_layout=True)
    x = [line.index for line in lines]
    for name, label in (("psnr", "decoded"), ("psnr_refined", "refined prediction"), ("psnr_warped", "warped")):
        values = [getattr(line, name) for line in lines]
        if not all(map(math.isnan, values)):
            axes[0].plot(x, values, marker=".", linewidth=1.2, label=label)
    bottom = np.zeros(len(lines))
    for part in ("header", "motion", "residual", "intra"):
        values = np.array([getattr(line, f"n_{part}_bytes") for line in lines])
        axes[1].bar(x, values, bottom=bottom, width=0.9, label=part)
        bottom += values
    axes[2].plot(x, [line.q_index for line in lines], marker=".", color="black", linewidth=0.8, label="q_index")
    for part in ("intra", "motion", "residual"):
        values = [100 * getattr(line, f"z_share_{part}") for line in lines]
        if not all(map(math.isnan, values)):
            axes[2].plot(x, values, marker=".", label=f"share of z in {part}, %")
    axes[0].set(ylabel="PSNR 6:1:1, dB", title=lines[0].clip)
    axes[1].set(ylabel="bytes", yscale="linear")
    axes[2].set(xlabel="frame")
    for ax in axes:
        ax.grid(alpha=0.3)
        ax.legend()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--data", type=Path, required=True, help="evaluation folder with video/ and davis/")
    parser.add_argument("--out", type=Path, required=True, help="folder for tables and plots")
    parser.add_argument("--clips", default=DEFAULT_CLIPS, help="names or files, separated by commas")
    parser.add_argument("--frames", type=int, default=120)
    parser.add_argument("--keyint", type=int, default=120)
    parser.add_argument("--crf", type=float, default=28)
    parser.add_argument("--ping-pong", action="store_true", help="play long clips to and fro too")
    add_options(parser)
    return parser.parse_args()


def main() -> int:
    """Run all clips; the tables are written anew after each. Exit code 1 where quality runs away."""
    args = parse_arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    lines: list[FrameLine] = []
    markdown, has_drift = "", False
    for name, path in find_clips(args.data, args.clips).items():
        clip = load_clip(name, path, n_frames=args.frames)
        if args.ping_pong or len(clip.frames) < args.frames:
            clip = ping_pong(clip, n_frames=args.frames)
        found = run_clip(clip, args)
        has_drift |= drift(found) < -DRIFT_LIMIT_DB
        lines += found
        plot_clip(args.out / f"{name}.png", found)
        markdown = write_tables(args.out, lines)
    print(markdown, end="")
    return 1 if has_drift else 0


if __name__ == "__main__":
    sys.exit(main())
