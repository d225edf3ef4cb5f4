"""The photographs that training of I frames holds out, as Y4M for `ssvc bench`.

    python benchmarks/held_out_stills.py shards/ stills/ --count 24
    ssvc bench stills/*.y4m --keyint 1 --frames 1 --codecs ssvc,x264,x265,av1 --out results/stills

shards: what `ssvc train pack` made of the pictures. The largest are taken, sides cut to multiples of 2.
"""

from __future__ import annotations

import argparse
import re
from fractions import Fraction
from pathlib import Path

from ssvc_codec.evaluation.clip import Clip as Y4mClip
from ssvc_codec.evaluation.clip import write_y4m
from ssvc_codec.frame import Frame, VideoFormat
from ssvc_codec.training.shards import Clip, read_shards


def held_out(shards: Path) -> list[Clip]:
    """Every tenth still, as IntraTrainer holds them out."""
    return [clip for clip in read_shards(shards) if clip.y.shape[0] == 1 and "@" not in clip.source][::10]


def as_frame(clip: Clip) -> Frame:
    """The picture of a still."""
    height, width = (side // 2 * 2 for side in clip.y.shape[1:])
    y = clip.y[0, :height, :width].numpy()
    u, v = (plane[0, : height // 2, : width // 2].numpy() for plane in (clip.u, clip.v))
    return Frame(y, u, v, VideoFormat(width, height), pts=0, duration=1, time_base=Fraction(1, 25))


def main() -> None:
    """See the top of the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=24)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    stills = sorted(held_out(args.shards), key=lambda clip: (-clip.y.numel(), clip.source))[: args.count]
    for number, still in enumerate(stills, 1):
        frame = as_frame(still)
        name = f"{number:02d}_{re.sub(r'[^A-Za-z0-9]+', '_', Path(still.source).stem)}"
        with (args.out / f"{name}.y4m").open("wb") as file:
            write_y4m(Y4mClip(name, frame.format, Fraction(25), (frame,)), file)


if __name__ == "__main__":
    main()
