"""Which codecs there are, and those that a list of names asks for."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from ffmpeg_bridge.bench.anchors import ANCHORS, FfmpegCodec
from ffmpeg_bridge.bench.codec import Codec, Settings
from ffmpeg_bridge.bench.compressai_codec import ARCHITECTURES, CompressaiCodec
from ffmpeg_bridge.bench.libjpeg import LibjpegCodec
from ffmpeg_bridge.bench.own_codec import OwnCodec
from ffmpeg_bridge.bench.vvenc import VvencCodec

__all__ = ["CODEC_NAMES", "OWN_NAMES", "Choice", "anchor_codec", "choose_codecs", "split_names"]

OWN_NAMES = ("ssvc", "ssvc-intra")  # the second: every frame an I frame, whatever keyint says
CODEC_NAMES = (*OWN_NAMES, *ANCHORS, "vvenc", "libjpeg")
_COMPRESSAI = "compressai:"
_WEIGHTS = (".pth", ".pt", ".tar", ".ckpt")
_AnyAnchor = FfmpegCodec | LibjpegCodec | VvencCodec


@dataclass(frozen=True)
class Choice:
    """The codecs of a run."""

    codecs: tuple[Codec, ...]
    missing: Mapping[str, str]  # name of what cannot be measured here, and why


def split_names(text: str) -> list[str]:
    """Names parted by commas. Files after the first of `compressai:ARCHITECTURE:FILE` belong to it."""
    names: list[str] = []
    for item in (part.strip() for part in text.split(",")):
        is_file = item not in CODEC_NAMES and (item.endswith(_WEIGHTS) or Path(item).is_file())
        if names and names[-1].startswith(_COMPRESSAI) and is_file and not item.startswith(_COMPRESSAI):
            names[-1] += f",{item}"
        elif item:
            names.append(item)
    return names


def choose_codecs(names: Sequence[str], *, own: OwnCodec, points: Mapping[str, tuple[float, ...]]) -> Choice:
    """The codecs of these names, each once.

    own: ssvc with its options and the settings of the run. points: quality points by name in place of the usual ones.
    Raises ValueError for a name, architecture or file that there is not, and for points of a codec that is not chosen.
    """
    chosen: dict[str, Codec] = {}
    missing: dict[str, str] = {}
    for name in dict.fromkeys(names):
        if name.startswith(_COMPRESSAI):
            codec = _compressai(name, taken=chosen, threads=own.settings.threads)
            chosen[codec.name] = codec
        elif name in OWN_NAMES:
            settings = own.settings if name == "ssvc" else replace(own.settings, keyint=1)
            chosen[name] = replace(own, name=name, settings=settings, points=points.get(name, own.points))
        else:
            anchor = anchor_codec(name, own.settings, points=points.get(name))
            if reason := anchor.missing():
                missing[name] = reason
            else:
                chosen[name] = anchor
    if not chosen and not missing:
        raise ValueError("no codec is named")
    stray = [name for name in points if name not in {*chosen, *missing}]
    if stray:
        raise ValueError(f"points for {stray[0]}, which is none of the codecs: {', '.join((*chosen, *missing))}")
    return Choice(tuple(chosen.values()), missing)


def anchor_codec(name: str, settings: Settings, *, points: tuple[float, ...] | None = None) -> _AnyAnchor:
    """An anchor by name, whether or not it is installed. Raises ValueError, with what may have been meant."""
    if name in ANCHORS:
        return FfmpegCodec(ANCHORS[name], settings, points or ANCHORS[name].points)
    others: dict[str, Callable[[], LibjpegCodec | VvencCodec]] = {
        "libjpeg": LibjpegCodec,
        "vvenc": lambda: VvencCodec(settings),
    }
    if name not in others:
        close = difflib.get_close_matches(name, [*CODEC_NAMES, _COMPRESSAI + "ARCHITECTURE:FILE"], cutoff=0.5)
        meant = f"did you mean {' or '.join(close[:2])}?" if close else f"there are {', '.join(CODEC_NAMES)}"
        raise ValueError(f"unknown codec {name!r}: {meant}")
    codec = others[name]()
    return replace(codec, points=points) if points else codec


def _compressai(name: str, *, taken: Mapping[str, Codec], threads: int) -> CompressaiCodec:
    """`compressai:ARCHITECTURE:FILE[,FILE]`. Raises ValueError."""
    architecture, _, files = name.removeprefix(_COMPRESSAI).partition(":")
    architecture = architecture.replace("_", "-")
    if architecture not in ARCHITECTURES:
        raise ValueError(f"unknown architecture {architecture!r} of compressai: there are {', '.join(ARCHITECTURES)}")
    paths = tuple(Path(file) for file in files.split(",") if file)
    if not paths:
        raise ValueError(f"{name}: a file with weights must follow, {_COMPRESSAI}{architecture}:FILE[,FILE]")
    for path in paths:
        if not path.is_file():
            raise ValueError(f"{path}: no such file")
    numbered = (architecture if number == 1 else f"{architecture}-{number}" for number in count(1))
    unique = next(candidate for candidate in numbered if candidate not in taken)
    return CompressaiCodec(architecture, paths, threads=threads, name=unique)
