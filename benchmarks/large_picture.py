"""The largest picture, 8192x4320: how long one frame takes, and how much memory.

    python benchmarks/large_picture.py --out results/large_picture.tsv

The picture is drawn by ffmpeg. Encoder and decoder run in processes of their own, so that peak memory can be told.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from clips import run_tool
from results import write_table
from ssvc_runner import RunOptions, run_decoder, run_encoder

from ssvc_codec.evaluation.clip import read_y4m
from ssvc_codec.evaluation.psnr import frame_psnr

MIB = 1 << 20


def draw(path: Path, size: str) -> None:
    """One frame of moving shapes with grain, as y4m."""
    filters = f"testsrc2=size={size}:rate=25:duration=0.04,noise=alls=6:all_seed=1"
    run_tool(["ffmpeg", "-v", "error", "-f", "lavfi", "-i", filters, "-pix_fmt", "yuv420p", str(path)])


def main() -> int:
    """Measure one size and write the table."""
    parser = argparse.ArgumentParser(description="Time and peak memory of the largest picture.", allow_abbrev=False)
    parser.add_argument("--size", default="8192x4320")
    parser.add_argument("--crf", type=float, default=28)
    parser.add_argument("--model", default="base", help="name or folder")
    parser.add_argument("--preset", default="medium")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, help="TSV file; stdout when left out")
    args = parser.parse_args()
    options = RunOptions(args.model, args.preset, args.threads, args.device)
    with tempfile.TemporaryDirectory() as name:
        source, coded, decoded = (Path(name) / part for part in ("source.y4m", "coded.packets", "decoded.y4m"))
        draw(source, args.size)
        runs = {"encode": run_encoder(source, coded, crf=args.crf, keyint=1, options=options)}
        runs["decode"] = run_decoder(coded, decoded, options=options)
        psnr = frame_psnr(read_y4m(source).frames[0], read_y4m(decoded).frames[0])
    lines = ["what\tsize\tseconds\tpeak_rss_mib\tbytes\tpsnr_611"]
    for what, run in runs.items():
        cells = (f"{run.coding_seconds:.2f}", f"{run.peak_rss_bytes / MIB:.0f}", str(run.n_bytes), f"{psnr.yuv611:.2f}")
        lines.append("\t".join((what, args.size, *cells)))
    text = "\n".join(lines) + "\n"
    write_table(text, args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
