"""Command lines of ffmpeg, ffprobe, ffplay and mpv: where .ssv files stand in them.

ffmpeg's options take one argument, but for those in _FLAGS. Whatever stands before an output, back to the input or
output before it, are the options of that output; those in _OURS go to the encoder, all others stay ffmpeg's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

__all__ = ["Output", "Parsed", "parse_ffmpeg", "replace_files", "split_source"]

_FLAG_NAMES = """
    y n vn an sn dn re stdin stats hide_banner copyts start_at_zero shortest autorotate accurate_seek autoscale
    benchmark benchmark_all dump hex debug_ts ignore_unknown copy_unknown recast_media bitexact report xerror
    fix_sub_duration find_stream_info auto_conversion_filters vstats psnr qphist deinterlace print_graphs
    fix_sub_duration_heartbeat version L formats muxers demuxers devices codecs decoders encoders bsfs protocols
    filters pix_fmts layouts sample_fmts dispositions colors buildconf license hwaccels
"""
_FLAGS = frozenset(_FLAG_NAMES.split())
_OURS = {
    "crf": "--crf",
    "g": "--keyint",
    "keyint_min": "--min-keyint",
    "preset": "--preset",
    "b": "--bitrate",
    "maxrate": "--maxrate",
    "bufsize": "--bufsize",
    "classes": "--classes",
    "detector": "--detector",
    "detect_every": "--detect-every",
    "object_quality": "--object-quality",
    "min_score": "--min-score",
    "device": "--device",
    "tune": "--tune",
    "model": "--model",
}
_VIDEO_CODEC = {"c", "c:v", "codec", "codec:v", "vcodec", "c:v:0", "codec:v:0"}
_SOUND = re.compile(
    r"(c|codec)(:a.*)?|acodec|af|filter(:a.*)?|filter_complex.*|lavfi|ac(:.*)?|ar(:.*)?|an|b:a.*|q:a.*|aq|ab"
)
_SUBTITLES = re.compile(r"(c|codec)(:s.*)?|scodec|sn")
_SSV = re.compile(r"(?!\w[\w+.-]+://)(?:file:)?(?P<path>.+\.ssv)(?:\?(?P<query>.*))?", re.I | re.S)


@dataclass(slots=True)
class Output:
    """One .ssv that ffmpeg is to write."""

    path: str
    place: int  # in the arguments: where the pipe's name goes
    encode: list[str] = field(default_factory=list)  # options of `ssvc encode`


@dataclass(slots=True)
class Parsed:
    """ffmpeg's arguments with our part taken out of them."""

    arguments: list[str] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)  # all of them, as the user wrote them
    outputs: list[Output] = field(default_factory=list)
    overwrite: bool = False


def split_source(text: str) -> tuple[str, str] | None:
    """`clip.ssv?flow=1` as path and query; None for what is no .ssv."""
    match = _SSV.fullmatch(text)
    return (match["path"], match["query"] or "") if match else None


def replace_files(arguments: Sequence[str], url_of: Callable[[str, str], str]) -> list[str]:
    """Arguments of ffprobe, ffplay or mpv, with url_of(path, query) for every .ssv but the value of -o."""
    replaced: list[str] = []
    for before, text in zip(["", *arguments], arguments, strict=False):
        source = None if text.startswith("-") or before == "-o" else split_source(text)
        replaced.append(url_of(*source) if source else text)
    return replaced


def parse_ffmpeg(arguments: Sequence[str], url_of: Callable[[str, str], str]) -> Parsed:
    """Puts url_of(path, query) for each .ssv after -i, and finds the outputs that are .ssv."""
    parsed = Parsed()
    group: list[list[str]] = []  # options since the last file, each with its argument
    words = list(arguments)
    while words:
        word = words.pop(0)
        name = word[1:]
        if word == "-i" and words:
            text = words.pop(0)
            source = split_source(text)
            parsed.inputs.append(text)
            _take(parsed, group)
            parsed.arguments += ["-i", url_of(*source) if source else text]
        elif len(word) > 1 and word.startswith("-"):
            parsed.overwrite |= name == "y"
            takes_none = _is_flag(name) or not words
            group.append([word] if takes_none else [word, words.pop(0)])
        elif (target := split_source(word)) is not None and not target[1]:
            _add_output(parsed, target[0], group)
        else:
            _take(parsed, group)
            parsed.arguments.append(word)
    _take(parsed, group)
    return parsed


def _is_flag(name: str) -> bool:
    base = name.split(":", 1)[0]
    return base in _FLAGS or (base.startswith("no") and base[2:] in _FLAGS)


def _take(parsed: Parsed, group: list[list[str]]) -> None:
    parsed.arguments += [word for option in group for word in option]
    group.clear()


def _add_output(parsed: Parsed, path: str, group: list[list[str]]) -> None:
    """Splits the options of an output into the encoder's and ffmpeg's."""
    output = Output(path, 0)
    kept: list[list[str]] = []
    has_codec = has_sound = has_subtitles = False
    for option in group:
        name, value = option[0][1:], option[-1]
        ours = _OURS.get(re.sub(r":v(:0)?$", "", name))
        if name in ("f", "format") or (name in _VIDEO_CODEC and value.lower() in ("ssvc", "ssv", "ssv1")):
            continue
        if ours is not None and len(option) == 2:
            output.encode += [ours, value]
            continue
        has_codec |= name in _VIDEO_CODEC
        has_sound |= _SOUND.fullmatch(name) is not None
        has_subtitles |= _SUBTITLES.fullmatch(name) is not None
        kept.append(option)
    group.clear()
    parsed.arguments += [word for option in kept for word in option]
    parsed.arguments += [] if has_codec else ["-c:v", "ffvhuff"]  # lossless, quick, takes every depth
    parsed.arguments += [] if has_sound else ["-c:a", "copy"]
    parsed.arguments += [] if has_subtitles else ["-c:s", "copy"]
    parsed.arguments += ["-f", "matroska"]
    output.place = len(parsed.arguments)
    parsed.arguments.append(path)
    parsed.outputs.append(output)
