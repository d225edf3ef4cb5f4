"""Which container a name or a format means, and what goes into it unless the user says otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import av

from ffmpeg_bridge.files import Sink
from ssvc_codec.errors import MediaError

__all__ = [
    "COUNTS_FRAMES",
    "LIVE_MATROSKA",
    "PICTURES_ALONE",
    "check_pixel_format",
    "choose_container",
    "container_options",
    "default_encoder",
    "demuxer_name",
    "suffix_of_format",
    "with_fixed_quality",
]

PICTURES_ALONE = frozenset({"yuv4mpegpipe", "image2", "image2pipe", "rawvideo", "gif", "apng"})
"""Containers that hold neither sound nor tags."""

COUNTS_FRAMES = frozenset({"yuv4mpegpipe", "avi", "image2", "image2pipe", "rawvideo"})
"""Containers whose frames have a place and no time."""

_AT_ONCE = {"flush_packets": "1", "max_interleave_delta": "1"}  # else a silent subtitle track holds all up for 10 s

LIVE_MATROSKA: Mapping[str, str] = {"live": "1", "cluster_time_limit": "0", **_AT_ONCE}
"""Options by which each packet leaves at once."""

_ALIASES = {"mkv": "matroska", "y4m": "yuv4mpegpipe", "ts": "mpegts", "raw": "rawvideo", "yuv": "rawvideo"}
_MUXERS = {"": "matroska", ".y4m": "yuv4mpegpipe", ".ts": "mpegts", ".m2ts": "mpegts", ".yuv": "rawvideo"}
_SUFFIXES = {
    "matroska": ".mkv",
    "yuv4mpegpipe": ".y4m",
    "mpegts": ".ts",
    "rawvideo": ".yuv",
    "image2": ".png",
    "image2pipe": ".png",
}
_LAMBDA = 118  # FF_QP2LAMBDA
_X264 = ("libx264", {"crf": "12", "preset": "medium"})
_RAW = ("rawvideo", dict[str, str]())
_BY_SUFFIX: dict[str, tuple[str, dict[str, str]]] = {
    ".mkv": ("ffv1", {"level": "3"}),
    ".webm": ("libvpx-vp9", {"crf": "18", "b": "0", "deadline": "good", "cpu-used": "4"}),
    ".y4m": ("wrapped_avframe", {}),
    ".yuv": _RAW,
    ".png": ("png", {}),
    ".apng": ("apng", {}),
    ".jpg": ("mjpeg", {"qscale": "2"}),
    ".jpeg": ("mjpeg", {"qscale": "2"}),
    ".gif": ("gif", {}),
}


def default_encoder(suffix: str, *, bit_depth: int = 8) -> tuple[str, dict[str, str]]:
    """The encoder and its options for a file name's suffix: x264 at crf 12 for .mp4 and .mov, lossless
    for .mkv, .nut, .avi, .y4m, .yuv and .png, VP9 at crf 18 for .webm. "" is standard output.
    """
    if suffix.lower() in ("", ".nut", ".avi"):
        return _RAW if bit_depth == 8 else _BY_SUFFIX[".mkv"]
    return _BY_SUFFIX.get(suffix.lower(), _X264)


def suffix_of_format(format: str) -> str:
    """The suffix that usually goes with a container's name: ".y4m" for "yuv4mpegpipe" and for "y4m"."""
    muxer = _ALIASES.get(format, format)
    return _SUFFIXES.get(muxer, f".{muxer}")


def demuxer_name(format: str | None) -> str | None:
    """FFmpeg's name of a format to read: "yuv4mpegpipe" for "y4m". Raises MediaError where there is none."""
    if format is None:
        return None
    name = _ALIASES.get(format, format)
    try:
        av.ContainerFormat(name, "r")
    except ValueError as error:
        raise MediaError(f"no input format {format!r} in this build of FFmpeg") from error
    return name


def check_pixel_format(name: str) -> None:
    """Raises MediaError where FFmpeg has no pixel format of this name."""
    try:
        av.VideoFormat(name, 2, 2)
    except ValueError as error:
        raise MediaError(f"no pixel format {name!r} in this build of FFmpeg") from error


def choose_container(sink: Sink, format: str | None, *, name: str, seekable: bool = True) -> tuple[str | None, str]:
    """The muxer, None where libavformat finds it by the name, and the suffix that stands for it in default_encoder.

    format: FFmpeg's name of a muxer, or mkv, y4m, ts, raw. Raises MediaError where there is no such muxer.
    """
    if format is not None:
        muxer = _ALIASES.get(format, format)
        try:
            av.ContainerFormat(muxer, "w")
        except ValueError as error:
            raise MediaError(f"cannot write {name}: no format {format!r} in this build of FFmpeg") from error
        is_live = muxer == "matroska" and not seekable  # sooner written than compressed
        return muxer, "" if is_live else suffix_of_format(muxer)
    if isinstance(sink, str | Path) and sink != "-" and "%" in Path(sink).name:
        return "image2", Path(sink).suffix
    suffix = Path(name).suffix if sink != "-" else ""
    return _MUXERS.get(suffix.lower()), suffix


def container_options(muxer: str | None, suffix: str, *, seekable: bool) -> Mapping[str, str]:
    """Options without which this container would not be written here."""
    if muxer == "yuv4mpegpipe":
        return {"strict": "-1"}  # 10-bit Y4M is an extension
    if seekable:
        return {}
    if muxer == "matroska":
        return LIVE_MATROSKA
    if (muxer or suffix.lstrip(".")) in ("mp4", "mov", "m4v"):
        return {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
    return _AT_ONCE


def with_fixed_quality(options: Mapping[str, str]) -> dict[str, str]:
    """Options of an encoder with qscale=N, which only ffmpeg's command line knows, in libavcodec's words."""
    settings = dict(options)
    if (scale := settings.pop("qscale", settings.pop("q", None))) is not None:
        settings = {"flags": "+qscale", "global_quality": f"{round(_LAMBDA * float(scale))}", **settings}
    return settings
