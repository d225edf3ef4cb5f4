"""Damage, a worker that is not there or dies, and signals."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import FFMPEG, Clip, Line, Run

Clips = Callable[[str], Clip]
Frames = Callable[..., list[Line]]
PATIENCE = 60  # seconds until something that must happen has not


def _wait(is_done: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not is_done():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def _workers_of(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in children.read_text().split()] if children.exists() else []


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_file_that_is_cut_off_gives_the_frames_before_the_cut(
    clip: Clips, ffmpeg: Run, frames_of: Frames, tmp_path: Path
) -> None:
    whole = clip("plain").coded.read_bytes()
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole[: len(whole) // 2])
    frames = frames_of(cut)
    assert 0 < len(frames) < 15
    assert frames == frames_of(clip("plain").decoded)[: len(frames)]


def test_damaged_packets_are_errors_and_decoding_goes_on_with_the_next_key_frame(
    clip: Clips, ffmpeg: Run, frames_of: Frames, tmp_path: Path
) -> None:
    data = bytearray(clip("plain").coded.read_bytes())
    first = data.index(b"SSV1", data.index(b"\x1f\x43\xb6\x75"))  # the sequence header in the first key frame
    data[first + 200] ^= 0x40
    damaged = tmp_path / "damaged.mkv"
    damaged.write_bytes(data)
    done = ffmpeg("-i", damaged, "-map", "0:v", "-f", "null", "-")
    assert "CRC" in done.stderr
    assert "waiting for a key frame" in done.stderr
    whole = frames_of(clip("plain").decoded)
    assert [line.md5 for line in frames_of(damaged)] == [line.md5 for line in whole[6:]]


@pytest.mark.parametrize("amount", ["50", "400", "3000"])
def test_noise_in_packets_never_hangs_or_crashes(amount: str, clip: Clips, ffmpeg: Run, tmp_path: Path) -> None:
    noisy = tmp_path / "noisy.mkv"
    ffmpeg("-i", clip("plain").coded, "-map", "0:v", "-c", "copy", "-bsf:v", f"noise=amount={amount}", noisy)
    stderr = ffmpeg("-i", noisy, "-f", "null", "-", code=(0, 69)).stderr
    assert "Traceback" not in stderr
    assert "internal error" not in stderr


@pytest.mark.parametrize("worker", ["/nonexistent/ssvc", "/bin/true", "/bin/cat"])
def test_a_worker_that_cannot_work_is_one_clear_line(worker: str, clip: Clips, ffmpeg: Run, tmp_path: Path) -> None:
    said = f"cannot start {worker}" if "nonexistent" in worker else "ssvc worker: "
    decoding = ffmpeg("-i", clip("plain").coded, "-map", "0:v", "-f", "null", "-", worker=worker, code=69)
    assert decoding.stderr.count(said) == 1
    encoding = ffmpeg("-i", clip("plain").source, "-an", "-c:v", "ssvc", tmp_path / "a.mkv", worker=worker, code=1)
    assert encoding.stderr.count(said) == 1


@pytest.fixture
def endless(clip: Clips, environment: dict[str, str], tmp_path: Path) -> Callable[..., subprocess.Popen[bytes]]:
    """Starts an ffmpeg that encodes for ever, in a process group of its own, and waits for its first packets."""

    def start() -> subprocess.Popen[bytes]:
        out = tmp_path / "out.mkv"
        inputs = ["-stream_loop", "-1", "-i", str(clip("plain").source)]
        how = ["-map", "0", "-c:v", "ssvc", "-preset", "fast", "-g", "6", "-c:a", "copy", "-flush_packets", "1"]
        command = [FFMPEG, "-nostdin", "-v", "error", *inputs, *how, "-cluster_time_limit", "100", str(out)]
        process = subprocess.Popen(command, env=environment, start_new_session=True)
        _wait(lambda: out.exists() and out.stat().st_size > 30_000, "no packet was written")
        return process

    return start


def test_ctrl_c_leaves_a_playable_file(
    endless: Callable[..., subprocess.Popen[bytes]], ffmpeg: Run, ssvc: Run, frames_of: Frames, tmp_path: Path
) -> None:
    with endless() as process:
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(PATIENCE) == 255
    assert not ffmpeg("-i", tmp_path / "out.mkv", "-f", "null", "-").stderr
    ssvc("decode", tmp_path / "out.mkv", tmp_path / "decoded.mkv")
    assert frames_of(tmp_path / "decoded.mkv") == frames_of(tmp_path / "out.mkv")


def test_the_worker_does_not_outlive_ffmpeg(endless: Callable[..., subprocess.Popen[bytes]]) -> None:
    with endless() as process:
        workers = _workers_of(process.pid)
        assert len(workers) == 1
        process.kill()
    _wait(lambda: not any(map(_is_running, workers)), "the worker goes on")


def test_a_worker_that_dies_ends_the_encoding_with_an_error(
    endless: Callable[..., subprocess.Popen[bytes]],
) -> None:
    with endless() as process:
        os.kill(_workers_of(process.pid)[0], signal.SIGKILL)
        assert process.wait(PATIENCE) == 1
