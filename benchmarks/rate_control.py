"""How close do bit rates and qualities come to what was asked for, and is the buffer ever overdrawn?

    python benchmarks/rate_control.py record   --data ../shared/data --out results/rate_control
    python benchmarks/rate_control.py simulate --out results/rate_control
    python benchmarks/rate_control.py encode   --data ../shared/data --out results/rate_control --preset fast

`record` codes 100 frames of every clip at six q and writes bits and PSNR of every frame (tables.tsv). `simulate` lets
the controls run for 10 s against these tables, between whose q it interpolates: quick, but there a frame does not
depend on the q of the frames before it. `encode` codes 10 s for real, at rates that the tables say are possible. Both
write a row for each run (simulated.tsv, encoded.tsv) and means and maxima of errors as Markdown. Clips are scaled to
--size; those that are too short play to and fro. All run at 25 frames per second, in groups of 50 frames.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, field, fields, replace
from fractions import Fraction
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import numpy as np
from clips import EVALUATION_CLIPS, load_clip, ping_pong
from rate_tables import TableRow, read_rows, record

from ssvc_codec.bitstream import FrameType
from ssvc_codec.errors import MediaError
from ssvc_codec.evaluation.clip import Clip
from ssvc_codec.evaluation.psnr import frame_psnr
from ssvc_codec.frame import Frame, VideoFormat
from ssvc_codec.gop.planner import FramePlan, q_offset
from ssvc_codec.gop.quality_control import PSNR_DB, QualityControl
from ssvc_codec.gop.rate_control import BitrateControl, CodedPicture, FrameFacts, RateControl
from ssvc_codec.gop.statistics import FrameStatistics
from ssvc_codec.gop.two_pass import FirstPass, TwoPassControl

CLIPS: Final = {name: f"eval/{path}" for name, path in EVALUATION_CLIPS.items()} | {
    "mall": "demo/mall_with_audio.mp4",
    "bicycle": "demo/person-bicycle-car-detection.mp4",
}
TABLE_FRAMES: Final = 100
N_FRAMES: Final = 250
RATE: Final = 25
KEYINT: Final = 50
TARGETS_Q: Final = (4, 14, 24, 34, 44)  # asked for is what the clip has at these constant q
FAST_PASS_COST: Final = (1.06, 1.12)  # in simulation: bits of preset fast over those of medium, for I and P frames


class Row(NamedTuple):
    """One run."""

    clip: str
    mode: str
    target: float  # kbit/s, or dB
    achieved: float
    error: float  # percent, or dB
    psnr_611: float
    n_overdrawn: int  # frames larger than what the buffer held
    n_retries: int  # frames coded more than once


@dataclass
class Outcome:
    """What a run collects."""

    n_bits: int = 0
    psnr: list[float] = field(default_factory=list)
    n_overdrawn: int = 0
    n_retries: int = 0

    @property
    def mean_psnr(self) -> float:
        """dB, mean of frames."""
        return float(np.mean(self.psnr))


class Bucket:
    """A decoder's buffer, kept apart from the one that the control keeps."""

    def __init__(self, rate: float, size: float) -> None:
        self._rate, self._size, self._fullness = rate, size, 0.9 * size

    def overdraws(self, n_bits: int) -> bool:
        """Takes a frame, then fills for the time of one."""
        is_over = n_bits > self._fullness
        self._fullness = min(self._fullness - n_bits + self._rate / RATE, self._size)
        return is_over


class Runner(Protocol):
    """Codes N_FRAMES frames of a clip under a control, or seems to."""

    def run(self, control: RateControl, *, bucket: Bucket | None, is_first_pass: bool = False) -> Outcome:
        """One run."""
        ...


