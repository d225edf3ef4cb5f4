"""The codecs that ssvc is measured against, run through ffmpeg (and libjpeg through Pillow).

All get the same limited-range yuv420p samples as ssvc and give such samples back. JPEG knows full range only: the
samples are relabelled, not converted, so nothing is lost to range scaling.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np
from clips import run_tool
from numpy.typing import NDArray
from PIL import Image

from ssvc_codec.evaluation.clip import Clip, Plane, read_frame, write_y4m
from ssvc_codec.frame import Color, Frame

FFMPEG = ["ffmpeg", "-v", "error", "-nostdin", "-y"]


@dataclass(frozen=True)
class Coded:
    """One coded version of a clip."""

    n_bytes: int  # all video packets
    encode_seconds: float  # whole process, its start included
    decode_seconds: float  # whole process, without writing the samples
    frames: tuple[Frame, ...]


@dataclass(frozen=True)
class Anchor:
    """A codec, its quality points and its ffmpeg options."""

    name: str
    points: tuple[float, ...]  # from best to worst
    arguments: Callable[[float, int], list[str]]  # (point, keyint) -> ffmpeg options
    is_full_range: bool = False


def x264_arguments(crf: float, keyint: int, *, tune: str = "") -> list[str]:
    """All intra or low delay: P frames only, key frames where keyint says and nowhere else.

    The version SEI (about 700 bytes, once) is cut away in x264's favour.
    """
    low_delay = [] if keyint == 1 else ["-bf", "0", "-sc_threshold", "0"]
    tunes = ",".join(([tune] if tune else []) + ([] if keyint == 1 else ["zerolatency"]))
    options = ["-c:v", "libx264", "-preset", "medium", "-crf", f"{crf:g}", "-g", str(keyint), *low_delay]
    return [*options, *(["-tune", tunes] if tunes else []), "-bsf:v", "filter_units=remove_types=6"]


def x265_arguments(crf: float, keyint: int) -> list[str]:
    """All intra or low delay as with x264, without the version SEI."""
    params = f"info=0:log-level=error:pools=none:frame-threads=1:keyint={keyint}:min-keyint={keyint}"
    options = ["-c:v", "libx265", "-preset", "medium", "-crf", f"{crf:g}"]
    if keyint == 1:
        return [*options, "-x265-params", params]
    return [*options, "-tune", "zerolatency", "-x265-params", f"{params}:bframes=0:scenecut=0"]


def av1_arguments(crf: float, keyint: int) -> list[str]:
    """libaom, all intra or real time."""
    low_delay = ["-usage", "realtime", "-lag-in-frames", "0", "-g", str(keyint)]
    usage = ["-usage", "allintra"] if keyint == 1 else low_delay
    return ["-c:v", "libaom-av1", *usage, "-cpu-used", "6", "-crf", f"{crf:g}", "-b:v", "0"]


def svtav1_arguments(crf: float, keyint: int) -> list[str]:
    """SVT-AV1 preset 8, low delay: frames refer to earlier ones only and are shown at once.

    That structure cannot do without bi-prediction (from two earlier frames) and layers of quality. Neither look-ahead
    nor temporal filter: both would wait for later frames. Key frames are closed (irefresh-type 2).
    """
    params = "pred-struct=1:lookahead=0:enable-tf=0:scd=0:irefresh-type=2:lp=1"
    return ["-c:v", "libsvtav1", "-preset", "8", "-crf", f"{crf:g}", "-g", str(keyint), "-svtav1-params", params]


def mjpeg_arguments(q: float, keyint: int) -> list[str]:
    """ffmpeg's own JPEG with Huffman tables made for each picture; every frame is intra whatever keyint is."""
    del keyint
    return ["-c:v", "mjpeg", "-huffman", "optimal", "-qmin", "1", "-q:v", f"{q:g}"]


ANCHORS = {
    anchor.name: anchor
    for anchor in (
        Anchor("x264", (8, 12, 17, 22, 27, 32, 37, 42, 47), x264_arguments),
        Anchor("x264-psnr", (8, 12, 17, 22, 27, 32, 37, 42, 47), lambda p, k: x264_arguments(p, k, tune="psnr")),
        Anchor("x265", (8, 12, 17, 22, 27, 32, 37, 42, 47), x265_arguments),
        Anchor("av1", (10, 18, 26, 34, 42, 50, 58, 63), av1_arguments),
        Anchor("svtav1", (10, 18, 26, 34, 42, 50, 58, 63), svtav1_arguments),
        Anchor("mjpeg", (1, 2, 3, 5, 8, 12, 18, 26, 31), mjpeg_arguments, is_full_range=True),
    )
}
JPEG_QUALITIES = (98, 95, 91, 85, 75, 60, 40, 20, 8)
ANCHOR_NAMES = (*ANCHORS, "libjpeg")


