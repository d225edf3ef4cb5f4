"""What the bench asks of a codec."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import numpy as np

from ffmpeg_bridge.bench.programs import FFMPEG, run_program
from ssvc_codec.errors import MediaError
from ssvc_codec.evaluation.clip import Clip, read_frame, write_y4m
from ssvc_codec.frame import Color, Frame, Plane, VideoFormat

__all__ = ["Codec", "Coded", "Settings", "decode_with_ffmpeg", "frames_of", "write_source"]


@dataclass(frozen=True)
class Coded:
    """One coded version of a clip."""

    n_bytes: int  # all video packets
    encode_seconds: float
    decode_seconds: float
    frames: tuple[Frame, ...]  # as the decoder gave them
    path: Path | None = None  # the file, while its folder lasts


@dataclass(frozen=True)
class Settings:
    """What all codecs of a run have in common."""

    keyint: int = 12  # 1: every frame a key frame
    threads: int = 1  # 0: all


class Codec(Protocol):
    """One codec with its settings."""

    @property
    def name(self) -> str:
        """In tables."""
        ...

    @property
    def points(self) -> tuple[float, ...]:
        """Quality points: crf, q or what the codec counts by."""
        ...

    @property
    def is_intra(self) -> bool:
        """Whether every frame is a key frame."""
        ...

    def version(self) -> str:
        """Of the program, library or weights."""
        ...

    def command(self) -> str:
        """How it is run, in words or as a command line."""
        ...

    def identity(self, point: float) -> list[str]:
        """All that decides the result besides the samples: names it in the cache."""
        ...

    def code(self, clip: Clip, point: float, *, folder: Path) -> Coded:
        """Encodes and decodes clip; files go to folder. Raises MediaError and others of ssvc_codec.errors."""
        ...


def write_source(clip: Clip, path: Path, *, full_range: bool = False) -> None:
    """The samples as y4m, under either range label; size and rate are kept, colour is not told."""
    format = replace(clip.format, color=Color(full_range=full_range))
    with path.open("wb") as file:
        write_y4m(replace(clip, format=format), file)


def decode_with_ffmpeg(path: Path, clip: Clip, *, pixel_format: str) -> tuple[Frame, ...]:
    """All frames of a file as planes in the format of clip; pixel_format must hold the same 8-bit samples.

    Raises MediaError when there are too few or too many.
    """
    data = run_program([*FFMPEG, "-i", str(path), "-map", "0:v:0", "-pix_fmt", pixel_format, "-f", "rawvideo", "-"])
    return frames_of(data, clip, bit_depth=8)


def frames_of(data: bytes, clip: Clip, *, bit_depth: int) -> tuple[Frame, ...]:
    """Raw 4:2:0 planes of 8 or 10 bits as frames of clip, 10 bits rounded to 8.

    Raises MediaError when they are not as many as in clip.
    """
    source = io.BytesIO(data)
    stored: VideoFormat = replace(clip.format, bit_depth=bit_depth)
    time_base = Fraction(1 / clip.frame_rate)
    frames = [read_frame(source, stored, pts=number, time_base=time_base) for number in range(len(clip.frames))]
    if source.tell() != len(data):
        raise MediaError(f"more than the {len(clip.frames)} frames of the source were decoded")
    if bit_depth == clip.format.bit_depth:
        return tuple(frames)

    def rounded(plane: Plane) -> Plane:
        return (np.minimum(plane.astype(np.uint16) + 2, 1023) >> 2).astype(np.uint8)

    return tuple(replace(f, y=rounded(f.y), u=rounded(f.u), v=rounded(f.v), format=clip.format) for f in frames)
