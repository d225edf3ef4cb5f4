from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from .conftest import Result


@pytest.mark.parametrize(
    "arguments",
    [
        ["encode", "in.mp4"],
        ["encode", "in.mp4", "out.ssv", "--crf", "64"],
        ["encode", "in.mp4", "out.ssv", "--crf", "-1"],
        ["encode", "in.mp4", "out.ssv", "--preset", "placebo"],
        ["encode", "in.mp4", "out.ssv", "--keyint", "0"],
        ["encode", "in.mp4", "out.ssv", "--ss", "soon"],
        ["encode", "in.mp4", "out.ssv", "--device", "tpu"],
        ["decode", "in.ssv", "out.mp4", "--frames", "0"],
        ["decode", "in.ssv", "out.mp4", "--vcodec-opts", "crf"],
        ["info"],
        ["nonsense"],
        ["--nonsense"],
        ["train", "intra"],
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(ssvc: Callable[..., Result], arguments: list[str]) -> None:
    result = ssvc(*arguments)
    assert (result.code, result.stdout) == (2, "")
    assert result.stderr.startswith("ssvc: error: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "command", [[], ["encode"], ["decode"], ["info"], ["demo"], ["bench"], ["version"], ["train", "intra"]]
)
def test_every_command_has_help(ssvc: Callable[..., Result], command: list[str]) -> None:
    result = ssvc(*command, "--help")
    assert result.code == 0
    assert result.stdout.startswith(" ".join(["Usage: ssvc", *command]))


@pytest.mark.parametrize("command", [[], ["train"]])
def test_no_command_prints_help_and_is_wrong_usage(ssvc: Callable[..., Result], command: list[str]) -> None:
    result = ssvc(*command)
    assert result.code == 2
    assert "Usage: ssvc" in result.stdout + result.stderr


def test_version_names_ssvc_and_what_it_stands_on(ssvc: Callable[..., Result]) -> None:
    result = ssvc("version")
    assert result.code == 0
    assert result.stdout.startswith("ssvc 0.")
    assert "torch 2." in result.stdout


def test_a_reader_that_goes_away_is_quiet_and_141() -> None:
    code = "import sys, ssvc_codec.cli as c; sys.stdin.read(); sys.argv = ['ssvc', 'version']; c.main()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stdin.close()
        assert process.wait(60) == 141
        assert process.stderr.read() == b""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_under_stdout_is_an_error() -> None:
    code = "import sys, ssvc_codec.cli as c; sys.argv = ['ssvc', 'version']; c.main()"
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert result.returncode == 1
    assert result.stderr == "ssvc: error: No space left on device\n"


@pytest.mark.parametrize("command", [["--help"], ["version"], ["encode", "--help"], ["train", "intra", "--help"]])
def test_what_needs_no_networks_loads_no_torch(command: list[str]) -> None:
    code = (
        f"import sys\nfrom ssvc_codec.cli.main import run\nrun({command!r})\n"
        "print([name for name in ('torch', 'av') if name in sys.modules], file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stderr.strip() == "[]"