@cache
def ffmpeg_version() -> str:
    """First line of `ffmpeg -version`."""
    return run_tool(["ffmpeg", "-version"]).decode().splitlines()[0]


def points_of(name: str) -> tuple[float, ...]:
    """Quality points of an anchor."""
    return JPEG_QUALITIES if name == "libjpeg" else ANCHORS[name].points


def code_with_anchor(clip: Clip, name: str, point: float, *, keyint: int, threads: int, folder: Path) -> Coded:
    """Encode and decode clip; temporary files go to folder."""
    if name == "libjpeg":
        return code_with_libjpeg(clip, int(point), folder=folder)
    anchor = ANCHORS[name]
    source, coded = folder / "source.y4m", folder / f"{name}.mkv"
    with source.open("wb") as file:
        write_y4m(with_range(clip, full=anchor.is_full_range), file)
    pixel_format = "yuvj420p" if anchor.is_full_range else "yuv420p"
    n_threads = ["-threads", str(threads)]
    command = [*FFMPEG, "-i", str(source), *anchor.arguments(point, keyint), *n_threads, "-pix_fmt", pixel_format]
    start = time.perf_counter()
    run_tool([*command, str(coded)])
    encode_seconds = time.perf_counter() - start
    start = time.perf_counter()
    run_tool([*FFMPEG, *n_threads, "-i", str(coded), "-f", "null", "-"])
    decode_seconds = time.perf_counter() - start
    frames = decode_samples(coded, clip, pixel_format=pixel_format)
    return Coded(sum(packet_sizes(coded)), encode_seconds, decode_seconds, frames)


def with_range(clip: Clip, *, full: bool) -> Clip:
    """The same samples under another range label."""
    return replace(clip, format=replace(clip.format, color=Color(full_range=full)))


def packet_sizes(path: Path) -> list[int]:
    """Bytes of each video packet, as ffprobe lists them."""
    command = ["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", "packet=size", "-of", "csv=p=0"]
    return [int(line.strip(",")) for line in run_tool([*command, str(path)]).decode().split()]


def decode_samples(path: Path, clip: Clip, *, pixel_format: str) -> tuple[Frame, ...]:
    """All frames of a file as planes in the format of clip. Raises MediaError when there are too few."""
    data = run_tool([*FFMPEG, "-i", str(path), "-map", "0:v:0", "-pix_fmt", pixel_format, "-f", "rawvideo", "-"])
    source = io.BytesIO(data)
    time_base = 1 / clip.frame_rate
    return tuple(read_frame(source, clip.format, pts=i, time_base=Fraction(time_base)) for i in range(len(clip.frames)))


def code_with_libjpeg(clip: Clip, quality: int, *, folder: Path) -> Coded:
    """libjpeg-turbo: 4:2:0, progressive, optimised Huffman tables.

    Pillow takes full-size chroma; repeating each chroma sample 2x2 makes libjpeg's averaging give it back unchanged.
    ffmpeg decodes, because it hands out the chroma planes before any upsampling.
    """
    pictures = []
    encode_seconds = 0.0
    for frame in clip.frames:
        image = Image.merge("YCbCr", [Image.fromarray(p) for p in (frame.y, *full_size_chroma(frame))])
        buffer = io.BytesIO()
        start = time.perf_counter()
        image.save(buffer, "JPEG", quality=quality, subsampling="4:2:0", optimize=True, progressive=True)
        encode_seconds += time.perf_counter() - start
        pictures.append(buffer.getvalue())
    path = folder / "libjpeg.mjpeg"
    path.write_bytes(b"".join(pictures))
    start = time.perf_counter()
    run_tool([*FFMPEG, "-f", "mjpeg", "-i", str(path), "-f", "null", "-"])
    decode_seconds = time.perf_counter() - start
    frames = decode_samples(path, clip, pixel_format="yuvj420p")
    return Coded(sum(len(p) for p in pictures), encode_seconds, decode_seconds, frames)


def full_size_chroma(frame: Frame) -> tuple[NDArray[np.generic], NDArray[np.generic]]:
    """U and V with each sample repeated 2x2, cut to the size of luma."""

    def repeat(plane: Plane) -> NDArray[np.generic]:
        return plane.repeat(2, axis=0).repeat(2, axis=1)[: frame.y.shape[0], : frame.y.shape[1]]

    return repeat(frame.u), repeat(frame.v)
