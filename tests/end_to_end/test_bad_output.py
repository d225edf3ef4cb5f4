"""Outputs that cannot be written, or must not be: one clear line, and what was there stays."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Command

    Start = Callable[..., subprocess.Popen[bytes]]


@contextmanager
def small_disk(folder: Path, options: str) -> Iterator[Path]:
    """A file system of its own, where the tests may mount one."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize(("command", "name"), [("encode", "a.ssv"), ("decode", "a.mkv"), ("decode", "a.mp4")])
def test_a_full_disk_is_one_error_and_leaves_nothing(
    ssvc: Command, clip: Path, coded: Path, tmp_path: Path, command: str, name: str
) -> None:
    with small_disk(tmp_path / "disk", "size=8k") as disk:
        result = ssvc(command, clip if command == "encode" else coded, disk / name)
        assert (result.code, "No space left" in result.error) == (1, True)
        assert list(disk.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("command", ["encode", "decode"])
def test_a_full_device_behind_stdout_is_one_error(program: Command, clip: Path, coded: Path, command: str) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    result = program(command, clip if command == "encode" else coded, "-", stdout=full)
    os.close(full)
    assert (result.code, "No space left" in result.error) == (1, True)


@pytest.mark.parametrize("command", ["encode", "decode"])
def test_a_folder_that_cannot_be_written_is_one_error(
    ssvc: Command, clip: Path, coded: Path, tmp_path: Path, command: str
) -> None:
    with small_disk(tmp_path / "disk", "ro,size=8k") as disk:
        result = ssvc(command, clip if command == "encode" else coded, disk / "out.mkv")
        assert (result.code, "Read-only" in result.error) == (1, True)


@pytest.mark.parametrize("command", ["encode", "decode"])
def test_an_output_that_exists_is_kept_without_y(
    ssvc: Command, clip: Path, coded: Path, tmp_path: Path, command: str
) -> None:
    target = tmp_path / "out.mkv"
    target.write_bytes(b"precious")
    source = clip if command == "encode" else coded
    result = ssvc(command, source, target)
    assert (result.code, "-y" in result.error, target.read_bytes()) == (1, True, b"precious")
    assert ssvc(command, source, target, "-y").code == 0
    assert target.read_bytes()[:4] == b"\x1a\x45\xdf\xa3"
    assert [path.name for path in tmp_path.iterdir()] == ["out.mkv"]


@pytest.mark.parametrize("link", [None, "hard", "symbolic"])
@pytest.mark.parametrize("command", ["encode", "decode"])
def test_an_output_that_is_the_input_is_refused_even_with_y(
    ssvc: Command, clip: Path, coded: Path, tmp_path: Path, command: str, link: str | None
) -> None:
    data = (clip if command == "encode" else coded).read_bytes()
    source = target = tmp_path / "both.mkv"
    source.write_bytes(data)
    if link is not None:
        target = tmp_path / "link.mkv"
        (target.hardlink_to if link == "hard" else target.symlink_to)(source)
    result = ssvc(command, source, target, "-y")
    assert (result.code, "same file" in result.error) == (1, True)
    assert source.read_bytes() == data


def test_an_old_output_stays_when_the_input_turns_out_bad(ssvc: Command, coded: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.ssv").write_bytes(coded.read_bytes()[:400])
    (tmp_path / "out.mkv").write_bytes(b"precious")
    result = ssvc("decode", tmp_path / "bad.ssv", tmp_path / "out.mkv", "-y")
    assert (result.code, bool(result.error)) == (1, True)
    assert (tmp_path / "out.mkv").read_bytes() == b"precious"


def test_a_reader_that_has_enough_ends_the_decoder_quietly(start: Start, coded: Path) -> None:
    with start("decode", coded, "-", stdout=subprocess.PIPE) as decoder:
        assert decoder.stdout is not None
        assert decoder.stderr is not None
        assert decoder.stdout.read(10)[:4] == b"\x1a\x45\xdf\xa3"
        decoder.stdout.close()
        assert (decoder.wait(120), decoder.stderr.read()) == (141, b"")
