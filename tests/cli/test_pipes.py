"""Streams into and out of ffmpeg, formats by name, and live pipes."""

from __future__ import annotations

import json
import os
import queue
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ffmpeg_bridge.reader import open_ssv, open_video

Run = Callable[..., Any]
PROGRAM = [sys.executable, "-c", "import ssvc_codec.cli as c; c.main()"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
FFMPEG = ["ffmpeg", "-v", "error", "-nostdin"]
N_FRAMES = 4
needs_ffmpeg = pytest.mark.skipif(
    shutil.which("ffmpeg") is None or shutil.which("ffprobe") is None, reason="ffmpeg or ffprobe is not installed"
)


@pytest.fixture(scope="module")
def coded(sound_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four frames of 64x64 with sound."""
    path = tmp_path_factory.mktemp("pipes") / "clip.ssv"
    run = import_module("ssvc_codec.cli.main").run
    assert run(["encode", str(sound_file), str(path), "--frames", f"{N_FRAMES}", "--detector", "none", "-q"]) == 0
    return path


def output_of(*command: str | Path, data: bytes | None = None) -> bytes:
    return subprocess.run([*map(str, command)], input=data, capture_output=True, check=True, env=ENVIRONMENT).stdout


def streams_of(path: Path) -> list[dict[str, Any]]:
    told = output_of("ffprobe", "-v", "error", "-count_packets", "-show_streams", "-of", "json", path)
    return json.loads(told)["streams"]


def frame_sums(*source: str | Path, data: bytes | None = None) -> list[bytes]:
    """md5 and time of each frame."""
    how = ["-map", "0:v:0", "-vsync", "passthrough", "-f", "framemd5", "-"]
    lines = output_of(*FFMPEG, *source, *how, data=data).splitlines()
    return [line for line in lines if not line.startswith(b"#")]


@needs_ffmpeg
def test_the_pipe_gives_ffmpeg_the_frames_times_and_sound_of_the_file(ssvc: Run, coded: Path, tmp_path: Path) -> None:
    assert ssvc("decode", coded, tmp_path / "file.mkv", "-q").code == 0
    piped = output_of(*PROGRAM, "decode", coded, "-", "-q")
    (tmp_path / "pipe.mkv").write_bytes(piped)
    sums = frame_sums("-i", tmp_path / "file.mkv")
    assert len(sums) == N_FRAMES
    assert frame_sums("-i", "-", data=piped) == sums
    video, sound = streams_of(tmp_path / "pipe.mkv")
    assert (video["codec_name"], video["pix_fmt"], sound["codec_name"]) == ("rawvideo", "yuv420p", "aac")


@needs_ffmpeg
@pytest.mark.parametrize("name", ["rawvideo", "y4m", "nut", "mkv", "mov", "mpegts"])
def test_a_format_is_chosen_by_name(ssvc: Run, coded: Path, tmp_path: Path, name: str) -> None:
    assert ssvc("decode", coded, tmp_path / "out", "-q", "-f", name).code == 0
    source = ["-i", tmp_path / "out"]
    if name == "rawvideo":
        assert (tmp_path / "out").stat().st_size == N_FRAMES * 64 * 64 * 3 // 2
        source = ["-f", "rawvideo", "-s", "64x64", *source]
    assert ssvc("decode", coded, tmp_path / "file.mkv", "-q").code == 0
    sums, expected = ([line.split()[-1] for line in frame_sums(*s)] for s in (source, ["-i", tmp_path / "file.mkv"]))
    assert len(sums) == N_FRAMES
    if name not in ("mov", "mpegts"):  # which are coded anew
        assert sums == expected


@needs_ffmpeg
def test_ten_bits_go_through_y4m_and_matroska(ssvc: Run, sound_file: Path, tmp_path: Path) -> None:
    deep = tmp_path / "deep.ssv"
    line = ["--bit-depth", "10", "--frames", "1", "--detector", "none", "-q"]
    assert ssvc("encode", sound_file, deep, *line).code == 0
    sums = []
    for name in ("y4m", "mkv"):
        assert ssvc("decode", deep, tmp_path / name, "-q", "-f", name).code == 0
        assert streams_of(tmp_path / name)[0]["pix_fmt"] == "yuv420p10le"
        sums.append(frame_sums("-i", tmp_path / name)[0].split()[-1])
    assert sums[0] == sums[1]


@needs_ffmpeg
def test_sound_that_webm_cannot_hold_is_converted_and_named(ssvc: Run, coded: Path, tmp_path: Path) -> None:
    done = ssvc("decode", coded, tmp_path / "out.webm")
    assert "stream 1 (audio, aac) becomes opus" in done.stderr
    video, sound = streams_of(tmp_path / "out.webm")
    assert (video["codec_name"], sound["codec_name"]) == ("vp9", "opus")
    assert ssvc("decode", coded, tmp_path / "copy.webm", "--acodec", "copy").code == 0
    assert [stream["codec_type"] for stream in streams_of(tmp_path / "copy.webm")] == ["video"]


def test_an_unknown_format_is_one_line(ssvc: Run, coded: Path, tmp_path: Path) -> None:
    done = ssvc("decode", coded, tmp_path / "out", "-q", "-f", "nothing")
    assert (done.code, done.stderr.count("\n")) == (1, 1)
    assert list(tmp_path.iterdir()) == []


@needs_ffmpeg
@pytest.mark.parametrize(
    ("format", "options"),
    [
        ("nut", ["-c:v", "rawvideo", "-c:a", "copy"]),
        ("matroska", ["-c:v", "ffv1", "-c:a", "copy"]),
        ("mpegts", ["-c:v", "mpeg2video", "-c:a", "copy"]),
        ("yuv4mpegpipe", ["-an"]),
    ],
)
def test_what_ffmpeg_pipes_is_read_with_its_sound(sound_file: Path, format: str, options: list[str]) -> None:
    command = [*FFMPEG, "-i", str(sound_file), *options, "-f", format, "-"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as ffmpeg:
        assert ffmpeg.stdout is not None
        with open_video(ffmpeg.stdout) as reader:
            n_frames = sum(1 for _ in reader)
            n_packets = len(reader.take_packets(None))
    assert n_frames == 25
    assert (n_packets > 0) == (format != "yuv4mpegpipe")


def test_raw_frames_need_a_size(ssvc: Run, tmp_path: Path) -> None:
    raw, out = tmp_path / "raw.yuv", tmp_path / "out.ssv"
    raw.write_bytes(np.random.default_rng(1).integers(16, 235, 3 * 48 * 32 * 3 // 2, np.uint8).tobytes())
    assert "give their WxH" in ssvc("encode", raw, out).stderr
    assert ssvc("encode", raw, out, "-s", "48by32").code == 2
    assert ssvc("encode", raw, out, "-s", "48x32", "--pix-fmt", "nope").code == 1
    assert ssvc("encode", tmp_path / "x.mkv", out, "-r", "25").code == 2
    assert ssvc("encode", raw, out, "-s", "48x32", "-r", "30000/1001", "--detector", "none", "-q").code == 0
    with open_ssv(str(out)) as reader:
        assert (reader.format.width, reader.format.height, str(reader.average_rate)) == (48, 32, "30000/1001")
        assert sum(1 for _ in reader) == 3


def test_a_reader_that_leaves_is_no_error(coded: Path) -> None:
    command = [*PROGRAM, "decode", str(coded), "-", "-q"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT) as decoder:
        assert decoder.stdout is not None
        assert decoder.stderr is not None
        decoder.stdout.read(1000)
        decoder.stdout.close()
        assert (decoder.wait(60), decoder.stderr.read()) == (141, b"")


def _read_packets(file: Any, times: queue.Queue[int | None]) -> None:
    with open_ssv(file) as reader:
        for packet in reader:
            times.put(packet.pts)
    times.put(None)


def test_packets_leave_a_live_socket_within_a_frame() -> None:
    noise = np.random.default_rng(2).integers(16, 235, (6, 64 * 48 * 3 // 2), np.uint8)  # else all fits into a probe
    ours, theirs = socket.socketpair()
    command = [*PROGRAM, "encode", "-", "-", "-q", "--detector", "none"]
    times: queue.Queue[int | None] = queue.Queue()
    with ours, subprocess.Popen(command, stdin=subprocess.PIPE, stdout=theirs.fileno(), env=ENVIRONMENT) as encoder:
        theirs.close()
        assert encoder.stdin is not None
        with ours.makefile("rb") as file:
            thread = threading.Thread(target=_read_packets, args=(file, times))
            thread.start()
            encoder.stdin.write(b"YUV4MPEG2 W64 H48 F25:1 Ip A1:1 C420jpeg\n")
            for number, samples in enumerate(noise):
                encoder.stdin.write(b"FRAME\n" + samples.tobytes())
                encoder.stdin.flush()
                if number:  # the next frame is written only after this one's packet came
                    assert times.get(timeout=120) == number - 1
            encoder.stdin.close()
            assert [times.get(timeout=120) for _ in range(2)] == [len(noise) - 1, None]
            thread.join()
        assert encoder.wait(60) == 0
