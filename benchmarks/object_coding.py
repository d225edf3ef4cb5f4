"""What objects cost, and what reading a part of the stream saves.

    python benchmarks/object_coding.py --data ../shared/data --out results/objects

Each clip is coded twice with the same options, once with objects and once without (object_cost.tsv: bytes by part,
size and PSNR of the two). The stream with objects is then read in parts, in turn with full decodes in the same run
(partial_reading.tsv: share of the bits and of the time, and PSNR against the full decode inside the boxes).
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from clips import EVALUATION_CLIPS, load_clip
from numpy.typing import NDArray

from ssvc_codec.bitstream import FrameType, SceneObject, SubstreamKind, parse_packet
from ssvc_codec.decoder import Decoder
from ssvc_codec.encoder import Encoder
from ssvc_codec.evaluation.clip import Clip
from ssvc_codec.evaluation.psnr import frame_psnr
from ssvc_codec.frame import Frame
from ssvc_codec.packet import Packet
from ssvc_codec.selection import Selection
from ssvc_codec.semantics.open import open_detector
from ssvc_codec.semantics.tracker import Tracker

CLIPS = {name: f"eval/{path}" for name, path in EVALUATION_CLIPS.items()} | {
    "mall": "demo/mall_with_audio.mp4",
    "intersection": "demo/person-bicycle-car-detection.mp4",
}
DEFAULT_CLIPS = "BasketballPass,street_1080p,dog,soapbox,mall"


@dataclass(frozen=True)
class CostLine:
    """One clip with and without objects, in bytes of packets."""

    clip: str
    crf: float
    n_frames: int
    n_bytes_plain: int
    n_bytes: int  # with objects: the sum of the next five
    overhead_percent: float  # at equal q
    n_head_bytes: int
    n_object_bytes: int
    n_background_bytes: int
    n_motion_bytes: int
    n_residual_bytes: int
    psnr_plain: float  # 6:1:1, dB
    psnr: float
    mean_objects: float
    mean_groups: float
    mean_area_percent: float  # of the cells of groups of objects


@dataclass(frozen=True)
class PartLine:
    """One way of reading a stream."""

    clip: str
    crf: float
    part: str
    n_bytes_read: int
    share_percent: float  # of all packets
    milliseconds: float  # for each frame of the clip, whether it gives one or not
    times_faster: float  # than full decoding of the same stream in the same run
    shown_percent: float  # of the cells, mean over frames; NaN where no picture is made
    box_psnr: float  # luma inside the boxes of the objects asked for, against the full decode: mean of frames, dB
    worst_box_psnr: float


def encode(clip: Clip, args: argparse.Namespace, *, tracker: Tracker | None) -> tuple[list[Packet], list[int], float]:
    """Packets, bytes of every packet, and the mean PSNR of the encoder's own pictures."""
    encoder = Encoder(
        clip.format,
        time_base=1 / clip.frame_rate,
        crf=args.crf,
        keyint=args.keyint,
        scenecut=False,
        object_source=tracker,
        threads=args.threads,
        model=args.model,
    )
    packets: list[Packet] = []
    quality: list[float] = []
    for frame in clip.frames:
        packets += encoder.send(frame)
        shown = encoder.reconstruction
        assert shown is not None
        quality.append(frame_psnr(frame, Frame(*shown, clip.format)).yuv611)
        print(f"\r{clip.name}: frame {len(packets)} of {len(clip.frames)}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return packets, [len(p.data) for p in packets], float(np.mean(quality))


def open_decoder(args: argparse.Namespace, **options: Any) -> Decoder[Any]:
    """A decoder of the model under test."""
    model = args.model if Path(args.model).is_dir() else None
    return Decoder(model=model, threads=args.threads, device="cpu", **options)


def cost_line(clip: Clip, args: argparse.Namespace, detector: Any) -> tuple[CostLine, list[Packet]]:
    """Codes the clip twice."""
    tracker = Tracker(detector, width=clip.format.width, height=clip.format.height, every=args.every)
    packets, sizes, psnr = encode(clip, args, tracker=tracker)
    _, plain, psnr_plain = encode(clip, args, tracker=None)
    by_kind = dict.fromkeys(SubstreamKind, 0)
    for packet in packets:
        for entry in parse_packet(packet.data).entries:
            by_kind[SubstreamKind(entry.kind)] += entry.coded_size
    scenes = scenes_of(packets, clip)
    line = CostLine(
        clip.name,
        args.crf,
        len(packets),
        sum(plain),
        sum(sizes),
        100 * (sum(sizes) / sum(plain) - 1),
        sum(sizes) - sum(by_kind.values()),
        by_kind[SubstreamKind.OBJECT],
        by_kind[SubstreamKind.BACKGROUND],
        by_kind[SubstreamKind.MOTION],
        by_kind[SubstreamKind.RESIDUAL],
        psnr_plain,
        psnr,
        float(np.mean([len(objects) for objects, _ in scenes])),
        float(np.mean([groups.max() for _, groups in scenes])),
        100 * float(np.mean([(groups > 0).mean() for _, groups in scenes])),
    )
    return line, packets


Scene = tuple[tuple[SceneObject, ...], NDArray[np.uint16]]


def scenes_of(packets: Sequence[Packet], clip: Clip) -> list[Scene]:
    """Objects and group map of every frame, from heads alone."""
    from ssvc_codec.gop.groups import group_map

    scenes: list[Scene] = []
    objects: tuple[SceneObject, ...] = ()
    header = None
    for packet in packets:
        parsed = parse_packet(packet.data, partial=True)
        header = parsed.sequence_header or header
        assert header is not None
        objects = parsed.objects_after(objects, header)
        scenes.append((objects, group_map(objects, width=clip.format.width, height=clip.format.height)))
    return scenes


class Reading:
    """One way to read the stream, and what it gave."""

    def __init__(
        self, name: str, decoder: Decoder[Any] | None, wanted: Callable[[Packet], bool] = lambda _: True
    ) -> None:
        self.name, self.decoder, self.wanted = name, decoder, wanted
        self.seconds = 0.0
        self.n_bytes = 0
        self.shown: list[float] = []
        self.frames: list[Frame | None] = []

    def send(self, packet: Packet) -> None:
        """Reads one packet, or its head alone where there is no decoder."""
        start = time.perf_counter()
        frame = None
        if self.decoder is None:
            self.n_bytes += parse_packet(packet.data, partial=True).head_length
        elif self.wanted(packet):
            output = self.decoder.send(packet)
            frame = output[0] if output and isinstance(output[0], Frame) else None
            self.n_bytes = self.decoder.n_bytes_read
        self.seconds += time.perf_counter() - start
        self.frames.append(frame)
        if frame is not None and self.decoder is not None:
            self.shown.append(float(self.decoder.shown.mean()))


def part_lines(clip: Clip, packets: list[Packet], wanted: str, args: argparse.Namespace) -> list[PartLine]:
    """Reads the stream in every way, packet by packet in turn."""

    def is_key(packet: Packet) -> bool:
        return parse_packet(packet.data, partial=True).header.frame_type is FrameType.I

    readings = [
        Reading("all", open_decoder(args)),
        Reading("header only", None),
        Reading(f"objects {wanted}", open_decoder(args, select=Selection(objects=(wanted,), background=False))),
        Reading("no background", open_decoder(args, select=Selection(background=False))),
        Reading("background only", open_decoder(args, select=Selection(objects=()))),
        Reading("flow only", open_decoder(args, parts={"motion"})),
        Reading("key frames only", open_decoder(args), is_key),
    ]
    for packet in packets:
        for reading in readings:
            reading.send(packet)
    scenes = scenes_of(packets, clip)
    total = sum(len(packet.data) for packet in packets)
    full = readings[0]
    class_id = {name: number for number, name in (full.decoder.classes.names if full.decoder else ())}.get(wanted)
    lines: list[PartLine] = []
    for reading in readings:
        psnr = [math.nan]
        if reading.name.startswith("objects"):
            psnr = [
                box_psnr(a, b, scene, class_id) for a, b, scene in zip(full.frames, reading.frames, scenes, strict=True)
            ]
            psnr = [value for value in psnr if math.isfinite(value)] or [math.nan]
        lines.append(
            PartLine(
                clip.name,
                args.crf,
                reading.name,
                reading.n_bytes,
                100 * reading.n_bytes / total,
                1000 * reading.seconds / len(packets),
                full.seconds / reading.seconds,
                100 * float(np.mean(reading.shown)) if reading.shown else math.nan,
                float(np.mean(psnr)),
                float(np.min(psnr)),
            )
        )
    if args.pictures:
        save_picture(args.out / f"{clip.name}.png", full.frames[-1], readings[2].frames[-1])
    return lines


def box_psnr(full: Frame | None, part: Frame | None, scene: Scene, class_id: int | None) -> float:
    """Luma PSNR of part against full in the boxes of a class; NaN without one, infinite where they agree."""
    if full is None or part is None:
        return math.nan
    inside = np.zeros(full.y.shape, bool)
    for item in scene[0]:
        if item.class_id == class_id:
            inside[item.y : item.y + item.height, item.x : item.x + item.width] = True
    if not inside.any():
        return math.nan
    error = np.square(full.y[inside].astype(float) - part.y[inside]).mean()
    return 10 * math.log10(255**2 / error) if error else 99.0


def save_picture(path: Path, full: Frame | None, part: Frame | None) -> None:
    """The luma of two frames side by side."""
    from PIL import Image

    if full is not None and part is not None:
        Image.fromarray(np.concatenate([full.y, part.y], axis=1)).save(path)


def write_tsv(path: Path, lines: Sequence[CostLine] | Sequence[PartLine]) -> None:
    """One row per line, the field names first."""
    rows = ["\t".join(f.name for f in fields(lines[0]))]
    rows += ["\t".join(f"{v:.4g}" if isinstance(v, float) else str(v) for v in astuple(line)) for line in lines]
    path.write_text("\n".join(rows) + "\n")
    print(*rows, sep="\n")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--clips", default=DEFAULT_CLIPS)
    parser.add_argument(
        "--wanted", default="person", help="class whose objects are read alone; clip=class for one clip"
    )
    parser.add_argument("--detector", default="parser")
    parser.add_argument("--every", type=int, default=4)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--crf", type=float, default=28)
    parser.add_argument("--keyint", type=int, default=12)
    parser.add_argument("--model", default="base")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--pictures", action="store_true")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    wanted = dict(item.split("=") for item in args.wanted.split(",") if "=" in item)
    default = next((item for item in args.wanted.split(",") if "=" not in item), "person")
    detector = open_detector(args.detector, device="cpu", threads=args.threads)
    costs: list[CostLine] = []
    parts: list[PartLine] = []
    for name in args.clips.split(","):
        clip = replace(load_clip(name, args.data / CLIPS[name], n_frames=args.frames), name=name)
        line, packets = cost_line(clip, args, detector)
        costs.append(line)
        parts += part_lines(clip, packets, wanted.get(name, default), args)
        write_tsv(args.out / "object_cost.tsv", costs)
        write_tsv(args.out / "partial_reading.tsv", parts)


if __name__ == "__main__":
    main()
