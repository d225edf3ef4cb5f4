"""Real clips there and back through the `ssvc` program, with ffmpeg and ffprobe as witnesses.

    python benchmarks/round_trip.py --data ../shared/data/demo --out results/round_trip [--frames 60]

For each clip: .mp4 -> .ssv -> .mp4 and .mkv, a remux by ffmpeg, and a cut by ffmpeg at a key frame. Writes
round_trip.tsv (one row per clip and check or number) and round_trip.md. Exit code 1 when a check fails.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

from clips import run_tool

from ssvc_codec.evaluation.clip import Y4mReader
from ssvc_codec.evaluation.psnr import Psnr, frame_psnr, mean_psnr

CLIPS = ("mall_with_audio.mp4", "person-bicycle-car-detection.mp4")
FFMPEG = ("ffmpeg", "-v", "error", "-nostdin", "-y")
COLOR_FIELDS = ("color_range", "color_space", "color_transfer", "color_primaries", "chroma_location")
MS = Fraction(1, 1000)


class Line(NamedTuple):
    """One row of the table: a check (passed is not None) or a number."""

    clip: str
    what: str
    value: str
    passed: bool | None = None


class Program:
    """The installed `ssvc`, with the options of this run."""

    def __init__(self, args: argparse.Namespace) -> None:
        beside = Path(sys.executable).with_name("ssvc")
        self._path = str(beside) if beside.exists() else shutil.which("ssvc")
        if self._path is None:
            raise SystemExit("the program ssvc is not installed")
        self._common = ["-q", "-y", "--threads", str(args.threads), "--device", args.device]
        self._encode = ["--crf", f"{args.crf:g}", "--preset", args.preset, "--model", args.model]
        self._encode += ["--frames", str(args.frames)] if args.frames else []
        self._decode = ["--model", args.model] if "/" in args.model else []

    def encode(self, source: Path, target: Path) -> float:
        """Seconds it took. Raises MediaError when it fails."""
        return self._run("encode", source, target, self._encode)

    def decode(self, source: Path, target: Path) -> float:
        """Seconds it took. Raises MediaError when it fails."""
        return self._run("decode", source, target, self._decode)

    def _run(self, command: str, source: Path, target: Path, options: list[str]) -> float:
        start = time.perf_counter()
        run_tool([str(self._path), command, str(source), str(target), *options, *self._common])
        return time.perf_counter() - start


def video_stream(path: Path) -> dict[str, Any]:
    """What ffprobe says about the video."""
    command = ["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_streams", "-of", "json", str(path)]
    return json.loads(run_tool(command))["streams"][0]


def frame_times(path: Path, *, coded: bool = False) -> list[Fraction]:
    """Seconds of every decoded frame as ffprobe shows it, edit lists counted; of packets where coded is set."""
    entry = "packet=pts" if coded else "frame=best_effort_timestamp"
    command = ["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", entry, "-of", "csv=p=0", str(path)]
    time_base = Fraction(video_stream(path)["time_base"])
    return [int(line.split(",")[0]) * time_base for line in run_tool(command).decode().split()]


def digests(path: Path, *, stream: str, copy: bool) -> list[str]:
    """MD5 of every packet (copy) or decoded picture of a stream, by ffmpeg."""
    how = ["-c", "copy"] if copy else ["-fps_mode", "passthrough", "-pix_fmt", "yuv420p"]
    text = run_tool([*FFMPEG, "-i", str(path), "-map", f"0:{stream}", *how, "-f", "framemd5", "-"]).decode()
    return [line.split(",")[5].strip() for line in text.splitlines() if line and line[0] != "#"]


def psnr_between(source: Path, decoded: Path) -> Psnr:
    """Mean PSNR over the frames of decoded; one frame of each is in memory."""
    how = ["-map", "0:v:0", "-fps_mode", "passthrough", "-pix_fmt", "yuv420p", "-f", "yuv4mpegpipe", "-"]
    with (
        subprocess.Popen([*FFMPEG, "-i", str(source), *how], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as a,
        subprocess.Popen([*FFMPEG, "-i", str(decoded), *how], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as b,
    ):
        readers = [Y4mReader(cast(BinaryIO, process.stdout)) for process in (b, a)]  # decoded may be shorter
        result = mean_psnr(frame_psnr(y, x) for x, y in zip(*readers, strict=False))
        a.kill()
    return result


def largest(differences: Sequence[Fraction]) -> str:
    """The largest difference in milliseconds."""
    return f"largest difference {float(max(map(abs, differences), default=Fraction(0)) * 1000):.3f} ms"


def check_times(clip: str, what: str, wanted: list[Fraction], found: list[Fraction], *, within: Fraction) -> Line:
    """Whether there are as many times as wanted, each within a distance."""
    if len(wanted) != len(found):
        return Line(clip, what, f"{len(found)} frames for {len(wanted)}", passed=False)
    differences = [a - b for a, b in zip(wanted, found, strict=True)]
    is_same = all(abs(difference) <= within for difference in differences)
    return Line(clip, what, f"{len(found)} frames, {largest(differences)}", is_same)


def check_sound(clip: str, what: str, wanted: list[str], found: list[str], *, trimmed: bool) -> Line:
    """Whether all packets (of a trimmed file: an unbroken run of them) are bit by bit the source's."""
    first = wanted.index(found[0]) if trimmed and found and found[0] in wanted else 0
    is_same = bool(found) and (wanted[first : first + len(found)] if trimmed else wanted) == found
    return Line(clip, what, f"{len(found)} of {len(wanted)} packets", is_same)


