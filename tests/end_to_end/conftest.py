"""The commands in this process and as a program of their own, on clips made here."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from ffmpeg_bridge.reader import open_video

PROGRAM = [sys.executable, "-c", "import ssvc_codec.cli as c; c.main()"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}


@dataclass(frozen=True)
class Result:
    """How one command ended."""

    code: int
    stderr: str

    @property
    def error(self) -> str:
        """The only line on stderr, which is an error and nothing else."""
        assert self.stderr.startswith("ssvc: error: "), self.stderr
        assert self.stderr.count("\n") == 1, self.stderr
        assert "internal error" not in self.stderr
        return self.stderr


Command = Callable[..., Result]


@pytest.fixture
def ssvc(capsys: pytest.CaptureFixture[str]) -> Command:
    """Run one quiet command line in this process."""

    def call(*arguments: str | Path) -> Result:
        code = import_module("ssvc_codec.cli.main").run([*map(str, arguments), "-q"])
        return Result(code, capsys.readouterr().err)

    return call


@pytest.fixture(scope="session")
def program() -> Command:
    """Run one quiet command line as a program of its own, which takes seconds to start."""

    def call(*arguments: str | Path, stdout: int | None = None) -> Result:
        done = subprocess.run(
            [*PROGRAM, *map(str, arguments), "-q"],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            env=ENVIRONMENT,
            timeout=120,
            check=False,
        )
        return Result(done.returncode, done.stderr.decode())

    return call


@pytest.fixture(scope="session")
def start() -> Callable[..., subprocess.Popen[bytes]]:
    """Start a quiet command line whose streams are pipes where they are named."""

    def call(*arguments: str | Path, stdin: int | None = None, stdout: int | None = None) -> subprocess.Popen[bytes]:
        command = [*PROGRAM, *map(str, arguments), "-q"]
        return subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, env=ENVIRONMENT)

    return call


def _made(path: Path, *arguments: str | Path) -> Path:
    assert import_module("ssvc_codec.cli.main").run([*map(str, arguments), str(path), "-q"]) == 0
    return path


@pytest.fixture(scope="session")
def make_clip() -> Callable[..., Path]:
    """Writes a clip with shapes and sound at 25 frames per second."""

    def call(path: Path, *, width: int = 106, height: int = 62, seconds: float = 0.4) -> Path:
        return _made(path, "demo", "--seconds", f"{seconds}", "--width", f"{width}", "--height", f"{height}")

    return call


@pytest.fixture(scope="session")
def clip(make_clip: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten frames of 106x62 with sound."""
    return make_clip(tmp_path_factory.mktemp("clip") / "clip.mp4")


@pytest.fixture(scope="session")
def coded(clip: Path) -> Path:
    """Two groups of five frames."""
    return _made(clip.with_suffix(".ssv"), "encode", clip, "--keyint", "5", "--detector", "none")


@pytest.fixture(scope="session")
def read_pictures() -> Callable[[Path], list[bytes]]:
    """All samples of every frame of a video."""

    def call(path: Path) -> list[bytes]:
        with open_video(str(path)) as reader:
            return [np.concatenate([frame.y.ravel(), frame.u.ravel(), frame.v.ravel()]).tobytes() for frame in reader]

    return call


@pytest.fixture(scope="session")
def pictures(coded: Path, read_pictures: Callable[[Path], list[bytes]]) -> list[bytes]:
    """What the undamaged file decodes to."""
    return read_pictures(_made(coded.with_name("decoded.mkv"), "decode", coded))
