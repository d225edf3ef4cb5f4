"""What ffprobe says about a clip before and after .mp4 -> .ssv -> .mp4 and .mkv -> .ssv -> .mkv.

    python benchmarks/fidelity.py --out results/fidelity

ffmpeg makes a clip with a variable frame rate, BT.709 in limited range, pixels that are not square, rotation, sound,
subtitles, chapters, a cover, languages and titles. Writes fidelity.tsv and fidelity.md. Exit code 1 where a row differs
that is not in EXCEPTIONS.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

SSVC = (sys.executable, "-c", "import ssvc_codec.cli as c; c.main()")
FFMPEG = ("ffmpeg", "-v", "error", "-nostdin", "-y")
FILTERS = (
    "select='not(eq(mod(n,5),3))',setsar=4/3,format=yuv420p,"
    "setparams=range=tv:colorspace=bt709:color_trc=bt709:color_primaries=bt709"
)
SUBTITLES = "1\n00:00:00,100 --> 00:00:00,500\nHello there\n\n2\n00:00:00,600 --> 00:00:01,000\nSecond line\n"
METADATA = """;FFMETADATA1
title=A title
artist=Someone
comment=A comment
[CHAPTER]
TIMEBASE=1/1000
START=0
END=500
title=Chapter one
[CHAPTER]
TIMEBASE=1/1000
START=500
END=1200
title=Chapter two
"""
COLOR = ("color_range", "color_space", "color_transfer", "color_primaries", "chroma_location")
EXCEPTIONS: dict[str, str] = {
    "video codec": "the decoder's output is coded anew: x264 for .mp4, FFV1 for .mkv",
}
"""Rows that may differ, and why."""


class Row(NamedTuple):
    """One property on both ends of one path."""

    path: str
    what: str
    before: str
    after: str

    @property
    def is_kept(self) -> bool:
        """Whether it came through."""
        return self.before == self.after


def run(command: Sequence[str | Path]) -> str:
    """What a command prints. Raises CalledProcessError."""
    return subprocess.run([*map(str, command)], capture_output=True, text=True, check=True).stdout


def run_ssvc(*arguments: str | Path) -> None:
    """One quiet command line as a program of its own."""
    run([*SSVC, *arguments, "-q"])


def make_clip(folder: Path) -> Path:
    """clip.mp4: 1.2 s, 96x64."""
    (folder / "subtitles.srt").write_text(SUBTITLES)
    (folder / "metadata.txt").write_text(METADATA)
    cover, plain, clip = folder / "cover.png", folder / "plain.mp4", folder / "clip.mp4"
    run([*FFMPEG, "-f", "lavfi", "-i", "color=red:s=32x32:d=0.04", "-frames:v", "1", cover])
    inputs = ["-f", "lavfi", "-i", "testsrc2=s=96x64:r=30:d=1.2", "-f", "lavfi", "-i", "sine=440:d=1.2:r=48000"]
    inputs += ["-i", str(folder / "subtitles.srt"), "-i", str(folder / "metadata.txt")]
    maps = ["-map", "0:v", "-map", "1:a", "-map", "2:s", "-map_metadata", "3", "-map_chapters", "3"]
    video = ["-vf", FILTERS, "-vsync", "vfr", "-c:v", "libx264", "-crf", "18", "-bf", "2"]
    video += ["-color_range", "tv", "-colorspace", "bt709", "-color_trc", "bt709", "-color_primaries", "bt709"]
    tags = ["-metadata:s:v:0", "language=eng", "-metadata:s:a:0", "language=deu", "-metadata:s:s:0", "language=fra"]
    run([*FFMPEG, *inputs, *maps, *video, "-c:a", "aac", "-c:s", "mov_text", *tags, plain])
    maps = ["-map", "0:v", "-map", "0:a", "-map", "0:s", "-map", "1:v"]
    turned = ["-metadata:s:v:0", "rotate=90", "-disposition:v:1", "attached_pic"]
    run([*FFMPEG, "-i", plain, "-i", cover, *maps, "-c", "copy", *turned, clip])
    return clip


def make_matroska(clip: Path) -> Path:
    """The same as .mkv, with a title of each track. mkvpropedit, where it is, turns it: ffmpeg 5.1 cannot."""
    target = clip.with_suffix(".mkv")
    maps = ["-map", "0:v:0", "-map", "0:a", "-map", "0:s", "-c", "copy", "-c:s", "srt"]
    cover = ["-attach", str(clip.with_name("cover.png")), "-metadata:s:t", "mimetype=image/png"]
    tags = ["-metadata:s:t", "filename=cover.png", "-metadata:s:v:0", "title=Picture", "-metadata:s:a:0", "title=Sound"]
    run([*FFMPEG, "-i", clip, *maps, *cover, *tags, target])
    if editor := shutil.which("mkvpropedit"):
        turn = ["--set", "projection-type=0", "--set", "projection-pose-roll=90"]
        run([editor, "-q", target, "--edit", "track:v1", *turn])
    return target


def describe(path: Path) -> dict[str, str]:
    """What a viewer would notice, by ffprobe and ffmpeg."""
    command = ["ffprobe", "-v", "error", "-show_streams", "-show_chapters", "-show_format", "-of", "json", path]
    told = json.loads(run(command))
    streams = told["streams"]
    cover = next((s for s in streams if s["disposition"]["attached_pic"]), None)
    video = next(s for s in streams if s["codec_type"] == "video" and s is not cover)
    sound, text = (next((s for s in streams if s["codec_type"] == kind), {}) for kind in ("audio", "subtitle"))
    rotation = [side["rotation"] for side in video.get("side_data_list", []) if "rotation" in side]
    tags = {key.lower(): value for key, value in told["format"].get("tags", {}).items()}
    return {
        "video codec": video["codec_name"],
        "size": f"{video['width']}x{video['height']}",
        "pixel shape": video.get("sample_aspect_ratio", "unknown"),
        "rotation": f"{rotation}",
        **{name: video.get(name, "unknown") for name in COLOR},
        "frame times, ms": _frame_times(path),
        "sound": f"{sound.get('codec_name')}, {sound.get('sample_rate')} Hz, {sound.get('channels')} channels",
        "sound's packets": _streamhash(path),
        "sound's start, ms": f"{round(1000 * float(sound.get('start_time', 'nan')) - _start(path))}",
        "subtitles": _subtitles(path),
        "chapters": "; ".join(_chapter(chapter) for chapter in told["chapters"]),
        "cover": "none" if cover is None else f"{cover['codec_name']}, {cover['width']}x{cover['height']}",
        **{f"tag {name}": tags.get(name, "") for name in ("title", "artist", "comment")},
        **{
            f"{name} of {kind}": stream.get("tags", {}).get(name, "")
            for kind, stream in (("video", video), ("sound", sound), ("subtitles", text))
            for name in ("language", "title")
        },
        **{
            f"default {kind}": f"{stream['disposition']['default']}"
            for kind, stream in (("video", video), ("sound", sound))
        },
    }


def _pts(path: Path) -> list[Fraction]:
    entry = ["-select_streams", "v:0", "-show_entries", "frame=best_effort_timestamp_time", "-of", "csv=p=0"]
    return [Fraction(line.strip(",")) for line in run(["ffprobe", "-v", "error", *entry, path]).split()]


def _start(path: Path) -> float:
    return float(1000 * _pts(path)[0])


def _frame_times(path: Path) -> str:
    """From the first frame on: when sound begins before the picture, Matroska's clock begins with it."""
    times = _pts(path)
    return " ".join(f"{round(1000 * (time - times[0]))}" for time in times)


