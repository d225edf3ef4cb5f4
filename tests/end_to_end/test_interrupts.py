"""Real signals to the real program."""

from __future__ import annotations

import fcntl
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ffmpeg_bridge import ebml
from ffmpeg_bridge.reader import open_ssv

Start = Callable[..., subprocess.Popen[bytes]]
CUES = 0x1C53BB6B


@pytest.fixture
def long_clip(make_clip: Callable[..., Path], tmp_path: Path) -> Path:
    return make_clip(tmp_path / "long.mkv", width=64, height=48, seconds=20)


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, "nothing was written"
        assert process.poll() is None, "the program ended by itself"
        time.sleep(0.02)


def has_index(path: Path) -> bool:
    """Whether the segment has cues, which every player seeks by."""
    data = path.read_bytes()
    (segment,) = [e for e in ebml.iter_elements(data, 0, len(data)) if e[0] == ebml.SEGMENT]
    return CUES in [element[0] for element in ebml.iter_elements(data, segment[2], segment[3])]


def test_ctrl_c_before_a_silent_pipe_leaves_a_playable_indexed_file(
    start: Start, long_clip: Path, tmp_path: Path
) -> None:
    data = long_clip.read_bytes()
    with start("encode", "-", tmp_path / "out.ssv", stdin=subprocess.PIPE) as encoder:
        assert encoder.stdin is not None
        assert encoder.stderr is not None
        encoder.stdin.write(data[: len(data) // 2])  # and then nothing: the next read waits
        encoder.stdin.flush()
        wait_for(lambda: any(path.stat().st_size > 3000 for path in tmp_path.glob(".out.ssv*")), encoder)
        encoder.send_signal(signal.SIGINT)
        assert (encoder.wait(60), encoder.stderr.read()) == (130, b"")
        encoder.stdin.close()
    with open_ssv(str(tmp_path / "out.ssv")) as reader:
        assert 0 < sum(1 for _ in reader) < 500
        assert not reader.truncated
    assert has_index(tmp_path / "out.ssv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["long.mkv", "out.ssv"]


def n_unread(process: subprocess.Popen[bytes]) -> int:
    """Bytes that wait in the pipe of its output."""
    assert process.stdout is not None
    return int.from_bytes(fcntl.ioctl(process.stdout, termios.FIONREAD, bytes(4)), sys.byteorder)


def stands_still(process: subprocess.Popen[bytes]) -> bool:
    """Whether something waits in the pipe and nothing is added in two seconds."""
    before = n_unread(process)
    time.sleep(2)
    return 0 < before == n_unread(process)


def test_a_second_ctrl_c_stops_at_once_without_a_word(start: Start, long_clip: Path) -> None:
    with start("encode", long_clip, "-", "--crf", "0", stdout=subprocess.PIPE) as encoder:
        assert encoder.stdout is not None
        assert encoder.stderr is not None
        encoder.stdout.read(1000)
        wait_for(lambda: stands_still(encoder), encoder)  # the pipe is full, the program waits for its reader
        encoder.send_signal(signal.SIGINT)
        time.sleep(0.3)
        assert encoder.poll() is None
        encoder.send_signal(signal.SIGINT)
        assert (encoder.wait(60), encoder.stderr.read()) == (130, b"")
