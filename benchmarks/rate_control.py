"""How close do bit rates and qualities come to what was asked for, and is the buffer ever overdrawn?

    python benchmarks/rate_control.py record   --data ../shared/data --out results/rate_control
    python benchmarks/rate_control.py simulate --out results/rate_control
    python benchmarks/rate_control.py encode   --data ../shared/data --out results/rate_control --preset fast

`record` codes 100 frames of every clip at six q and writes bits and PSNR of every frame (tables.tsv). `simulate` lets
the controls run for 10 s against these tables, between whose q it interpolates: quick, but there a frame does not
depend on the q of the frames before it. `encode` codes 10 s for real, at rates that the tables say are possible. Both
write a row for each run (simulated.tsv, encoded.tsv) and means and maxima of errors as Markdown. `encode` goes on where
it was cut off: rows that are there are not coded again. Clips are scaled to --size; those that are too short play to
and fro. All run at 25 frames per second, in groups of 50 frames.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, fields, replace
from fractions import Fraction
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from clips import EVALUATION_CLIPS, load_clip, ping_pong
from rate_runs import KEYINT, N_FRAMES, RATE, Bucket, RealRunner, Runner, Table
from rate_tables import TableRow, read_rows, record

from ssvc_codec.errors import MediaError
from ssvc_codec.evaluation.clip import Clip
from ssvc_codec.evaluation.psnr import frame_psnr
from ssvc_codec.gop.quality_control import PSNR_DB, QualityControl
from ssvc_codec.gop.rate_control import BitrateControl, RateControl
from ssvc_codec.gop.two_pass import FirstPass, TwoPassControl

CLIPS: Final = {name: f"eval/{path}" for name, path in EVALUATION_CLIPS.items()} | {
    "mall": "demo/mall_with_audio.mp4",
    "bicycle": "demo/person-bicycle-car-detection.mp4",
}
TABLE_FRAMES: Final = 100
TARGETS_Q: Final = (4, 14, 24, 34, 44)  # asked for is what the clip has at these constant q


class Row(NamedTuple):
    """One run."""

    clip: str
    mode: str
    base_q: int  # one of TARGETS_Q
    target: float  # kbit/s, or dB: what the clip has at base_q
    achieved: float
    error: float  # percent, or dB
    psnr_611: float
    n_overdrawn: int  # frames larger than what the buffer held
    n_retries: int  # frames coded more than once


def measure_rate(name: str, runner: Runner, mode: str, base_q: int, rate: float) -> Row:
    """One bit rate in one mode: one-pass (live), file (one pass of known length), vbv (maxrate = bitrate), two-pass."""
    bucket: Bucket | None = None
    control: RateControl
    if mode == "two-pass":
        first = FirstPass(rate)
        runner.run(first, bucket=None, is_first_pass=True)
        control = TwoPassControl(first.frames, n_bits=rate * first.seconds)
    elif mode == "vbv":
        bucket = Bucket(rate, rate)
        control = BitrateControl(rate, maxrate=rate, bufsize=rate)  # one second of buffer
    elif mode == "file":
        control = BitrateControl(rate, total_seconds=N_FRAMES / RATE)
    else:
        control = BitrateControl(rate)
    outcome = runner.run(control, bucket=bucket)
    achieved = outcome.n_bits * RATE / N_FRAMES
    error, psnr = 100 * (achieved / rate - 1), outcome.mean_psnr
    numbers = (rate / 1000, achieved / 1000, error, psnr)
    return Row(name, mode, base_q, *numbers, outcome.n_overdrawn, outcome.n_retries)


def measure_quality(name: str, runner: Runner, base_q: int, target: float) -> Row:
    """One PSNR."""
    control = QualityControl(target, lambda source, decoded: frame_psnr(source, decoded).yuv611, prior=PSNR_DB)
    psnr = runner.run(control, bucket=None).mean_psnr
    return Row(name, "psnr", base_q, target, psnr, psnr - target, psnr, 0, 0)


def all_rows(
    runners: Iterable[tuple[str, Runner]],
    tables: dict[str, Table],
    modes: Sequence[str],
    targets: dict[str, int],
    done: Sequence[Row] = (),
) -> Iterator[Row]:
    """Every clip in every mode, but for what is done.

    tables: say which rates are possible. targets: how many of the five by mode, spread evenly; all where it is silent.
    """
    have = {row[:3] for row in done}
    for name, runner in runners:
        for mode in modes:
            n = targets.get(mode, len(TARGETS_Q))
            for base_q in (TARGETS_Q[(2 * i + 1) * len(TARGETS_Q) // (2 * n)] for i in range(n)):
                if (name, mode, base_q) in have:
                    continue
                if mode == "psnr":
                    row = measure_quality(name, runner, base_q, tables[name].psnr(base_q))
                else:
                    row = measure_rate(name, runner, mode, base_q, tables[name].rate(base_q))
                print(*(f"{v:.2f}" if isinstance(v, float) else v for v in row), file=sys.stderr, flush=True)
                yield row


def summary(rows: Sequence[Row]) -> str:
    """Means and maxima of errors by mode."""
    lines = [
        "| mode | clips | runs | mean error | largest error | of | frames overdrawn | frames coded again |",
        "|---" * 8 + "|",
    ]
    for mode in dict.fromkeys(row.mode for row in rows):
        chosen = [row for row in rows if row.mode == mode]
        unit = "dB" if mode == "psnr" else "%"
        worst = max(chosen, key=lambda row: abs(row.error))
        cells = [mode, len({row.clip for row in chosen}), len(chosen)]
        cells += [f"{np.mean([abs(row.error) for row in chosen]):.2f} {unit}", f"{worst.error:+.2f} {unit}"]
        cells += [f"{worst.clip}, q {worst.base_q}"]
        cells += [sum(row.n_overdrawn for row in chosen), sum(row.n_retries for row in chosen)]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines) + "\n"


def by_clip(rows: Sequence[Row]) -> str:
    """Errors of every clip and rate, a table for each mode."""
    lines: list[str] = []
    for mode in dict.fromkeys(row.mode for row in rows):
        errors = {(row.clip, row.base_q): f"{row.error:+.2f}" for row in rows if row.mode == mode}
        levels = sorted({base_q for _, base_q in errors})
        lines += ["", f"| {mode} | " + " | ".join(f"q {q}" for q in levels) + " |", "|---" * (len(levels) + 1) + "|"]
        for clip in dict.fromkeys(clip for clip, _ in errors):
            lines.append(f"| {clip} | " + " | ".join(errors.get((clip, q), "") for q in levels) + " |")
    return "\n".join(lines) + "\n"


def load(data: Path, name: str, *, size: tuple[int, int], n_frames: int) -> Clip:
    """n_frames frames of a clip at RATE, to and fro where it is too short."""
    clip = load_clip(name, data / CLIPS[name], n_frames=n_frames, size=size)
    if len(clip.frames) < n_frames:
        clip = ping_pong(clip, n_frames=n_frames)
    frames = (replace(f, pts=i, duration=1, time_base=Fraction(1, RATE)) for i, f in enumerate(clip.frames))
    return replace(clip, frames=tuple(frames), frame_rate=Fraction(RATE))


def read_done(path: Path) -> list[Row]:
    """Rows of earlier runs; none where there is no file."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        found = list(csv.DictReader(file, delimiter="\t"))
    return [
        Row(
            row["clip"],
            row["mode"],
            int(row["base_q"]),
            float(row["target"]),
            float(row["achieved"]),
            float(row["error"]),
            float(row["psnr_611"]),
            int(row["n_overdrawn"]),
            int(row["n_retries"]),
        )
        for row in found
    ]


