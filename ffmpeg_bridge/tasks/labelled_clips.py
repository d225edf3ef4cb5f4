"""A small labelled set in UCF-101's layout, cut from videos one has: proves the pipeline, is no benchmark.

    python -m ffmpeg_bridge.tasks.labelled_clips LABELS.tsv OUT [--frames 18] [--height 144] [--per-video 3]

LABELS.tsv has lines of class, tab, path of a video. Every third video of a class goes to the test list with all its
clips, so that no video is in both lists. Needs ffmpeg.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from ffmpeg_bridge.bench.programs import FFMPEG, run_program
from ffmpeg_bridge.tasks.pictures import load_video
from ssvc_codec.errors import SsvcError

__all__ = ["build_labelled_set"]


def build_labelled_set(
    videos: Mapping[str, Sequence[Path]], out: Path, *, n_frames: int = 18, height: int = 144, per_video: int = 3
) -> tuple[int, int]:
    """Cuts consecutive clips of n_frames from the start of each video, and writes the lists of split 1.

    videos: by class. Clips are lossless (FFV1 in AVI), `height` rows. Returns the numbers of clips for training and
    for test. Raises MediaError.
    """
    lists: dict[str, list[str]] = {"train": [], "test": []}
    for label, paths in videos.items():
        (out / "UCF-101" / label).mkdir(parents=True, exist_ok=True)
        for group, path in enumerate(paths, 1):
            part = "test" if group % 3 == 0 else "train"
            n_whole = len(load_video(path.stem, path, n_frames=n_frames * per_video).frames) // n_frames
            for number in range(n_whole):
                name = f"{label}/v_{label}_g{group:02d}_c{number + 1:02d}.avi"
                _cut(path, out / "UCF-101" / name, first=number * n_frames, n_frames=n_frames, height=height)
                lists[part].append(name)
    place = out / "ucfTrainTestlist"
    place.mkdir(exist_ok=True)
    names = list(videos)
    (place / "classInd.txt").write_text("".join(f"{k} {name}\n" for k, name in enumerate(names, 1)))
    labelled = [f"{name} {names.index(name.split('/')[0]) + 1}\n" for name in lists["train"]]
    (place / "trainlist01.txt").write_text("".join(labelled))
    (place / "testlist01.txt").write_text("".join(f"{name}\n" for name in lists["test"]))
    return len(lists["train"]), len(lists["test"])


def _cut(source: Path, target: Path, *, first: int, n_frames: int, height: int) -> None:
    chosen = f"select='between(n,{first},{first + n_frames - 1})',setpts=N/25/TB,scale=-2:{height}"
    codec = ["-r", "25", "-c:v", "ffv1", "-pix_fmt", "yuv420p", "-an"]
    run_program([*FFMPEG, "-i", str(source), "-vf", chosen, "-frames:v", str(n_frames), *codec, str(target)])


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("labels", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--frames", type=int, default=18)
    parser.add_argument("--height", type=int, default=144)
    parser.add_argument("--per-video", type=int, default=3)
    args = parser.parse_args()
    videos: dict[str, list[Path]] = {}
    for line in args.labels.read_text().splitlines():
        label, tab, path = line.partition("\t")
        if tab:
            videos.setdefault(label, []).append(Path(path))
    options = {"n_frames": args.frames, "height": args.height, "per_video": args.per_video}
    try:
        n_train, n_test = build_labelled_set(videos, args.out, **options)
    except SsvcError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{n_train} clips for training, {n_test} for test")
    return 0


if __name__ == "__main__":
    sys.exit(main())
