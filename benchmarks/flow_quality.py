"""The optical flow that ssvc codes, beside OpenCV's DIS and beside motion that is known.

    python benchmarks/flow_quality.py --data ../shared/data/eval --out results/flow_quality

Flow is backward, in luma samples: the pixel at (x, y) was at (x + dx, y + dy) of the frame before. ssvc's is read from
the MOTION substreams alone. DIS sees the original frames, costs no bits and is no ground truth: on real clips the
end-point difference between the two says how far they agree, on synthetic ones both are held against the motion that
made the clip, where pixels are visible in both frames. Warp PSNR (luma) is that of the original frame before, moved by
a flow, against this frame. Writes flow_quality.tsv, flow_quality.md, and flow.png with one row for each clip.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from clips import find_clips, load_clip
from numpy.typing import NDArray
from ssvc_runner import add_options, open_decoder, open_encoder, run_options
from synthetic_motion import KnownMotion, synthetic_motion

from ssvc_codec.bitstream import SubstreamKind, parse_packet
from ssvc_codec.evaluation.clip import Clip
from ssvc_codec.evaluation.psnr import plane_psnr
from ssvc_codec.flow import FlowField, flow_to_rgb
from ssvc_codec.frame import Frame, Plane
from ssvc_codec.packet import Packet

SYNTHETIC_SIZES = (1, 2, 4, 8, 16)
SYNTHETIC_SEED = 20
Flow = NDArray[np.float32]  # (2, H, W)
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class FlowLine:
    """One P frame, or the mean over those of a clip. Differences in luma samples, PSNR in dB, NaN where unknown."""

    clip: str
    index: float  # of the frame; NaN for a mean
    motion_share: float  # bytes of the MOTION payload over those of the packet
    stream_share: float  # bytes of all MOTION payloads over those of all packets, I frames too; of the clip
    motion_bpp: float  # bits of flow per luma sample
    mean_motion: float  # length of the vectors: known ones, else those of DIS
    ssvc_to_dis: float  # mean end-point difference
    ssvc_to_known: float
    dis_to_known: float
    warp_nothing: float  # PSNR of the frame before as it is
    warp_ssvc: float
    warp_dis: float
    warp_known: float


@dataclass(frozen=True)
class CodedFlow:
    """What ssvc says of one P frame."""

    flow: Flow
    n_motion_bytes: int
    n_bytes: int  # of the packet
    stream_share: float  # of all MOTION payloads in all packets of the clip


def code_flow(clip: Clip, args: argparse.Namespace) -> dict[int, CodedFlow]:
    """Decoded flow of every P frame, by index."""
    options = run_options(args)
    encoder = open_encoder(
        clip.format, time_base=1 / clip.frame_rate, crf=args.crf, keyint=args.keyint, options=options
    )
    packets = [packet for frame in clip.frames for packet in encoder.send(frame)]
    decoder = open_decoder(encoder.sequence_header, options=options, parts=frozenset({"motion"}))
    stream_share = sum(map(motion_bytes, packets)) / sum(len(packet.data) for packet in packets)
    coded = {}
    for packet in packets:
        for field in cast(list[FlowField], decoder.send(packet)):
            flow = field.resampled(1).values
            coded[packet.pts or 0] = CodedFlow(flow, motion_bytes(packet), len(packet.data), stream_share)
    return coded


def motion_bytes(packet: Packet) -> int:
    """Payload of the MOTION substreams."""
    return sum(entry.length for entry in parse_packet(packet.data).entries if entry.kind == SubstreamKind.MOTION)


def dis_flow(current: Plane, previous: Plane) -> Flow:
    """(2, H, W): OpenCV's Dense Inverse Search, medium preset, of 8-bit luma."""
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    found = dis.calc(current, previous, np.zeros((*current.shape, 2), np.float32))
    return np.moveaxis(found, 2, 0).astype(np.float32)


