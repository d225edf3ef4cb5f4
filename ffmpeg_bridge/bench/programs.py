"""The programs that code and decode for us: ffmpeg, ffprobe, vvencapp. What they can do, and which version they are."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from ssvc_codec.errors import MediaError

__all__ = ["FFMPEG", "encoder_version", "ffmpeg_coders", "ffmpeg_version", "has_program", "packet_sizes", "run_program"]

FFMPEG = ("ffmpeg", "-v", "error", "-nostdin", "-y")
_MAX_MESSAGE = 500  # characters of a program's complaint
_VERSIONS = {  # in what the encoder says of itself, in its stream or on stderr
    "libx264": rb"x264 - core (\d+(?: r\d+)?(?: \w{7,})?)",
    "libx265": rb"HEVC encoder version (\S+)",
    "libsvtav1": rb"SVT-AV1 Encoder Lib (v?\S+)",
    "libaom-av1": rb"libaom-av1 @ [^\]]*\] v?(\d+\.\d+\S*)",
}


def has_program(name: str) -> bool:
    """Whether it is on PATH."""
    return shutil.which(name) is not None


def run_program(command: Sequence[str], *, stdin: bytes | None = None) -> bytes:
    """Runs a program and gives its stdout. In a session of its own: Ctrl-C is ours to answer.

    Raises MediaError with the end of its stderr when it fails or is not there.
    """
    try:
        result = subprocess.run(command, input=stdin, capture_output=True, check=False, start_new_session=True)
    except FileNotFoundError as error:
        raise MediaError(f"{command[0]} is not installed") from error
    if result.returncode != 0:
        raise MediaError(f"{command[0]} failed: {result.stderr.decode(errors='replace').strip()[-_MAX_MESSAGE:]}")
    return result.stdout


@cache
def ffmpeg_version() -> str:
    """First line of `ffmpeg -version`. Raises MediaError where there is none."""
    return run_program(["ffmpeg", "-version"]).decode().splitlines()[0]


@cache
def ffmpeg_coders(kind: str) -> frozenset[str]:
    """Names in `ffmpeg -encoders` or `-decoders`; none where ffmpeg is not installed."""
    if not has_program("ffmpeg"):
        return frozenset()
    listing = run_program(["ffmpeg", "-hide_banner", f"-{kind}"]).decode(errors="replace")
    return frozenset(re.findall(r"^ [VASFXBD.]{6} (\S+)", listing, flags=re.MULTILINE))


@cache
def encoder_version(encoder: str) -> str:
    """Version of an encoder library as it tells it while it codes two black frames; empty where it does not."""
    pattern = _VERSIONS.get(encoder)
    if pattern is None:
        return ""
    command = ["ffmpeg", "-v", "verbose", "-nostdin", "-f", "lavfi", "-i", "color=black:s=128x128:r=25:d=0.08"]
    command += ["-pix_fmt", "yuv420p", "-c:v", encoder, "-f", "nut", "-"]
    result = subprocess.run(command, capture_output=True, check=False, start_new_session=True)
    found = re.search(pattern, result.stdout + result.stderr)
    return found[1].decode(errors="replace") if found else ""


def packet_sizes(path: Path) -> list[int]:
    """Bytes of each video packet, as ffprobe lists them."""
    command = ["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", "packet=size", "-of", "csv=p=0"]
    return [int(line.strip(",")) for line in run_program([*command, str(path)]).decode().split()]
