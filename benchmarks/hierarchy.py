"""How much finer should I frames be, and every eighth P frame? BD-rate of other offsets of q against the planner's.

    python benchmarks/hierarchy.py CLIP.mp4 .. --keyint 12 --offsets 14:0 12:8 16:0 --out results/hierarchy.tsv

Each clip is scaled to --size. An offset pair is levels of q that I frames are finer, and levels that every
eighth P frame is finer, wherever it stands; the first pair is what the others are compared with.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from unittest import mock

import numpy as np
from clips import load_clip

from ssvc_codec.encoder import Encoder
from ssvc_codec.evaluation.bd_rate import RatePoint, bd_rate
from ssvc_codec.evaluation.clip import Clip
from ssvc_codec.evaluation.ms_ssim import ms_ssim, ms_ssim_db
from ssvc_codec.evaluation.psnr import frame_psnr, mean_psnr
from ssvc_codec.gop import planner

CRFS = (50, 38, 26, 14)


def curves(clip: Clip, pair: tuple[int, int], options: argparse.Namespace) -> list[list[RatePoint]]:
    """Rate against PSNR 6:1:1, and against MS-SSIM in dB."""
    of_p_frames = {"P_OFFSETS": (0, 0, 0, 0, 0, 0, 0, pair[1]), "LEAST_HEIRS": 0}
    points: list[list[RatePoint]] = [[], []]
    with (
        mock.patch.dict(planner.I_OFFSETS, dict.fromkeys(planner.I_OFFSETS, pair[0])),
        mock.patch.multiple(planner, **of_p_frames),
    ):
        for crf in CRFS:
            encoder = Encoder(
                clip.format,
                time_base=Fraction(1, 25),
                crf=crf,
                keyint=options.keyint,
                scenecut=False,
                model=options.model,
            )
            n_bytes, psnr, similarity = 0, [], []
            for frame in clip.frames:
                n_bytes += sum(len(packet.data) for packet in encoder.send(frame))
                shown = encoder.reconstruction
                assert shown is not None
                psnr.append(frame_psnr(frame, replace(frame, y=shown[0], u=shown[1], v=shown[2])))
                similarity.append(ms_ssim(frame.y, shown[0]))
            rate = 8 * n_bytes / clip.n_pixels
            points[0].append(RatePoint(rate, mean_psnr(psnr).yuv611))
            points[1].append(RatePoint(rate, ms_ssim_db(float(np.mean(similarity)))))
    return points


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--offsets", nargs="+", default=["14:0", "12:8", "12:0", "16:0"], metavar="I:P")
    parser.add_argument("--keyint", type=int, default=12)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--size", default="192x192", help="width x height")
    parser.add_argument("--model", default="base")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    width, height = (int(side) for side in options.size.split("x"))
    pairs = [(int(i), int(p)) for i, _, p in (pair.partition(":") for pair in options.offsets)]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with options.out.open("w") as out:
        print("clip", "i_offset", "p_offset", "bd_psnr_611", "bd_ms_ssim", sep="\t", file=out)
        for path in options.clips:
            clip = load_clip(path.stem, path, n_frames=options.frames, size=(width, height))
            anchor: list[list[RatePoint]] = []
            for pair in pairs:
                found = curves(clip, pair, options)
                anchor = anchor or found
                gains = [f"{bd_rate(a, b).percent:.2f}" for a, b in zip(anchor, found, strict=True)]
                print(path.stem, *pair, *gains, sep="\t", file=out, flush=True)
                print(path.stem, f"I +{pair[0]}, every eighth +{pair[1]}:", *gains, "%", flush=True)


if __name__ == "__main__":
    main()
