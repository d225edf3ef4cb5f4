"""The patched ffmpeg, its worker, and clips. Skipped unless SSVC_NATIVE_FFMPEG names the ffmpeg of native/build.sh."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import pytest

FFMPEG = os.environ.get("SSVC_NATIVE_FFMPEG", "")
MAIN = "import ssvc_codec.cli as c; c.main()"


class Line(NamedTuple):
    """One packet or frame as ffmpeg's framemd5 lists it, in milliseconds."""

    pts: int
    size: int
    md5: str


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    reason = "SSVC_NATIVE_FFMPEG does not name the ffmpeg that ffmpeg_bridge/native/build.sh builds"
    for item in items:
        if item.path.is_relative_to(here) and not Path(FFMPEG).is_file():
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """With this interpreter's ssvc as the worker."""
    worker = tmp_path_factory.mktemp("worker") / "ssvc"
    worker.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -c {shlex.quote(MAIN)} "$@"\n')
    worker.chmod(0o755)
    return {**os.environ, "SSVC_WORKER": str(worker), "OMP_NUM_THREADS": "1"}


Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def ffmpeg(environment: dict[str, str]) -> Run:
    """Runs the patched ffmpeg, which must end as code says; 69 is its way of saying that most packets were damaged."""

    def run(
        *arguments: str | Path, code: int | tuple[int, ...] = 0, worker: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        command = [FFMPEG, "-nostdin", "-v", "error", "-y", *map(str, arguments)]
        settings = environment if worker is None else {**environment, "SSVC_WORKER": worker}
        done = subprocess.run(command, env=settings, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode in (code if isinstance(code, tuple) else (code,)), done.stderr
        return done

    return run


def parse_framemd5(text: str) -> list[Line]:
    """The lines of a framemd5 in units of 1/1000 s."""
    assert "#tb 0: 1/1000\n" in text
    fields = [line.split(",") for line in text.splitlines() if not line.startswith("#")]
    return [Line(int(pts), int(size), md5.strip()) for _, _, pts, _, size, md5 in fields]


@pytest.fixture(scope="session")
def frames_of(ffmpeg: Run) -> Callable[..., list[Line]]:
    """Frames of a file as the patched ffmpeg decodes it; options go before -i."""

    def decode(path: Path, *options: str) -> list[Line]:
        out = ("-map", "0:v", "-fps_mode", "passthrough", "-enc_time_base", "1/1000", "-f", "framemd5", "-")
        return parse_framemd5(ffmpeg(*options, "-i", path, *out).stdout)

    return decode


@pytest.fixture(scope="session")
def packets_of(ffmpeg: Run) -> Callable[[Path], list[Line]]:
    """Packets of the video of a file."""
    return lambda path: parse_framemd5(ffmpeg("-i", path, "-map", "0:v", "-c", "copy", "-f", "framemd5", "-").stdout)


@pytest.fixture(scope="session")
def ssvc() -> Callable[..., None]:
    """Runs one quiet command line in this process."""

    def run(*arguments: str | Path) -> None:
        assert import_module("ssvc_codec.cli.main").run([*map(str, arguments), "-q"]) == 0

    return run


class Clip(NamedTuple):
    """A video, what ssvc encode makes of it, and what ssvc decode makes of that."""

    source: Path
    coded: Path
    decoded: Path


FILTERS = {
    "plain": ("scale=160:96", "yuv420p"),
    "odd": ("scale=97:61,setsar=4/3", "yuv420p"),
    "ten bits": ("scale=98:62", "yuv420p10le"),
    "vfr": ("scale=64:48,select='not(eq(mod(n,5),3))'", "yuv420p"),
}
COLOR = ("-color_primaries", "bt709", "-color_trc", "bt709", "-colorspace", "bt709", "-color_range", "tv")


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory, ssvc: Callable[..., None]) -> Callable[[str], Clip]:
    """Clips with sound of half a second and groups of six, by their key in FILTERS; each is made once."""
    folder, made = tmp_path_factory.mktemp("clips"), dict[str, Clip]()

    def make(kind: str) -> Clip:
        if kind not in made:
            clip = Clip(*(folder / f"{kind}{end}" for end in (".mkv", ".ssv", ".decoded.mkv")))
            _make_source(clip.source, *FILTERS[kind])
            ssvc("encode", clip.source, clip.coded, "-g", "6")
            ssvc("decode", clip.coded, clip.decoded)
            made[kind] = clip
        return made[kind]

    return make


def _make_source(path: Path, filters: str, pixel_format: str) -> None:
    inputs: Sequence[str] = ("-f", "lavfi", "-i", "testsrc2=s=320x240:r=30:d=0.5", "-f", "lavfi", "-i", "sine=d=0.5")
    codecs = ("-c:v", "ffv1", "-c:a", "pcm_s16le", "-pix_fmt", pixel_format, "-fps_mode", "passthrough")
    command = ["ffmpeg", "-nostdin", "-v", "error", *inputs, "-vf", filters, *COLOR, *codecs, str(path)]
    subprocess.run(command, check=True)