def write_rows(path: Path, names: Sequence[str], rows: Iterable[tuple[object, ...]], *, append: bool = False) -> None:
    """A TSV, line by line as rows come."""
    with path.open("a" if append else "w") as file:
        if not append:
            print(*names, sep="\t", file=file, flush=True)
        for row in rows:
            print(*(f"{v:.5g}" if isinstance(v, float) else v for v in row), sep="\t", file=file, flush=True)


def main() -> int:
    """Run one of the three steps."""
    parser = argparse.ArgumentParser(description="Errors of rate control.", allow_abbrev=False)
    parser.add_argument("step", choices=["record", "simulate", "encode"])
    parser.add_argument("--data", type=Path, help="folder with eval/ and demo/; not for simulate")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--clips", default=",".join(CLIPS))
    parser.add_argument("--modes", default="one-pass,file,vbv,two-pass,psnr")
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
    if args.step == "simulate":
        path, done = args.out / "simulated.tsv", []
    else:
        path = args.out / "encoded.tsv"
        done = read_done(path)
    kept = list(done)

    def fresh() -> Iterator[Row]:
        for row in all_rows(runners, tables, args.modes.split(","), targets, done):
            kept.append(row)
            yield row

    write_rows(path, Row._fields, fresh(), append=bool(done))
    text = summary(kept) + by_clip(kept)
    path.with_suffix(".md").write_text(text)
    print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
