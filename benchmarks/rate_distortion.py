"""Rate and distortion of ssvc beside other codecs on the evaluation clips, with peak memory.

    python benchmarks/rate_distortion.py --data ../shared/data/eval --out results --cache ~/.cache/ssvc-anchors
    python benchmarks/rate_distortion.py --data ../shared/data/eval --out results --cache ~/.cache/ssvc-anchors \
        --keyint 12 --frames 24 --codecs ssvc,ssvc-intra,x264,x265,svtav1

Writes rate_distortion.tsv (one row per clip, codec and quality point), bd_rate.tsv, bd_rate.md and a plot per clip.
Results of anchors are kept in --cache, by content of the clip, codec, options and versions. Codecs, measures and
tables are those of `ssvc bench`, which takes any clip and also keeps results of ssvc.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from clips import find_clips, load_clip
from ssvc_runner import add_options, run_decoder, run_encoder, run_options

from ffmpeg_bridge.bench.clips import clip_digest
from ffmpeg_bridge.bench.codec import Coded, Settings, decode_with_ffmpeg, write_source
from ffmpeg_bridge.bench.comparisons import Pair, compare, write_comparisons
from ffmpeg_bridge.bench.plots import plot_clip
from ffmpeg_bridge.bench.programs import packet_sizes
from ffmpeg_bridge.bench.registry import CODEC_NAMES, OWN_NAMES, anchor_codec
from ffmpeg_bridge.bench.report import render_bd_rates
from ffmpeg_bridge.bench.results import Row, RowCache, measure, write_rows
from ssvc_codec.evaluation.clip import Clip, read_y4m

DEFAULT_CRFS = "0,9,18,27,36,45,54,63"
OWN_INTRA = "ssvc-intra"
MIB = 1 << 20
FROM_JPEG = ("blackswan", "car-roundabout", "dog", "soapbox")
"""Clips whose source is JPEG: its block grid favours JPEG at high quality, so there is a mean without them."""


def anchor_row(clip: Clip, name: str, point: float, args: argparse.Namespace) -> Row:
    """The row of an anchor, from the cache if it is there."""
    codec = anchor_codec(name, Settings(keyint=args.keyint, threads=args.threads))
    cache = RowCache(args.cache)
    identity = [clip_digest(clip), *codec.identity(point)]
    row = cache.find(identity, clip=clip.name, codec=name, point=point)
    if row is None:
        with tempfile.TemporaryDirectory() as folder:
            coded = codec.code(clip, point, folder=Path(folder))
        row = measure(clip, coded, codec=name, point=point)
        cache.keep(identity, row)
    return row


def ssvc_row(clip: Clip, codec: str, crf: float, args: argparse.Namespace) -> Row:
    """ssvc through the Python API, each direction in a process of its own."""
    options = run_options(args)
    keyint = 1 if codec == OWN_INTRA else args.keyint
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source, packets, decoded = folder / "source.y4m", folder / "coded.packets", folder / "decoded.y4m"
        write_source(clip, source)
        encoding = run_encoder(source, packets, crf=crf, keyint=keyint, options=options)
        decoding = run_decoder(packets, decoded, options=options)
        frames = read_y4m(decoded).frames
    coded = Coded(encoding.n_bytes, encoding.coding_seconds, decoding.coding_seconds, frames)
    return replace(
        measure(clip, coded, codec=codec, point=crf),
        encode_peak_rss_mib=encoding.peak_rss_bytes / MIB,
        decode_peak_rss_mib=decoding.peak_rss_bytes / MIB,
    )


def ssvc_cli_row(clip: Clip, codec: str, crf: float, args: argparse.Namespace) -> Row:
    """ssvc through the program and a real .ssv file; times are those of whole processes."""
    keyint = 1 if codec == OWN_INTRA else args.keyint
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source, coded_path, decoded = folder / "source.y4m", folder / "coded.ssv", folder / "decoded.mkv"
        write_source(clip, source)
        common = ["-q", "--threads", str(args.threads), "--device", args.device]
        encode = ["ssvc", "encode", str(source), str(coded_path), "--crf", f"{crf:g}", "--keyint", str(keyint)]
        encode += ["--no-scenecut", "--detector", "none", "--model", args.model, "--preset", args.preset]
        start = time.perf_counter()
        subprocess.run([*encode, *common], check=True)
        encode_seconds = time.perf_counter() - start
        start = time.perf_counter()
        subprocess.run(["ssvc", "decode", str(coded_path), str(decoded), "--vcodec", "ffv1", *common], check=True)
        decode_seconds = time.perf_counter() - start
        frames = decode_with_ffmpeg(decoded, clip, pixel_format="yuv420p")
        n_bytes = sum(packet_sizes(coded_path))
    return measure(clip, Coded(n_bytes, encode_seconds, decode_seconds, frames), codec=codec, point=crf)


def run_clip(clip: Clip, args: argparse.Namespace) -> list[Row]:
    """All codecs and points of one clip, with a line of progress for each."""
    rows = []
    for codec in args.codecs.split(","):
        is_own = codec in OWN_NAMES
        points = [float(p) for p in args.points.split(",")] if is_own else anchor_codec(codec, Settings()).points
        for point in points:
            if is_own:
                row = (ssvc_cli_row if args.cli else ssvc_row)(clip, codec, point, args)
            else:
                row = anchor_row(clip, codec, point, args)
            print(
                f"{row.clip:16} {codec:10} {point:5g} {row.bpp:8.4f} bpp {row.psnr_611:6.2f} dB {row.ms_ssim:.5f}",
                file=sys.stderr,
                flush=True,
            )
            rows.append(row)
    return rows


def write_tables(rows: list[Row], args: argparse.Namespace) -> str:
    """All tables; gives the Markdown of the BD-rates."""
    write_rows(args.out / "rate_distortion.tsv", rows)
    pairs = [Pair(args.test, codec) for codec in args.codecs.split(",") if codec != args.test]
    others = [row.clip for row in rows if row.clip not in FROM_JPEG]
    comparisons = compare(rows, pairs, subsets={"mean without JPEG sources": others})
    write_comparisons(args.out / "bd_rate.tsv", comparisons)
    markdown = render_bd_rates(comparisons)
    (args.out / "bd_rate.md").write_text(markdown)
    return markdown


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--data", type=Path, required=True, help="evaluation folder with video/ and davis/")
    parser.add_argument("--out", type=Path, required=True, help="folder for tables and plots")
    parser.add_argument("--cache", type=Path, help="folder that keeps the results of anchors")
    parser.add_argument("--clips", default="all", help="names or files, separated by commas")
    parser.add_argument("--frames", type=int, default=8, help="first frames of each clip")
    parser.add_argument("--points", default=DEFAULT_CRFS, help="crf values of ssvc")
    parser.add_argument("--codecs", default="ssvc,x264,x265,libjpeg,mjpeg", help=f"of {', '.join(CODEC_NAMES)}")
    parser.add_argument("--test", default="ssvc", help="codec whose BD-rate is computed against the others")
    parser.add_argument("--keyint", type=int, default=1, help="1: all intra; above: low delay with this GoP")
    add_options(parser)
    parser.add_argument(
        "--cli", action="store_true", help="use the ssvc program and files, not the Python API (--model: a name)"
    )
    args = parser.parse_args()
    unknown = set(args.codecs.split(",")) - set(CODEC_NAMES)
    if unknown:
        parser.error(f"unknown codec {', '.join(sorted(unknown))}")
    return args


def main() -> int:
    """Run all clips; the tables are written anew after each, so that a stopped run leaves what it has."""
    args = parse_arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    markdown = ""
    for name, path in find_clips(args.data, args.clips).items():
        rows += run_clip(load_clip(name, path, n_frames=args.frames), args)
        plot_clip(args.out / f"{name}.png", rows, clip=name)
        markdown = write_tables(rows, args)
    print(markdown, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
