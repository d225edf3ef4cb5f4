"""What each choice that an encoder may try gains, and its time: alone and together, also those that are not shipped.

    python benchmarks/encoder_search.py --shards shards/ --numbers 3,7,13,24 --frames 8 --out results/encoder_search.tsv
    python benchmarks/encoder_search.py --data ../shared/data/eval --clips BasketballPass --frames 24 --keyint 12 \
        --choices "none;medium;slow" --out results/encoder_search_clips.tsv

--shards takes held-out training clips, every 23rd, 256x256 of their middle; --data evaluation clips as they are.
Writes a row for each choice, clip and q, kept between runs: what is there is not measured again. Prints means against
`none`, which is `medium` without any search. Cost is log2(R + lambda D), lambda that of the stream's q; bits and
PSNR (6:1:1) give the BD-rate. Seconds are those of the processor for a P frame. Streams of `q ..` are not for
decoders: headers keep the planned q, sizes are right.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, fields, replace
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np
import torch
from clips import find_clips, load_clip
from torch import Tensor

from ssvc_codec.encoder import Encoder, FrameStatistics
from ssvc_codec.evaluation.bd_rate import RatePoint, bd_rate
from ssvc_codec.evaluation.psnr import frame_psnr, mean_psnr
from ssvc_codec.frame import Frame, VideoFormat
from ssvc_codec.inference import inter, motion_search, quantiser, residual_search
from ssvc_codec.inference.inter import SEARCHES, FrameMaps, InterCoder, InterReference, PFrame, Search
from ssvc_codec.nets import motion
from ssvc_codec.nets.distortion import cell_errors
from ssvc_codec.nets.lagrangian import PLANE_WEIGHTS, lambda_of
from ssvc_codec.training.shards import Clip, read_shards

NOTHING = Search(finest=0, optimise=True, skip=False, motion_steps=0, zeroing=False, merge=False)
HELD_OUT = 23  # every one of that many clips
SIDE = 256


class Choice(NamedTuple):
    """What is tried for every P frame; the least cost of all combinations is kept."""

    search: Search = NOTHING
    smoothing: tuple[float, ...] = (1.0,)  # of the flow, in units of what is shipped
    flows: tuple[str, ...] = ("searched",)
    q_steps: tuple[int, ...] = (0,)
    worth: float = 1.0  # of the error, in units of lambda, when candidates are compared
    knee: float = motion_search.KNEE  # from where an error of the warp is worth its logarithm
    motion_price: float = quantiser.BITS_PER_SQUARED_STEP
    residual_worth: float = residual_search.SYMBOL_WORTH


CHOICES = {
    "none": Choice(),
    "skip": Choice(NOTHING._replace(skip=True)),
    "merge": Choice(NOTHING._replace(merge=True)),
    "motion 3": Choice(NOTHING._replace(motion_steps=3)),
    "motion 15": Choice(NOTHING._replace(motion_steps=15)),
    "zeroing": Choice(NOTHING._replace(zeroing=True)),
    "medium without zeroing": Choice(SEARCHES["medium"]._replace(zeroing=False)),
    "motion 40": Choice(NOTHING._replace(motion_steps=40)),
    "motion 3, lambda D": Choice(NOTHING._replace(motion_steps=3), knee=1e4),
    "medium": Choice(SEARCHES["medium"]),
    "slow": Choice(SEARCHES["slow"]),
    "smoothing 1, 3, 0.4": Choice(smoothing=(1.0, 3.0, 0.4)),
    "medium, smoothing 1, 3, 0.4": Choice(SEARCHES["medium"], smoothing=(1.0, 3.0, 0.4)),
    "flow before, none": Choice(flows=("searched", "before", "none")),
    "q -4, +4": Choice(q_steps=(0, -4, 4)),
    "q -4, +4, worth 1.5": Choice(q_steps=(0, -4, 4), worth=1.5),
    "motion price 12": Choice(motion_price=12.0),
    "motion price 100": Choice(motion_price=100.0),
    "residual worth 1": Choice(SEARCHES["medium"], residual_worth=1.0),
    "residual worth 2": Choice(SEARCHES["medium"], residual_worth=2.0),
    "residual worth 3": Choice(SEARCHES["medium"], residual_worth=3.0),
}


class PricedQuantiser(quantiser.Quantiser):
    """With another price for errors."""

    price = quantiser.BITS_PER_SQUARED_STEP

    def __call__(self, residual: Tensor, index: Tensor) -> Tensor:
        """See Quantiser."""
        with mock.patch.object(quantiser, "BITS_PER_SQUARED_STEP", self.price):
            return super().__call__(residual, index)


def coder_of(choice: Choice) -> type[InterCoder]:
    """An InterCoder that tries what a choice says."""

    class TrialCoder(InterCoder):
        def encode(
            self, frame: Frame, maps: FrameMaps, before: InterReference, *, flow: Tensor | None = None
        ) -> PFrame:
            self._motion_quantiser.price = choice.motion_price  # pyright: ignore[reportAttributeAccessIssue]
            assert flow is not None
            flows = {"searched": flow, "before": before.flow, "none": torch.zeros_like(flow)}
            least: tuple[float, PFrame] | None = None
            for step, name, smoothing in product(choice.q_steps, choice.flows, choice.smoothing):
                own = self.frame_maps(np.clip(maps.q + step, 0, 63), maps.groups, maps.members)
                with (
                    mock.patch.object(motion, "SMOOTH_PRICE", SMOOTH_PRICE * smoothing),
                    mock.patch.object(motion_search, "KNEE", choice.knee),
                    mock.patch.object(residual_search, "SYMBOL_WORTH", choice.residual_worth),
                ):
                    coded = super().encode(frame, own, before, flow=flows[name])
                cost = self._cost(coded, frame, maps)
                if least is None or cost < least[0]:
                    least = cost, coded
            assert least is not None
            return least[1]

        def _cost(self, coded: PFrame, frame: Frame, maps: FrameMaps) -> float:
            n_bytes = sum(len(data) for data in (*coded.motion.values(), *coded.residual.values()))
            x = inter.to_half(inter.frame_to_tensor(frame, self.device))
            error = cell_errors(x, coded.picture, "psnr") * lambda_of(maps.maps.q_map.flatten()[:1])
            return 8 * n_bytes + choice.worth * float(error.sum())

    return TrialCoder


SMOOTH_PRICE = motion.SMOOTH_PRICE


@dataclass(frozen=True)
class Row:
    """One clip, coded at one q with one choice."""

    choice: str
    clip: str
    q: int  # of the stream
    n_bytes: int
    n_p_bytes: int
    psnr_611: float
    psnr_last: float  # of the last frame
    cost: float
    seconds: float  # of a P frame


def shard_clips(folder: Path, numbers: Sequence[int], *, n_frames: int) -> Iterator[tuple[str, list[Frame]]]:
    """Held-out clips by number."""
    wanted = {HELD_OUT * number: number for number in numbers}
    for k, clip in enumerate(read_shards(folder)):
        if k in wanted:
            yield f"held-out {wanted[k]}", middle(clip, n_frames)


def middle(clip: Clip, n_frames: int) -> list[Frame]:
    """The first frames of a clip, SIDE x SIDE samples of their middle."""
    top, left = ((side - SIDE) // 4 for side in clip.y.shape[1:])
    video, base = VideoFormat(SIDE, SIDE), Fraction(1, 25)
    frames: list[Frame] = []
    for k in range(min(n_frames, clip.y.shape[0])):
        y = clip.y[k, 2 * top : 2 * top + SIDE, 2 * left : 2 * left + SIDE]
        u, v = (c[k, top : top + SIDE // 2, left : left + SIDE // 2] for c in (clip.u, clip.v))
        frames.append(Frame(y.numpy(), u.numpy(), v.numpy(), video, pts=k, duration=1, time_base=base))
    return frames


def measure(name: str, clip: str, frames: Sequence[Frame], q: int, *, keyint: int, model: str) -> Row:
    """Codes a clip with one choice."""
    choice = CHOICES[name]
    with (
        mock.patch("ssvc_codec.encoder.InterCoder", coder_of(choice)),
        mock.patch.object(inter, "Quantiser", PricedQuantiser),
        mock.patch.dict(SEARCHES, medium=choice.search),
    ):
        encoder = Encoder(
            frames[0].format,
            time_base=frames[0].time_base,
            crf=63 - q,
            keyint=keyint,
            scenecut=False,
            model=model,
            device="cpu",
        )
    seconds, qualities, errors = 0.0, [], 0.0
    statistics: list[FrameStatistics] = []
    for frame in frames:
        start = time.process_time()
        encoder.send(frame)
        assert encoder.statistics is not None
        statistics.append(encoder.statistics)
        if not encoder.statistics.is_keyframe:
            seconds += time.process_time() - start
        assert encoder.reconstruction is not None
        shown = replace(frame, **dict(zip("yuv", encoder.reconstruction, strict=True)))
        qualities.append(frame_psnr(frame, shown))
        planes = zip((frame.y, frame.u, frame.v), (shown.y, shown.u, shown.v), PLANE_WEIGHTS, strict=True)
        errors += sum(w * float(np.square(a.astype(np.float64) - b).mean()) for a, b, w in planes) / len(frames)
    video = frames[0].format
    n_bytes = sum(s.n_bytes for s in statistics)
    bpp = 8 * n_bytes / (video.width * video.height * len(frames))
    inter_frames = [s for s in statistics if not s.is_keyframe]
    return Row(
        name,
        clip,
        q,
        n_bytes,
        sum(s.n_bytes for s in inter_frames),
        mean_psnr(qualities).yuv611,
        qualities[-1].yuv611,
        math.log2(bpp + float(lambda_of(torch.tensor(float(q)))) * errors),
        seconds / max(1, len(inter_frames)),
    )


def read_rows(path: Path) -> list[Row]:
    """Rows written before."""
    if not path.exists():
        return []
    lines = [line.split("\t") for line in path.read_text().splitlines()[1:]]
    return [Row(a, b, int(q), int(n), int(p), *map(float, rest)) for a, b, q, n, p, *rest in lines]


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """All rows as TSV."""
    lines = ["\t".join(field.name for field in fields(Row))]
    lines += ["\t".join(f"{v:.6g}" if isinstance(v, float) else str(v) for v in astuple(row)) for row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def report(rows: Sequence[Row]) -> str:
    """Means of every choice against none, as Markdown."""
    head = ["choice", "BD-rate, %", "by clip", "cost, %", "bits of P, %", "last frame, dB", "seconds a P frame"]
    lines = [head, ["---"] * len(head)]
    found = {(row.choice, row.clip, row.q): row for row in rows}
    for name in dict.fromkeys(row.choice for row in rows):
        pairs = [(found["none", r.clip, r.q], r) for r in rows if r.choice == name and ("none", r.clip, r.q) in found]
        if not pairs:
            continue
        rates = [
            bd_rate(*([RatePoint(p[k].n_bytes, p[k].psnr_611) for p in pairs if p[1].clip == clip] for k in (0, 1)))
            for clip in dict.fromkeys(row.clip for _, row in pairs)
        ]
        mean = {
            "cost": 2 ** np.mean([b.cost - a.cost for a, b in pairs]) - 1,
            "bits": 2 ** np.mean([math.log2(b.n_p_bytes / a.n_p_bytes) for a, b in pairs]) - 1,
            "last": np.mean([b.psnr_last - a.psnr_last for a, b in pairs]),
        }
        lines.append(
            [
                name,
                f"{np.mean([rate.percent for rate in rates]):+.2f}",
                " ".join(f"{rate.percent:+.1f}" for rate in rates),
                f"{100 * mean['cost']:+.2f}",
                f"{100 * mean['bits']:+.1f}",
                f"{mean['last']:+.2f}",
                f"{np.mean([b.seconds for _, b in pairs]):.3f}",
            ]
        )
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def main() -> int:
    """Measures what is not in the file yet."""
    parser = argparse.ArgumentParser(description="Gain and time of an encoder's choices.", allow_abbrev=False)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--shards", type=Path, help="folder of training shards")
    source.add_argument("--data", type=Path, help="evaluation folder with video/ and davis/")
    parser.add_argument("--numbers", default="3,7,13,24", help="of held-out clips")
    parser.add_argument("--clips", default="BasketballPass", help="names or files, separated by commas")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--keyint", type=int, default=12)
    parser.add_argument("--q", default="8,22,36,50", help="of streams, separated by commas")
    parser.add_argument("--choices", default=";".join(CHOICES), help=f"of {'; '.join(CHOICES)}")
    parser.add_argument("--model", default="base", help="name or folder")
    parser.add_argument("--out", type=Path, required=True, help="the table")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.shards is not None:
        clips = dict(shard_clips(args.shards, [int(n) for n in args.numbers.split(",")], n_frames=args.frames))
    else:
        paths = find_clips(args.data, args.clips)
        clips = {name: list(load_clip(name, p, n_frames=args.frames).frames) for name, p in paths.items()}
    rows = read_rows(args.out)
    done = {(row.choice, row.clip, row.q) for row in rows}
    for name in args.choices.split(";"):
        for (clip, frames), q in product(clips.items(), map(int, args.q.split(","))):
            if (name, clip, q) not in done:
                rows.append(measure(name, clip, frames, q, keyint=args.keyint, model=args.model))
        write_rows(args.out, rows)
        print(f"{name} done", file=sys.stderr, flush=True)
    print(report(rows), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