def check_stream(clip: str, source: dict[str, Any], coded: dict[str, Any], *, trimmed: bool) -> list[Line]:
    """Whether ffprobe shows our tag, and the source's size, rate and colour."""
    size = [(stream["width"], stream["height"]) for stream in (source, coded)]
    rate = [Fraction(stream["avg_frame_rate"]) for stream in (source, coded)]
    color = [[stream.get(field, "unknown") for field in COLOR_FIELDS] for stream in (source, coded)]
    # A container that stores 4:2:0 from a decoder names where chroma lies even if the source left it open.
    same_color = all(a in ("unknown", "unspecified", b) for a, b in zip(*color, strict=True))
    return [
        Line(clip, "ffprobe: tag", coded["codec_tag_string"], coded["codec_tag_string"] == "SSV1"),
        Line(clip, "ffprobe: size", "{}x{}".format(*size[1]), size[0] == size[1]),
        Line(clip, "ffprobe: rate", f"{rate[1]} (source {rate[0]})", trimmed or rate[0] == rate[1]),
        Line(clip, "ffprobe: colour", "/".join(color[1]) + f" (source {'/'.join(color[0])})", same_color),
    ]


def check_cut(clip: str, reference: list[str], times: list[Fraction], cut: list[str], at: Fraction) -> Line:
    """Whether a cut has the frames of the whole file from the key frame at or before its start."""
    first = len(reference) - len(cut)
    if not 0 <= first < len(times):
        return Line(clip, "cut at a key frame", f"{len(cut)} of {len(reference)} frames", passed=False)
    after = times[first + 1] if first + 1 < len(times) else times[first]
    is_near = times[first] - MS <= at <= after + MS  # every frame is a key frame
    text = f"{len(cut)} frames from frame {first} at {float(times[first]):.3f} s, asked for {float(at):.3f} s"
    return Line(clip, "cut at a key frame: same frames", text, reference[first:] == cut and is_near)


