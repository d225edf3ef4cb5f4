"""VVenC through its own program, where that is installed. Decoded by vvdecapp, or by an ffmpeg that knows H.266."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ffmpeg_bridge.bench.codec import Coded, Settings, frames_of, write_source
from ffmpeg_bridge.bench.programs import FFMPEG, ffmpeg_coders, has_program, run_program
from ssvc_codec.evaluation.clip import Clip

__all__ = ["VVENC_POINTS", "VvencCodec", "coded_bytes"]

VVENC_POINTS = (12, 17, 22, 27, 32, 37, 42, 47)
_PARAMETER_SETS_AND_SEI = frozenset({12, 13, 14, 15, 16, 23, 24})  # OPI, DCI, VPS, SPS, PPS, SEI (H.266, table 5)
_START_CODE = re.compile(rb"\x00\x00\x01")


@dataclass(frozen=True)
class VvencCodec:
    """vvencapp, preset medium, constant QP, no reordering of pictures. Seconds are those of whole processes."""

    settings: Settings
    points: tuple[float, ...] = VVENC_POINTS
    name: str = "vvenc"

    @property
    def is_intra(self) -> bool:
        """Whether every frame is a key frame."""
        return self.settings.keyint == 1

    def missing(self) -> str:
        """Why it cannot be measured here; empty where it can."""
        if not has_program("vvencapp"):
            return "vvencapp is not on PATH"
        if has_program("vvdecapp") or "vvc" in ffmpeg_coders("decoders"):
            return ""
        return "vvencapp is there, but neither vvdecapp nor an ffmpeg that decodes H.266"

    def version(self) -> str:
        """What vvencapp says of itself."""
        lines = run_program(["vvencapp", "--version"]).decode(errors="replace").strip().splitlines()
        return lines[0] if lines else "vvencapp"

    def command(self) -> str:
        """The command line, POINT for the QP."""
        return " ".join(self._encode("source.y4m", "vvenc.266", "POINT"))

    def identity(self, point: float) -> list[str]:
        """Command line and version."""
        return [*self._encode("", "", f"{point:g}"), self.version()]

    def _encode(self, source: str, target: str, point: str) -> list[str]:
        keyint, threads = self.settings.keyint, self.settings.threads
        command = ["vvencapp", "--preset", "medium", "--qp", point, "--qpa", "0", "--input", source, "--output", target]
        command += ["--intraperiod", str(keyint), "--refreshtype", "idr"]
        command += ["--threads", str(threads)] if threads else []
        low_delay = "picreordering=0:poc0idr=1:mctf=0:lookahead=0"
        return command if keyint == 1 else [*command, "--additional", low_delay]

    def code(self, clip: Clip, point: float, *, folder: Path) -> Coded:
        """Encodes and decodes clip. It codes 10 bits; what it gives back is rounded to 8."""
        source, coded, raw = folder / "source.y4m", folder / "vvenc.266", folder / "decoded.yuv"
        write_source(clip, source)
        start = time.perf_counter()
        run_program(self._encode(str(source), str(coded), f"{point:g}"))
        encode_seconds = time.perf_counter() - start
        decode = ["vvdecapp", "-b", str(coded), "-o", str(raw)]
        if not has_program("vvdecapp"):
            decode = [*FFMPEG, "-i", str(coded), "-pix_fmt", "yuv420p10le", "-f", "rawvideo", str(raw)]
        start = time.perf_counter()
        run_program(decode)
        decode_seconds = time.perf_counter() - start
        frames = frames_of(raw.read_bytes(), clip, bit_depth=10)
        return Coded(coded_bytes(coded.read_bytes()), encode_seconds, decode_seconds, frames, coded)


def coded_bytes(stream: bytes) -> int:
    """Bytes of an H.266 byte stream as packets carry it: parameter sets and SEI left out, 4 bytes for each length."""
    return sum(4 + len(unit) for unit in _units(stream) if unit[1] >> 3 not in _PARAMETER_SETS_AND_SEI)


def _units(stream: bytes) -> Iterator[bytes]:
    """NAL units between start codes, without the zero bytes that may follow them."""
    starts = [match.end() for match in _START_CODE.finditer(stream)]
    for start, end in zip(starts, [*(s - 3 for s in starts[1:]), len(stream)], strict=True):
        unit = stream[start:end].rstrip(b"\x00")
        if len(unit) >= 2:
            yield unit