def warp(previous: Plane, flow: Flow) -> Plane:
    """Luma of the frame before, moved bilinearly; beyond the picture its border goes on."""
    height, width = previous.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return cv2.remap(previous, x + flow[0], y + flow[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[return-value]


def end_point(a: Flow | None, b: Flow | None, *, visible: Mask | None = None) -> float:
    """Mean length of the difference of two flows; NaN where one is missing."""
    if a is None or b is None:
        return math.nan
    distance = np.hypot(*(a - b))
    return float(distance.mean() if visible is None else distance[visible].mean())


def warp_psnr(pair: tuple[Frame, Frame], flow: Flow | None) -> float:
    """PSNR of the second frame's luma against that of the first, moved."""
    previous, current = pair
    return math.nan if flow is None else plane_psnr(current.y, warp(previous.y, flow), peak=255)


def clip_lines(clip: Clip, coded: Mapping[int, CodedFlow], motion: KnownMotion | None) -> Iterator[FlowLine]:
    """Every P frame."""
    for index, pair in enumerate(zip(clip.frames, clip.frames[1:], strict=False), start=1):
        if index not in coded:
            continue
        ours = coded[index]
        known = motion.flow[index - 1] if motion else None
        visible = motion.visible[index - 1] if motion else None
        dis = dis_flow(pair[1].y, pair[0].y)
        yield FlowLine(
            clip=clip.name,
            index=index,
            motion_share=ours.n_motion_bytes / ours.n_bytes,
            stream_share=ours.stream_share,
            motion_bpp=8 * ours.n_motion_bytes / dis[0].size,
            mean_motion=end_point(dis if known is None else known, np.zeros_like(dis)),
            ssvc_to_dis=end_point(ours.flow, dis),
            ssvc_to_known=end_point(ours.flow, known, visible=visible),
            dis_to_known=end_point(dis, known, visible=visible),
            warp_nothing=warp_psnr(pair, np.zeros_like(dis)),
            warp_ssvc=warp_psnr(pair, ours.flow),
            warp_dis=warp_psnr(pair, dis),
            warp_known=warp_psnr(pair, known),
        )


def mean_line(lines: Sequence[FlowLine]) -> FlowLine:
    """Mean of each number over the frames of one clip."""
    rows = np.array([astuple(line)[1:] for line in lines], dtype=np.float64)
    means = rows.mean(axis=0).tolist()
    return FlowLine(lines[0].clip, math.nan, *means[1:])


def write_tables(folder: Path, lines: Sequence[FlowLine], means: Sequence[FlowLine]) -> str:
    """Write flow_quality.tsv (frames) and flow_quality.md (means); gives the Markdown."""

    def cells(line: FlowLine, n_digits: int) -> list[str]:
        return [line.clip, *("" if math.isnan(v) else f"{v:.{n_digits}f}" for v in astuple(line)[2:])]

    names = [field.name for field in fields(FlowLine)]
    rows = [[cells(line, 5)[0], f"{line.index:g}", *cells(line, 5)[1:]] for line in lines]
    (folder / "flow_quality.tsv").write_text("".join("\t".join(row) + "\n" for row in [names, *rows]))
    head = [
        "clip",
        "share of flow in P packets",
        "in the stream",
        "flow, bits per sample",
        "mean motion, px",
        "ssvc - DIS, px",
    ]
    head += [
        "ssvc - known, px",
        "DIS - known, px",
        "PSNR Y of the frame before, dB",
        "moved by ssvc",
        "by DIS",
        "by known",
    ]
    table = [head, ["---"] * len(head), *(cells(line, 3) for line in means)]
    markdown = "".join("| " + " | ".join(row) + " |\n" for row in table)
    (folder / "flow_quality.md").write_text(markdown)
    return markdown


class Picture:
    """The rows of flow.png: frame, ssvc's flow, DIS's flow, the known one."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, list[tuple[str, NDArray[np.generic] | None]]]] = []

    def add(self, clip: Clip, coded: Mapping[int, CodedFlow], motion: KnownMotion | None) -> None:
        """The last P frame of a clip, all flows to one scale of colours."""
        index = max(coded)
        known = motion.flow[index - 1] if motion else None
        dis = dis_flow(clip.frames[index].y, clip.frames[index - 1].y)
        limit = max(1.0, 1.1 * float(np.quantile(np.hypot(*(dis if known is None else known)), 0.99)))
        flows = {"ssvc": coded[index].flow, "DIS": dis, "known": known}
        colored = [(name, None if f is None else flow_to_rgb(f, max_pixels=limit)) for name, f in flows.items()]
        self.rows.append((f"{clip.name}, {limit:.1f} px", [("frame", rgb_of(clip.frames[index])), *colored]))

    def save(self, path: Path) -> None:
        """Write the picture."""
        import matplotlib as mpl

        mpl.use("Agg")
        from matplotlib import pyplot as plt

        n_rows, n_columns = len(self.rows), max(len(cells) for _, cells in self.rows)
        size = (4 * n_columns, 2.5 * n_rows)
        figure, axes = plt.subplots(n_rows, n_columns, figsize=size, squeeze=False, constrained_layout=True)
        for (name, cells), line in zip(self.rows, axes, strict=True):
            for (title, image), ax in zip(cells, line, strict=True):
                ax.set_axis_off()
                if image is not None:
                    ax.imshow(image)
                    ax.set_title(name if title == "frame" else title, fontsize=9)
        figure.savefig(path, dpi=90)
        plt.close(figure)


def rgb_of(frame: Frame) -> NDArray[np.uint8]:
    """(H, W, 3): the frame in colour, for the picture alone."""
    size = frame.y.shape[::-1]
    u, v = (cv2.resize(p, size, interpolation=cv2.INTER_LINEAR) for p in (frame.u, frame.v))
    return cv2.cvtColor(np.dstack([frame.y, v, u]).astype(np.uint8), cv2.COLOR_YCrCb2RGB).astype(np.uint8)


def sources(args: argparse.Namespace) -> Iterator[tuple[Clip, KnownMotion | None]]:
    """Clips, then synthetic ones."""
    if args.clips:
        for name, path in find_clips(args.data, args.clips).items():
            yield load_clip(name, path, n_frames=args.frames), None
    sizes = [float(size) for size in args.synthetic.split(",") if size]
    for seed, size in enumerate(sizes, start=SYNTHETIC_SEED):
        motion = synthetic_motion(width=448, height=256, n_frames=args.frames, size=size, seed=seed)
        yield motion.clip, motion


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--data", type=Path, required=True, help="evaluation folder with video/ and davis/")
    parser.add_argument("--out", type=Path, required=True, help="folder for the tables and the picture")
    parser.add_argument("--clips", default="all", help="names or files, separated by commas; may be empty")
    parser.add_argument(
        "--synthetic", default=",".join(map(str, SYNTHETIC_SIZES)), help="samples a frame, may be empty"
    )
    parser.add_argument("--frames", type=int, default=12, help="first frames of each clip")
    parser.add_argument("--keyint", type=int, default=12)
    parser.add_argument("--crf", type=float, default=28)
    add_options(parser)
    return parser.parse_args()


def main() -> int:
    """Measure every clip; the tables are written anew after each."""
    args = parse_arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    lines: list[FlowLine] = []
    means: list[FlowLine] = []
    picture = Picture()
    markdown = ""
    for clip, motion in sources(args):
        coded = code_flow(clip, args)
        found = list(clip_lines(clip, coded, motion))
        lines += found
        means.append(mean_line(found))
        markdown = write_tables(args.out, lines, means)
        picture.add(clip, coded, motion)
        print(clip.name, file=sys.stderr, flush=True)
    picture.save(args.out / "flow.png")
    print(markdown, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
