"""A small clip, and one run of `ssvc bench` on it that many tests look at."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from fractions import Fraction
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from ffmpeg_bridge.bench.programs import ffmpeg_coders
from ssvc_codec.evaluation.clip import Clip, as_plane, write_y4m
from ssvc_codec.frame import Color, Frame, Plane, VideoFormat

N_FRAMES = 2
POINTS = {"ssvc": "20,40,55", "x264": "22,32,42", "x265": "22,32,42"}


@dataclass(frozen=True)
class Run:
    """How a run of the program ended."""

    code: int
    stdout: str
    stderr: str


Bench = Callable[..., Run]


def run_bench(*arguments: str | Path) -> Run:
    stdout, stderr = io.StringIO(), io.StringIO()
    run = import_module("ssvc_codec.cli.main").run
    with redirect_stdout(stdout), redirect_stderr(stderr):
        code = run(["bench", *map(str, arguments)])
    return Run(code, stdout.getvalue(), stderr.getvalue())


def read_table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def make_clip(width: int, height: int, n_frames: int, *, name: str = "clip", bit_depth: int = 8) -> Clip:
    """A smooth picture with noise that moves to the right."""
    rng = np.random.default_rng(5)
    format = VideoFormat(width, height, bit_depth=bit_depth, color=Color())
    rows, columns = np.mgrid[0:height, 0 : width + 8 * n_frames]
    scene = 118 + 70 * np.sin(columns / 17) * np.cos(rows / 23) + rng.normal(0, 4, rows.shape)
    unit = 1 << (bit_depth - 8)

    def plane(values: np.ndarray) -> Plane:
        return as_plane((np.clip(np.rint(values), 16, 235) * unit).astype(np.uint16), format)

    frames = []
    for number in range(n_frames):
        luma = scene[:, 2 * number : 2 * number + width]
        small = luma[::2, ::2]
        planes = (plane(luma), plane(128 + (small - 118) / 4), plane(128 - (small - 118) / 5))
        frames.append(Frame(*planes, format, pts=number, duration=1, time_base=Fraction(1, 25)))
    return Clip(name, format, Fraction(25), tuple(frames))


def save_clip(clip: Clip, path: Path) -> Path:
    with path.open("wb") as file:
        write_y4m(clip, file)
    return path


def needs(*encoders: str) -> None:
    """Skips the test where ffmpeg cannot code with these."""
    if shutil.which("ffprobe") is None:
        pytest.skip("ffmpeg and ffprobe are not installed")
    for encoder in encoders:
        if encoder not in ffmpeg_coders("encoders"):
            pytest.skip(f"ffmpeg has no encoder {encoder}")


@pytest.fixture
def bench() -> Bench:
    """Runs `ssvc bench` in this process."""
    return run_bench


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two frames of 176x176: large enough for MS-SSIM."""
    return save_clip(make_clip(176, 176, N_FRAMES), tmp_path_factory.mktemp("source") / "moving.y4m")


@dataclass(frozen=True)
class Finished:
    """A run that others may read but not change."""

    run: Run
    folder: Path
    arguments: tuple[str | Path, ...]  # without --resume

    @property
    def rows(self) -> list[dict[str, str]]:
        return read_table(self.folder / "results.tsv")


@pytest.fixture(scope="session")
def finished(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """ssvc, x264 and x265 at three points each, and vvenc if it is there; coded files kept."""
    needs("libx264", "libx265")
    folder = tmp_path_factory.mktemp("bench") / "out"
    arguments = (source, "--out", folder, "--frames", str(N_FRAMES), "--keyint", "2", "--crfs", POINTS["ssvc"])
    arguments += ("--points", f"x264={POINTS['x264']}", "--points", f"x265={POINTS['x265']}", "--keep")
    arguments += ("--codecs", "ssvc,x264,x265,vvenc")
    return Finished(run_bench(*arguments), folder, arguments)
