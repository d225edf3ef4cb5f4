"""What a pipe into ffmpeg costs at 1080p, in milliseconds per frame.

    python benchmarks/pipes.py --out results/pipes.tsv [--frames 60] [--ssv clip.ssv]

Without --ssv: frames that are there already go through each format of the pipe into `ffmpeg -i - -f null -`, so that
nothing but the pipe is measured. "nothing" is the same loop with no pipe. With --ssv the file is also decoded in
process and by `ssvc decode FILE - | ffmpeg -i - -f null -`, one after the other.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from results import write_table

from ffmpeg_bridge import VideoWriter, open_ssv
from ssvc_codec.frame import Frame, VideoFormat

SSVC = (sys.executable, "-c", "import ssvc_codec.cli as c; c.main()")
READER = ("ffmpeg", "-v", "error", "-i", "-", "-f", "null", "-")
FORMATS = (("mkv", 8), ("nut", 8), ("y4m", 8), ("mkv", 10), ("y4m", 10))


class Line(NamedTuple):
    """One row of the table."""

    what: str
    bit_depth: int
    n_frames: int
    ms_per_frame: float


def make_frames(n_frames: int, video: VideoFormat) -> Iterator[Frame]:
    """A gradient that moves: FFV1 has something to do."""
    top = 1 << video.bit_depth
    ramp = np.add.outer(np.arange(video.height), np.arange(video.width)) % top
    base: Any = ramp.astype(video.dtype)
    chroma: Any = np.full((video.chroma_height, video.chroma_width), top // 2, video.dtype)
    frame = Frame(base, chroma, chroma, video, pts=0, duration=1, time_base=Fraction(1, 25))
    shifted = [replace(frame, y=np.roll(base, 8 * n, 1)) for n in range(4)]  # ready before the clock starts
    for number in range(n_frames):
        yield replace(shifted[number % 4], pts=number)


def time_format(name: str, bit_depth: int, n_frames: int) -> Line:
    """From the first frame handed in until ffmpeg has ended."""
    video = VideoFormat(1920, 1080, bit_depth=bit_depth)
    frames = make_frames(n_frames, video)
    first = next(frames)
    with subprocess.Popen(READER, stdin=subprocess.PIPE) as reader:
        assert reader.stdin is not None
        writer = VideoWriter(
            reader.stdin, format=video, time_base=Fraction(1, 25), average_rate=Fraction(25), container=name
        )
        writer.write(first)
        start = time.perf_counter()
        for frame in frames:
            writer.write(frame)
        writer.close()
        reader.stdin.close()
        reader.wait()
        seconds = time.perf_counter() - start
    return Line(name, bit_depth, n_frames, 1000 * seconds / (n_frames - 1))


def time_nothing(n_frames: int) -> Line:
    """The loop that makes frames."""
    frames = make_frames(n_frames, VideoFormat(1920, 1080))
    next(frames)
    start = time.perf_counter()
    n_others = sum(1 for _ in frames)
    return Line("nothing", 8, n_frames, 1000 * (time.perf_counter() - start) / n_others)


def time_file(path: str) -> list[Line]:
    """Decoding in process against decoding into a pipe, start of the programs left out of neither."""
    from ssvc_codec.decoder import Decoder

    start = time.perf_counter()
    with open_ssv(path) as source:
        decoder: Decoder[Frame] = Decoder(source.sequence_header)
        n_frames = sum(len(decoder.send(packet)) for packet in source) + len(decoder.flush())
        depth = source.format.bit_depth
    inside = time.perf_counter() - start
    start = time.perf_counter()
    with subprocess.Popen([*SSVC, "decode", path, "-", "-q"], stdout=subprocess.PIPE) as decoding:
        subprocess.run(READER, stdin=decoding.stdout, check=True)
    piped = time.perf_counter() - start
    return [
        Line("decode in process", depth, n_frames, 1000 * inside / n_frames),
        Line("decode into a pipe", depth, n_frames, 1000 * piped / n_frames),
    ]


def main() -> None:
    """See the top of the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--ssv", help="a file to decode")
    args = parser.parse_args()
    lines = [time_nothing(args.frames), *(time_format(name, depth, args.frames) for name, depth in FORMATS)]
    if args.ssv:
        lines += time_file(args.ssv)
    rows = [f"{line.what}\t{line.bit_depth}\t{line.n_frames}\t{line.ms_per_frame:.2f}\n" for line in lines]
    write_table("\t".join(Line._fields) + "\n" + "".join(rows), args.out)


if __name__ == "__main__":
    main()
