"""The codecs that ssvc is measured against, run through the ffmpeg program.

All get the same limited-range yuv420p samples as ssvc and give such samples back. JPEG knows full range only: the
samples are relabelled, not converted, so nothing is lost to range scaling.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ffmpeg_bridge.bench.codec import Coded, Settings, decode_with_ffmpeg, write_source
from ffmpeg_bridge.bench.programs import (
    FFMPEG,
    encoder_version,
    ffmpeg_coders,
    ffmpeg_version,
    packet_sizes,
    run_program,
)
from ssvc_codec.evaluation.clip import Clip

__all__ = ["ANCHORS", "Anchor", "FfmpegCodec"]


@dataclass(frozen=True)
class Anchor:
    """A codec of ffmpeg, its quality points and its options."""

    name: str
    encoder: str  # ffmpeg's name
    points: tuple[float, ...]  # from best to worst
    arguments: Callable[[str, Settings], list[str]]  # quality point -> options
    is_full_range: bool = False
    is_intra: bool = False  # whatever keyint says


def x264_arguments(crf: str, settings: Settings, *, tune: str = "") -> list[str]:
    """All intra or low delay: P frames only, key frames where keyint says and nowhere else.

    The version SEI (about 700 bytes, once) is cut away in x264's favour.
    """
    keyint = settings.keyint
    low_delay = [] if keyint == 1 else ["-bf", "0", "-sc_threshold", "0"]
    tunes = ",".join(([tune] if tune else []) + ([] if keyint == 1 else ["zerolatency"]))
    options = ["-c:v", "libx264", "-preset", "medium", "-crf", crf, "-g", str(keyint), *low_delay]
    return [*options, *(["-tune", tunes] if tunes else []), "-bsf:v", "filter_units=remove_types=6"]


def x265_arguments(crf: str, settings: Settings) -> list[str]:
    """All intra or low delay as with x264, without the version SEI."""
    pools = {0: "*", 1: "none"}.get(settings.threads, str(settings.threads))
    keys = f"keyint={settings.keyint}:min-keyint={settings.keyint}"
    params = f"info=0:log-level=error:pools={pools}:frame-threads=1:{keys}"
    options = ["-c:v", "libx265", "-preset", "medium", "-crf", crf]
    if settings.keyint == 1:
        return [*options, "-x265-params", params]
    return [*options, "-tune", "zerolatency", "-x265-params", f"{params}:bframes=0:scenecut=0"]


def av1_arguments(crf: str, settings: Settings) -> list[str]:
    """libaom, all intra or real time."""
    low_delay = ["-usage", "realtime", "-lag-in-frames", "0", "-g", str(settings.keyint)]
    usage = ["-usage", "allintra"] if settings.keyint == 1 else low_delay
    return ["-c:v", "libaom-av1", *usage, "-cpu-used", "6", "-crf", crf, "-b:v", "0"]


def svtav1_arguments(crf: str, settings: Settings) -> list[str]:
    """SVT-AV1 preset 8, low delay: frames refer to earlier ones only and are shown at once.

    That structure cannot do without bi-prediction (from two earlier frames) and layers of quality. Neither look-ahead
    nor temporal filter: both would wait for later frames. Key frames are closed (irefresh-type 2).
    """
    params = f"pred-struct=1:lookahead=0:enable-tf=0:scd=0:irefresh-type=2:lp={settings.threads}"
    return ["-c:v", "libsvtav1", "-preset", "8", "-crf", crf, "-g", str(settings.keyint), "-svtav1-params", params]


def mjpeg_arguments(q: str, settings: Settings) -> list[str]:
    """ffmpeg's own JPEG with Huffman tables made for each picture; every frame is intra whatever keyint is."""
    del settings
    return ["-c:v", "mjpeg", "-huffman", "optimal", "-qmin", "1", "-q:v", q]


_X26X_POINTS = (8, 12, 17, 22, 27, 32, 37, 42, 47)
_AV1_POINTS = (10, 18, 26, 34, 42, 50, 58, 63)
ANCHORS = {
    anchor.name: anchor
    for anchor in (
        Anchor("x264", "libx264", _X26X_POINTS, x264_arguments),
        Anchor("x264-psnr", "libx264", _X26X_POINTS, lambda point, s: x264_arguments(point, s, tune="psnr")),
        Anchor("x265", "libx265", _X26X_POINTS, x265_arguments),
        Anchor("av1", "libaom-av1", _AV1_POINTS, av1_arguments),
        Anchor("svtav1", "libsvtav1", _AV1_POINTS, svtav1_arguments),
        Anchor("mjpeg", "mjpeg", (1, 2, 3, 5, 8, 12, 18, 26, 31), mjpeg_arguments, is_full_range=True, is_intra=True),
    )
}


@dataclass(frozen=True)
class FfmpegCodec:
    """An anchor with the settings of a run. Seconds are those of whole processes, their start included."""

    anchor: Anchor
    settings: Settings
    points: tuple[float, ...]

    @property
    def name(self) -> str:
        """In tables."""
        return self.anchor.name

    @property
    def is_intra(self) -> bool:
        """Whether every frame is a key frame."""
        return self.anchor.is_intra or self.settings.keyint == 1

    def missing(self) -> str:
        """Why it cannot be measured here; empty where it can."""
        if not ffmpeg_coders("encoders"):
            return "ffmpeg is not installed"
        if self.anchor.encoder not in ffmpeg_coders("encoders"):
            return f"ffmpeg has no encoder {self.anchor.encoder}"
        return ""

    def version(self) -> str:
        """Of the library where it tells, else of ffmpeg."""
        known = encoder_version(self.anchor.encoder)
        return f"{self.anchor.encoder} {known}" if known else ffmpeg_version()

    def command(self) -> str:
        """The ffmpeg command line, POINT for the quality point."""
        return " ".join(self._encode("source.y4m", f"{self.name}.mkv", "POINT"))

    def identity(self, point: float) -> list[str]:
        """Command line and versions."""
        return [*self._encode("", self.name, f"{point:g}"), ffmpeg_version(), self.version()]

    def _encode(self, source: str, target: str, point: str) -> list[str]:
        options = self.anchor.arguments(point, self.settings)
        return [*FFMPEG, "-i", source, *options, *self._threads, "-pix_fmt", self._pixel_format, target]

    @property
    def _threads(self) -> list[str]:
        return ["-threads", str(self.settings.threads)]

    @property
    def _pixel_format(self) -> str:
        return "yuvj420p" if self.anchor.is_full_range else "yuv420p"

    def code(self, clip: Clip, point: float, *, folder: Path) -> Coded:
        """Encodes and decodes clip."""
        source, coded = folder / "source.y4m", folder / f"{self.name}.mkv"
        write_source(clip, source, full_range=self.anchor.is_full_range)
        start = time.perf_counter()
        run_program(self._encode(str(source), str(coded), f"{point:g}"))
        encode_seconds = time.perf_counter() - start
        start = time.perf_counter()
        run_program([*FFMPEG, *self._threads, "-i", str(coded), "-f", "null", "-"])
        decode_seconds = time.perf_counter() - start
        frames = decode_with_ffmpeg(coded, clip, pixel_format=self._pixel_format)
        return Coded(sum(packet_sizes(coded)), encode_seconds, decode_seconds, frames, coded)