def ffmpeg_lines(clip: str, coded: Path, decoded: Path, program: Program) -> list[Line]:
    """What ffmpeg does to the file without knowing the codec must not change a frame."""
    remuxed, cut = coded.with_name("remuxed.mkv"), coded.with_name("cut.mkv")
    again, part = coded.with_name("remuxed_decoded.mkv"), coded.with_name("cut_decoded.mkv")
    reference, times = digests(decoded, stream="v:0", copy=False), frame_times(decoded)
    run_tool([*FFMPEG, "-i", str(coded), "-map", "0", "-c", "copy", str(remuxed)])
    program.decode(remuxed, again)
    same = digests(again, stream="v:0", copy=False) == reference
    lines = [
        Line(clip, "remux by ffmpeg: same frames", f"{len(reference)} frames", same),
        check_times(clip, "remux by ffmpeg: same times", times, frame_times(again), within=Fraction(0)),
    ]
    at = times[len(times) * 2 // 3] + 2 * MS
    run_tool([*FFMPEG, "-ss", f"{float(at):.3f}", "-i", str(coded), "-map", "0", "-c", "copy", str(cut)])
    program.decode(cut, part)
    return [*lines, check_cut(clip, reference, times, digests(part, stream="v:0", copy=False), at)]


def run_clip(source: Path, folder: Path, program: Program, *, n_frames: int | None) -> list[Line]:
    """All checks and numbers of one clip."""
    clip = source.stem
    coded, video, lossless = folder / "coded.ssv", folder / "decoded.mp4", folder / "decoded.mkv"
    encode_seconds = program.encode(source, coded)
    decode_seconds = program.decode(coded, lossless)
    mp4_seconds = program.decode(coded, video)
    trimmed = n_frames is not None
    times = frame_times(source)[:n_frames]
    times = [t - times[0] for t in times] if trimmed else times
    stored = frame_times(coded, coded=True)
    sound = digests(source, stream="a", copy=True)
    lines = [
        check_times(clip, ".mp4 again: frames and times", times, frame_times(video), within=Fraction(0)),
        # Whole milliseconds are all that Matroska stores; ssvc's own tag restores the rest.
        check_times(
            clip, ".ssv: packet times", [t - times[0] for t in times], [t - stored[0] for t in stored], within=MS
        ),
        check_sound(clip, ".ssv: sound", sound, digests(coded, stream="a", copy=True), trimmed=trimmed),
        check_sound(clip, ".mp4 again: sound", sound, digests(video, stream="a", copy=True), trimmed=trimmed),
        *check_stream(clip, video_stream(source), video_stream(coded), trimmed=trimmed),
        *ffmpeg_lines(clip, coded, lossless, program),
    ]
    seconds = float((times[-1] - times[0]) * len(times) / max(len(times) - 1, 1))
    psnr = psnr_between(source, lossless)
    numbers = {
        "size of .ssv, bytes (source)": f"{coded.stat().st_size} ({source.stat().st_size})",
        "bitrate with sound, kbit/s": f"{coded.stat().st_size * 8 / 1000 / seconds:.0f}",
        "PSNR Y, U, V, 6:1:1, dB": f"{psnr.y:.2f}, {psnr.u:.2f}, {psnr.v:.2f}, {psnr.yuv611:.2f}",
        "encode, frames/s": f"{len(times) / encode_seconds:.2f}",
        "decode to FFV1, frames/s": f"{len(times) / decode_seconds:.2f}",
        "decode to H.264, frames/s": f"{len(times) / mp4_seconds:.2f}",
    }
    return [*lines, *(Line(clip, what, value) for what, value in numbers.items())]


def write_tables(folder: Path, lines: Sequence[Line]) -> str:
    """Write round_trip.tsv and round_trip.md; gives the Markdown."""
    names = {True: "yes", False: "NO", None: ""}
    rows = [["clip", "what", "value", "passed"], *([*line[:3], names[line.passed]] for line in lines)]
    (folder / "round_trip.tsv").write_text("\n".join(map("\t".join, rows)) + "\n")
    table = [rows[0], ["---"] * 4, *rows[1:]]
    markdown = "".join("| " + " | ".join(row) + " |\n" for row in table)
    (folder / "round_trip.md").write_text(markdown + "\nSpeeds are of whole processes, their start included.\n")
    return markdown


def main() -> int:
    """Run all clips; the tables are written anew after each."""
    parser = argparse.ArgumentParser(description="Real clips there and back.", allow_abbrev=False)
    parser.add_argument("--data", type=Path, required=True, help="folder with the clips")
    parser.add_argument("--out", type=Path, required=True, help="folder for the tables")
    parser.add_argument("--clips", default=",".join(CLIPS), help="names below --data, separated by commas")
    parser.add_argument("--frames", type=int, help="the first frames only")
    parser.add_argument("--crf", type=float, default=28)
    parser.add_argument("--model", default="base", help="name or folder")
    parser.add_argument("--preset", default="medium")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--keep", action="store_true", help="keep the videos beside the tables")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    program = Program(args)
    lines: list[Line] = []
    markdown = ""
    for name in args.clips.split(","):
        with tempfile.TemporaryDirectory() as temporary:
            folder = args.out / Path(name).stem if args.keep else Path(temporary)
            folder.mkdir(exist_ok=True)
            lines += run_clip(args.data / name, folder, program, n_frames=args.frames)
        markdown = write_tables(args.out, lines)
    print(markdown, end="")
    return 0 if all(line.passed is not False for line in lines) else 1


if __name__ == "__main__":
    sys.exit(main())