def _streamhash(path: Path) -> str:
    how = ["-map", "0:a", "-c", "copy", "-bsf:a", "null", "-f", "streamhash", "-hash", "md5", "-"]
    return run([*FFMPEG, "-i", path, *how]).strip().split("=")[-1]


def _subtitles(path: Path) -> str:
    text = run([*FFMPEG, "-i", path, "-map", "0:s:0", "-f", "srt", "-"])
    return hashlib.md5("\n".join(line for line in text.splitlines() if "-->" not in line).encode()).hexdigest()[:8]


def _chapter(chapter: dict[str, Any]) -> str:
    return f"{float(chapter['start_time']):.3f}-{float(chapter['end_time']):.3f} {chapter['tags']['title']}"


def compare(clip: Path, *, ssvc: Callable[..., object] = run_ssvc) -> list[Row]:
    """Clip -> .ssv -> a clip of the same kind."""
    coded, back = clip.with_suffix(".ssv"), clip.with_name(f"back{clip.suffix}")
    ssvc("encode", clip, coded, "--detector", "none", "--preset", "fast", "-y")
    ssvc("decode", coded, back, "-y")
    before, after = describe(clip), describe(back)
    path = f"{clip.suffix} -> .ssv -> {clip.suffix}"
    return [Row(path, what, before[what], after[what]) for what in before]


def write_tables(folder: Path, rows: Sequence[Row]) -> str:
    """Writes fidelity.tsv and fidelity.md; gives the Markdown."""
    head = ["path", "what", "before", "after", "kept"]
    lines = [[*row, "yes" if row.is_kept else EXCEPTIONS.get(row.what, "NO")] for row in rows]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "fidelity.tsv").write_text("".join("\t".join(line) + "\n" for line in [head, *lines]))
    markdown = "".join("| " + " | ".join(line) + " |\n" for line in [head, ["---"] * len(head), *lines])
    (folder / "fidelity.md").write_text(markdown)
    return markdown


def main() -> None:
    """See the top of the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        clip = make_clip(Path(folder))
        rows = [row for source in (clip, make_matroska(clip)) for row in compare(source)]
    print(write_tables(args.out, rows), end="")
    sys.exit(any(not row.is_kept and row.what not in EXCEPTIONS for row in rows))


if __name__ == "__main__":
    main()
