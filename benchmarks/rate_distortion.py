"""Rate and distortion of ssvc beside other codecs, on the same samples in one run.

    python benchmarks/rate_distortion.py --data ../shared/data/eval --out results --cache ~/.cache/ssvc-anchors
    python benchmarks/rate_distortion.py --data ../shared/data/eval --out results --cache ~/.cache/ssvc-anchors \
        --keyint 12 --frames 24 --codecs ssvc,ssvc-intra,x264,x265,svtav1

Writes rate_distortion.tsv (one row per clip, codec and quality point), bd_rate.tsv, bd_rate.md and a plot per clip.
Results of anchors are kept in --cache, by content of the clip, codec, options and ffmpeg version.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import PIL
from anchors import (
    ANCHOR_NAMES,
    ANCHORS,
    Coded,
    code_with_anchor,
    decode_samples,
    ffmpeg_version,
    packet_sizes,
    points_of,
)
from clips import clip_digest, find_clips, load_clip
from results import Row, compare, load_row, plot_clip, save_row, write_comparisons, write_rows
from ssvc_runner import add_options, run_decoder, run_encoder, run_options

from ssvc_codec.evaluation.clip import Clip, read_y4m, write_y4m
from ssvc_codec.evaluation.ms_ssim import MIN_SIDE, ms_ssim
from ssvc_codec.evaluation.psnr import frame_psnr, mean_psnr

DEFAULT_CRFS = "0,9,18,27,36,45,54,63"
OWN_INTRA = "ssvc-intra"
OWN_CODECS = ("ssvc", OWN_INTRA)  # the second: every frame an I frame, whatever --keyint says
MIB = 1 << 20


def measure(clip: Clip, coded: Coded, *, codec: str, point: float, peaks_mib: tuple[float, float] | None = None) -> Row:
    """The row of one coded clip. Raises ValueError when frames are missing."""
    pairs = list(zip(clip.frames, coded.frames, strict=True))
    psnr = mean_psnr(frame_psnr(a, b) for a, b in pairs)
    is_large = min(clip.format.width, clip.format.height) >= MIN_SIDE
    similarity = sum(ms_ssim(a.y, b.y) for a, b in pairs) / len(pairs) if is_large else math.nan
    encode_peak, decode_peak = peaks_mib or (math.nan, math.nan)
    return Row(
        clip=clip.name,
        codec=codec,
        point=point,
        n_frames=len(pairs),
        width=clip.format.width,
        height=clip.format.height,
        n_bytes=coded.n_bytes,
        bpp=8 * coded.n_bytes / clip.n_pixels,
        psnr_y=psnr.y,
        psnr_u=psnr.u,
        psnr_v=psnr.v,
        psnr_611=psnr.yuv611,
        ms_ssim=similarity,
        encode_seconds=coded.encode_seconds,
        decode_seconds=coded.decode_seconds,
        encode_peak_rss_mib=encode_peak,
        decode_peak_rss_mib=decode_peak,
    )


def anchor_row(clip: Clip, codec: str, point: float, args: argparse.Namespace) -> Row:
    """The row of an anchor, from the cache if it is there."""
    options = ANCHORS[codec].arguments(point, args.keyint) if codec in ANCHORS else ["progressive", PIL.__version__]
    key = json.dumps([clip_digest(clip), clip.name, codec, options, point, args.threads, ffmpeg_version()])
    path = args.cache / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json" if args.cache else None
    row = load_row(path) if path else None
    if row is None:
        with tempfile.TemporaryDirectory() as folder:
            coded = code_with_anchor(clip, codec, point, keyint=args.keyint, threads=args.threads, folder=Path(folder))
        row = measure(clip, coded, codec=codec, point=point)
        if path:
            save_row(path, row)
    return row


def ssvc_row(clip: Clip, codec: str, crf: float, args: argparse.Namespace) -> Row:
    """ssvc through the Python API, each direction in a process of its own."""
    options = run_options(args)
    keyint = 1 if codec == OWN_INTRA else args.keyint
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source, packets, decoded = folder / "source.y4m", folder / "coded.packets", folder / "decoded.y4m"
        with source.open("wb") as file:
            write_y4m(clip, file)
        encoding = run_encoder(source, packets, crf=crf, keyint=keyint, options=options)
        decoding = run_decoder(packets, decoded, options=options)
        frames = read_y4m(decoded).frames
    coded = Coded(encoding.n_bytes, encoding.coding_seconds, decoding.coding_seconds, frames)
    peaks = (encoding.peak_rss_bytes / MIB, decoding.peak_rss_bytes / MIB)
    return measure(clip, coded, codec=codec, point=crf, peaks_mib=peaks)


def ssvc_cli_row(clip: Clip, codec: str, crf: float, args: argparse.Namespace) -> Row:
    """ssvc through the program and a real .ssv file; times are those of whole processes."""
    keyint = 1 if codec == OWN_INTRA else args.keyint
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source, coded_path, decoded = folder / "source.y4m", folder / "coded.ssv", folder / "decoded.mkv"
        with source.open("wb") as file:
            write_y4m(clip, file)
        common = ["-q", "--threads", str(args.threads), "--device", args.device]
        start = time.perf_counter()
        encode = [
            "ssvc",
            "encode",
            str(source),
            str(coded_path),
            "--crf",
            f"{crf:g}",
            "--keyint",
            str(keyint),
            "--no-scenecut",
        ]
        subprocess.run([*encode, "--model", args.model, "--preset", args.preset, *common], check=True)
        encode_seconds = time.perf_counter() - start
        start = time.perf_counter()
        subprocess.run(["ssvc", "decode", str(coded_path), str(decoded), "--vcodec", "ffv1", *common], check=True)
        decode_seconds = time.perf_counter() - start
        frames = decode_samples(decoded, clip, pixel_format="yuv420p")
        n_bytes = sum(packet_sizes(coded_path))
    return measure(clip, Coded(n_bytes, encode_seconds, decode_seconds, frames), codec=codec, point=crf)


def run_clip(clip: Clip, args: argparse.Namespace) -> list[Row]:
    """All codecs and points of one clip, with a line of progress for each."""
    rows = []
    for codec in args.codecs.split(","):
        points = [float(p) for p in args.points.split(",")] if codec in OWN_CODECS else points_of(codec)
        for point in points:
            if codec in OWN_CODECS:
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
    parser.add_argument(
        "--codecs", default="ssvc,x264,x265,libjpeg,mjpeg", help=f"of {', '.join((*OWN_CODECS, *ANCHOR_NAMES))}"
    )
    parser.add_argument("--test", default="ssvc", help="codec whose BD-rate is computed against the others")
    parser.add_argument("--keyint", type=int, default=1, help="1: all intra; above: low delay with this GoP")
    add_options(parser)
    parser.add_argument(
        "--cli", action="store_true", help="use the ssvc program and files, not the Python API (--model: a name)"
    )
    args = parser.parse_args()
    unknown = set(args.codecs.split(",")) - {*OWN_CODECS, *ANCHOR_NAMES}
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
        write_rows(args.out / "rate_distortion.tsv", rows)
        plot_clip(args.out / f"{name}.png", rows, clip=name)
        markdown = write_comparisons(args.out, compare(rows, test=args.test), test=args.test)
    print(markdown, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
