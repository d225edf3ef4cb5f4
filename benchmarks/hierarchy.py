"""How much finer should I frames be than P frames, and P frames that many inherit? BD-rate of other hierarchies.

    python benchmarks/hierarchy.py CLIP.mp4 .. --keyint 12 --hierarchies 17:0 17:6 --out results/hierarchy.tsv

The middle of each clip is taken, --size of it, of its first nine frames, to and fro where a group is longer (clips made
for training have nine). A hierarchy is an i_offset and a heritage (ssvc_codec/gop/planner.py), and one
group is coded with each; the first is what the others are compared with.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from unittest import mock

import numpy as np
from clips import load_clip, ping_pong

from ssvc_codec.encoder import Encoder
from ssvc_codec.evaluation.bd_rate import RatePoint, bd_rate
from ssvc_codec.evaluation.clip import Clip
from ssvc_codec.evaluation.ms_ssim import ms_ssim, ms_ssim_db
from ssvc_codec.evaluation.psnr import frame_psnr, mean_psnr
from ssvc_codec.frame import Plane
from ssvc_codec.gop import planner
from ssvc_codec.gop.planner import Hierarchy

CRFS = (58, 48, 38, 28, 18, 8)
N_FRAMES = 9


def curves(clip: Clip, hierarchy: Hierarchy, options: argparse.Namespace) -> list[list[RatePoint]]:
    """Rate against PSNR 6:1:1, and against MS-SSIM in dB."""
    points: list[list[RatePoint]] = [[], []]
    with mock.patch.dict(planner.HIERARCHIES, dict.fromkeys(planner.HIERARCHIES, hierarchy)):
        for crf in CRFS:
            encoder = Encoder(
                clip.format,
                time_base=Fraction(1, 25),
                crf=crf,
                keyint=options.keyint,
                scenecut=False,
                model=options.model,
                preset=options.preset,
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


def middle(clip: Clip, width: int, height: int) -> Clip:
    """So many samples around the centre. width, height: even."""
    top, left = (clip.format.height - height) // 4, (clip.format.width - width) // 4
    cropped = replace(clip.format, width=width, height=height)

    def crop(plane: Plane, scale: int) -> Plane:
        y, x = scale * top, scale * left
        return plane[y : y + scale * height // 2, x : x + scale * width // 2].copy()

    frames = (replace(f, y=crop(f.y, 2), u=crop(f.u, 1), v=crop(f.v, 1), format=cropped) for f in clip.frames)
    return replace(clip, format=cropped, frames=tuple(frames))


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--hierarchies", nargs="+", default=["17:0", "17:6"], metavar="I:HERITAGE")
    parser.add_argument("--keyint", type=int, default=12)
    parser.add_argument("--size", default="256x256", help="width x height")
    parser.add_argument("--model", default="base")
    parser.add_argument("--preset", default="medium")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    width, height = (int(side) for side in options.size.split("x"))
    pairs = [pair.partition(":")[::2] for pair in options.hierarchies]
    hierarchies = [Hierarchy(int(i_offset), float(heritage)) for i_offset, heritage in pairs]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with options.out.open("w") as out:
        print("clip", "i_offset", "heritage", "bd_psnr_611", "bd_ms_ssim", sep="\t", file=out)
        for path in options.clips:
            clip = middle(load_clip(path.stem, path, n_frames=N_FRAMES), width, height)
            if options.keyint > N_FRAMES:
                clip = ping_pong(clip, n_frames=options.keyint)
            anchor: list[list[RatePoint]] = []
            for hierarchy in hierarchies:
                found = curves(clip, hierarchy, options)
                anchor = anchor or found
                gains = [f"{bd_rate(a, b).percent:.2f}" for a, b in zip(anchor, found, strict=True)]
                row = (path.stem, hierarchy.i_offset, f"{hierarchy.heritage:g}", *gains)
                print(*row, sep="\t", file=out, flush=True)
                print(*row, "%", flush=True)


if __name__ == "__main__":
    main()