class Table:
    """Bits and PSNR of the frames of one clip by q, between the recorded ones by interpolation."""

    def __init__(self, rows: Sequence[TableRow]) -> None:
        size = rows[0].width, rows[0].height
        self._frames: list[tuple[list[int], list[float], list[float]]] = []
        self._pictures: list[Frame] = []
        for number in range(max(row.number for row in rows) + 1):
            points = {row.q_index: row for row in rows if row.number == number}
            q = sorted(points)
            self._frames.append((q, [np.log2(points[k].n_bytes) for k in q], [points[k].psnr_611 for k in q]))
            self._pictures.append(picture_of(points[q[0]].activity, *size))

    def rate(self, base_q: int) -> float:
        """Bits per second of the recorded frames at a constant base q."""
        n_bits = 0.0
        for number, (q, bits, _) in enumerate(self._frames):
            q_index = min(base_q + q_offset(number % KEYINT, keyint=KEYINT), 63)
            n_bits += 8 * 2 ** float(np.interp(q_index, q, bits))
        return n_bits * RATE / len(self._frames)

    def psnr(self, base_q: int) -> float:
        """Mean dB of the recorded frames at a constant base q."""
        values: list[float] = []
        for number, (q, _, psnr) in enumerate(self._frames):
            q_index = min(base_q + q_offset(number % KEYINT, keyint=KEYINT), 63)
            values.append(float(np.interp(q_index, q, psnr)))
        return float(np.mean(values))

    def run(self, control: RateControl, *, bucket: Bucket | None, is_first_pass: bool = False) -> Outcome:
        """The control sees what the table says."""
        outcome = Outcome()
        for pts in range(N_FRAMES):
            number, distance = pts % len(self._frames), pts % KEYINT
            frame = replace(self._pictures[number], pts=pts)
            kind = FrameType.P if distance else FrameType.I
            plan = FramePlan(kind, distance, 0, q_offset=q_offset(distance, keyint=KEYINT))
            facts = FrameFacts(frame, plan, KEYINT)
            plan, n_trials = plan.with_base(control.next_q(facts)), 1
            cost = FAST_PASS_COST[kind] if is_first_pass else 1.0
            while True:
                q, bits, psnr = self._frames[number]
                n_bytes = round(cost * 2 ** float(np.interp(plan.q_index, q, bits)))
                again = control.retry(facts, n_bytes=n_bytes)
                if again is None or plan.with_base(again) == plan:
                    break
                plan, n_trials = plan.with_base(again), n_trials + 1
            value = float(np.interp(plan.q_index, q, psnr))
            if isinstance(control, QualityControl):
                control._measure = lambda _source, _decoded, value=value: value
            statistics = FrameStatistics(pts, kind, distance, plan.q_index, n_bytes, 0, n_bytes, n_trials=n_trials)
            control.update(statistics, CodedPicture(frame, lambda frame=frame: (frame.y, frame.u, frame.v)))
            note(outcome, statistics, value, bucket)
        return outcome


@dataclass
class RealRunner:
    """The encoder itself."""

    clip: Clip
    preset: str

    def run(self, control: RateControl, *, bucket: Bucket | None, is_first_pass: bool = False) -> Outcome:
        """Codes the clip."""
        from ssvc_codec.encoder import Encoder

        encoder = Encoder(
            self.clip.format,
            time_base=Fraction(1, RATE),
            rate_control=control,
            preset="fast" if is_first_pass else self.preset,  # type: ignore[arg-type]
            keyint=KEYINT,
            scenecut=False,
            device="cpu",
            threads=1,
        )
        outcome = Outcome()
        for frame in self.clip.frames:
            encoder.send(frame)
            assert encoder.statistics is not None
            assert encoder.reconstruction is not None
            value = frame_psnr(frame, Frame(*encoder.reconstruction, frame.format)).yuv611
            note(outcome, encoder.statistics, value, bucket)
        return outcome


def note(outcome: Outcome, statistics: FrameStatistics, psnr: float, bucket: Bucket | None) -> None:
    """Adds a frame to an outcome."""
    outcome.n_bits += 8 * statistics.n_bytes
    outcome.psnr.append(psnr)
    outcome.n_retries += statistics.n_trials > 1
    outcome.n_overdrawn += bucket is not None and bucket.overdraws(8 * statistics.n_bytes)


