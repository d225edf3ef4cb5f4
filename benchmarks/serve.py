"""What `ssvc serve` costs: seeks by ffmpeg on its URL, and reading straight through against decoding in process.

    python benchmarks/serve.py clip.ssv --out results/serve.tsv

Seeks go to places drawn at random with a fixed seed. `seconds` is that of the whole ffmpeg process, its start included;
`frames_decoded` what the server decoded for it, what ffmpeg did not wait for included. Straight reading and decoding in
process take turns, so that the ratio holds where other programs run; the first round of each is not counted.
"""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path

from results import write_table

from ffmpeg_bridge.reader import open_ssv
from ffmpeg_bridge.serving import VideoServer
from ssvc_codec.decoder import Decoder

COLUMNS = ("what", "at_seconds", "seconds", "frames_decoded", "ms_per_frame")


def run_ffmpeg(*arguments: str) -> float:
    """Seconds that one ffmpeg took."""
    begin = time.perf_counter()
    subprocess.run(["ffmpeg", "-v", "error", "-nostdin", *arguments], check=True)
    return time.perf_counter() - begin


def gop_lengths(source: Path) -> tuple[int, int, float]:
    """Frames, longest group of pictures, and the time of the last frame in seconds."""
    lengths: list[int] = []
    last = 0.0
    with open_ssv(str(source)) as reader:
        for packet in reader:
            lengths += [0] if packet.is_keyframe or not lengths else []
            lengths[-1] += 1
            last = float((packet.pts or 0) * packet.time_base)
    return sum(lengths), max(lengths), last


def settled(server: VideoServer) -> int:
    """Frames decoded, once the server has noticed that its reader is gone."""
    before = -1
    while before != (now := server.statistics.n_frames_decoded):
        before = now
        time.sleep(1)
    return now


def measure_seeks(source: Path, *, n_seeks: int, end: float, threads: int, device: str) -> list[tuple[object, ...]]:
    """A row for each seek, with decoders that stand where the seek before left them."""
    draw = random.Random(5)
    rows: list[tuple[object, ...]] = []
    with VideoServer(threads=threads, device=device) as server:
        url = server.add(source)
        run_ffmpeg("-i", url, "-frames:v", "1", "-f", "null", "-")  # loads the networks
        for _ in range(n_seeks):
            place = draw.uniform(0, end)
            before = settled(server)
            seconds = run_ffmpeg("-ss", f"{place:.3f}", "-i", url, "-frames:v", "1", "-an", "-sn", "-f", "null", "-")
            rows.append(("seek", f"{place:.3f}", f"{seconds:.3f}", settled(server) - before, ""))
    return rows


def decode_in_process(source: Path, *, threads: int, device: str) -> float:
    """Seconds to decode all frames after the first."""
    with open_ssv(str(source)) as reader:
        decoder = Decoder(reader.sequence_header, threads=threads, device=device)
        packets = iter(reader)
        decoder.send(next(packets))
        begin = time.perf_counter()
        for packet in packets:
            decoder.send(packet)
        return time.perf_counter() - begin


def read_straight(source: Path, *, threads: int, device: str) -> float:
    """Seconds that ffmpeg takes for all frames after the first: for all, less what it takes for one, each from a new
    server.
    """
    seconds: list[float] = []
    for options in (["-frames:v", "1"], []):
        with VideoServer(threads=threads, device=device) as server:
            seconds.append(run_ffmpeg("-i", server.add(source), "-map", "0:v", *options, "-f", "null", "-"))
    return seconds[1] - seconds[0]


def main() -> int:
    """Measure one file and write the table."""
    parser = argparse.ArgumentParser(description="Cost of serving.", allow_abbrev=False)
    parser.add_argument("source", type=Path, help="an .ssv, 1080p for the numbers in the documents")
    parser.add_argument("--seeks", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, help="TSV file; stdout when left out")
    args = parser.parse_args()
    how = {"threads": args.threads, "device": args.device}
    n_frames, longest, end = gop_lengths(args.source)
    rows = measure_seeks(args.source, n_seeks=args.seeks, end=end, **how)
    for name, column in (("seek_median", 2), ("seek_frames_mean", 3)):
        values = [float(str(row[column])) for row in rows if row[0] == "seek"]
        if name == "seek_median":
            rows.append((name, "", f"{statistics.median(values):.3f}", "", ""))
        else:
            rows.append((name, "", "", f"{statistics.fmean(values):.2f}", ""))
    rows.append(("longest_gop", "", "", longest, ""))
    times: dict[str, list[float]] = {"in_process": [], "serve_straight": []}
    for number in range(args.rounds + 1):
        taken = {
            "in_process": decode_in_process(args.source, **how),
            "serve_straight": read_straight(args.source, **how),
        }
        for what, seconds in taken.items():
            if number:
                times[what].append(seconds)
                rows.append((what, "", f"{seconds:.3f}", n_frames, f"{1000 * seconds / n_frames:.1f}"))
    medians = {what: 1000 * statistics.median(seconds) / n_frames for what, seconds in times.items()}
    rows += [(f"{what}_median", "", "", "", f"{value:.1f}") for what, value in medians.items()]
    overhead = medians["serve_straight"] - medians["in_process"]
    rows.append(("serve_overhead", "", "", "", f"{overhead:.1f}"))
    write_table("\n".join("\t".join(map(str, row)) for row in [COLUMNS, *rows]) + "\n", args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