def picture_of(activity: float, width: int, height: int) -> Frame:
    """A frame whose gradient_activity is about this: columns of stripes beside a flat part."""
    luma = np.zeros((height, width), np.uint8)
    luma[:, 1 : round(activity * width / 50) + 1 : 2] = 50
    chroma = np.zeros((height // 2, width // 2), np.uint8)
    format = VideoFormat(width=width, height=height)
    return Frame(luma, chroma, chroma, format, pts=0, duration=1, time_base=Fraction(1, RATE))


def measure_rate(name: str, runner: Runner, mode: str, rate: float) -> Row:
    """One bit rate in one mode: one-pass, vbv (maxrate = bitrate, one second of buffer) or two-pass."""
    bucket: Bucket | None = None
    control: RateControl
    if mode == "two-pass":
        first = FirstPass(rate)
        runner.run(first, bucket=None, is_first_pass=True)
        control = TwoPassControl(first.frames, n_bits=rate * first.seconds)
    elif mode == "vbv":
        bucket = Bucket(rate, rate)
        control = BitrateControl(rate, maxrate=rate, bufsize=rate)
    else:
        control = BitrateControl(rate)
    outcome = runner.run(control, bucket=bucket)
    achieved = outcome.n_bits * RATE / N_FRAMES
    error = 100 * (achieved / rate - 1)
    return Row(
        name,
        mode,
        rate / 1000,
        achieved / 1000,
        error,
        outcome.mean_psnr,
        outcome.n_overdrawn,
        outcome.n_retries,
    )


def measure_quality(name: str, runner: Runner, target: float) -> Row:
    """One PSNR."""
    control = QualityControl(target, lambda source, decoded: frame_psnr(source, decoded).yuv611, prior=PSNR_DB)
    outcome = runner.run(control, bucket=None)
    psnr = outcome.mean_psnr
    return Row(name, "psnr", target, psnr, psnr - target, psnr, 0, 0)


def all_rows(
    runners: Iterable[tuple[str, Runner]], tables: dict[str, Table], modes: Sequence[str], targets: dict[str, int]
) -> Iterator[Row]:
    """Every clip in every mode.

    tables: say which rates are possible. targets: how many of the five by mode, spread evenly; all where it is silent.
    """
    for name, runner in runners:
        for mode in modes:
            n = targets.get(mode, 5)
            chosen = [(2 * i + 1) * 5 // (2 * n) for i in range(n)]
            for i in chosen:
                is_psnr = mode == "psnr"
                row = (
                    measure_quality(name, runner, tables[name].psnr(TARGETS_Q[i]))
                    if is_psnr
                    else measure_rate(name, runner, mode, tables[name].rate(TARGETS_Q[i]))
                )
                print(*(f"{v:.2f}" if isinstance(v, float) else v for v in row), file=sys.stderr, flush=True)
                yield row


def summary(rows: Sequence[Row]) -> str:
    """Means and maxima of errors by mode."""
    lines = [
        "| mode | clips | runs | mean error | largest error | frames overdrawn | frames coded again |",
        "|---" * 7 + "|",
    ]
    for mode in dict.fromkeys(row.mode for row in rows):
        chosen = [row for row in rows if row.mode == mode]
        unit = "dB" if mode == "psnr" else "%"
        errors = np.abs([row.error for row in chosen])
        cells = [mode, len({row.clip for row in chosen}), len(chosen)]
        cells += [f"{errors.mean():.2f} {unit}", f"{errors.max():.2f} {unit}"]
        cells += [sum(row.n_overdrawn for row in chosen), sum(row.n_retries for row in chosen)]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines) + "\n"


def load(data: Path, name: str, *, size: tuple[int, int], n_frames: int) -> Clip:
    """n_frames frames of a clip at RATE, to and fro where it is too short."""
    clip = load_clip(name, data / CLIPS[name], n_frames=n_frames, size=size)
    if len(clip.frames) < n_frames:
        clip = ping_pong(clip, n_frames=n_frames)
    frames = (replace(f, pts=i, duration=1, time_base=Fraction(1, RATE)) for i, f in enumerate(clip.frames))
    return replace(clip, frames=tuple(frames), frame_rate=Fraction(RATE))


def write_rows(path: Path, names: Sequence[str], rows: Iterable[tuple[object, ...]]) -> None:
    """A TSV, line by line as rows come."""
    with path.open("w") as file:
        print(*names, sep="\t", file=file)
        for row in rows:
            print(*(f"{v:.5g}" if isinstance(v, float) else v for v in row), sep="\t", file=file, flush=True)


def main() -> int:
    """Run one of the three steps."""
    parser = argparse.ArgumentParser(description="Errors of rate control.", allow_abbrev=False)
    parser.add_argument("step", choices=["record", "simulate", "encode"])
    parser.add_argument("--data", type=Path, help="folder with eval/ and demo/; not for simulate")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--clips", default=",".join(CLIPS))
    parser.add_argument("--modes", default="one-pass,vbv,two-pass,psnr")
    parser.add_argument("--targets", default="", help="how many of the five by mode, as two-pass=2,psnr=1")
    parser.add_argument("--size", default="208x120")
    parser.add_argument("--preset", default="medium", choices=["fast", "medium", "slow"])
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    names = args.clips.split(",")
    width, height = map(int, args.size.split("x"))
    if args.step != "simulate" and args.data is None:
        raise MediaError("--data is needed to code clips")
    if args.step == "record":
        clips = (load(args.data, name, size=(width, height), n_frames=TABLE_FRAMES) for name in names)
        rows = (astuple(row) for clip in clips for row in record(clip, preset=args.preset, keyint=KEYINT))
        write_rows(args.out / "tables.tsv", [f.name for f in fields(TableRow)], rows)
        return 0
    runners: Iterable[tuple[str, Runner]]
    tables = {name: Table(found) for name, found in read_rows(args.out / "tables.tsv").items()}
    if args.step == "simulate":
        runners = [(name, tables[name]) for name in names if name in tables]
    else:
        loaded = (load(args.data, name, size=(width, height), n_frames=N_FRAMES) for name in names)
        runners = ((clip.name, RealRunner(clip, args.preset)) for clip in loaded)
    targets = {mode: int(n) for mode, _, n in (item.partition("=") for item in args.targets.split(",")) if mode}
    stem = "simulated" if args.step == "simulate" else "encoded"
    done: list[Row] = []

    def kept() -> Iterator[Row]:
        for row in all_rows(runners, tables, args.modes.split(","), targets):
            done.append(row)
            yield row

    write_rows(args.out / f"{stem}.tsv", Row._fields, kept())
    text = summary(done)
    (args.out / f"{stem}.md").write_text(text)
    print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
