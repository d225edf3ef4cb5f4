"""The commands on real files, with the installed model. ffmpeg is the oracle where it is installed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from ffmpeg_bridge.reader import open_ssv, open_video

if TYPE_CHECKING:
    from collections.abc import Callable

    from .conftest import Result

    Ssvc = Callable[..., Result]

N_FRAMES = 10
KEYINT = 5
OPTIONS = ["--crf", "15", "--keyint", f"{KEYINT}"]
SSVC = [sys.executable, "-c", "import ssvc_codec.cli as c; c.main()"]
needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


def run_here(*arguments: str | Path) -> None:
    assert import_module("ssvc_codec.cli.main").run([str(argument) for argument in arguments]) == 0


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten frames of 106x62 with sound: sizes that are no multiple of a cell."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    run_here("demo", path, "--seconds", "0.4", "--width", "106", "--height", "62", "-q")
    return path


@pytest.fixture(scope="module")
def coded(clip: Path) -> Path:
    path = clip.with_suffix(".ssv")
    run_here("encode", clip, path, *OPTIONS, "-q")
    return path


@pytest.fixture(scope="module")
def decoded(coded: Path) -> Path:
    path = coded.with_name("decoded.mkv")
    run_here("decode", coded, path, "-q")
    return path


def read_planes(path: Path) -> list[np.ndarray]:
    with open_video(str(path)) as reader:
        return [np.concatenate([frame.y.ravel(), frame.u.ravel(), frame.v.ravel()]) for frame in reader]


def read_bytes(path: Path) -> list[bytes]:
    return [planes.tobytes() for planes in read_planes(path)]


def read_times(path: Path) -> list[float | None]:
    with open_video(str(path)) as reader:
        return [frame.pts_seconds for frame in reader]


def ffmpeg(*arguments: str | Path) -> str:
    command = ["ffmpeg", "-v", "error", "-nostdin", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    mse = np.mean((a.astype(np.float64) - b) ** 2)
    return float(10 * np.log10(255**2 / max(mse, 1e-9)))


def test_frames_come_back(clip: Path, decoded: Path) -> None:
    before, after = read_planes(clip), read_planes(decoded)
    assert len(before) == len(after) == N_FRAMES
    # crf 15 on smooth shapes: far above 30 dB, while another picture of the clip would stay under 20
    assert min(psnr(a, b) for a, b in zip(before, after, strict=True)) > 30


def test_times_come_back(clip: Path, coded: Path, tmp_path: Path) -> None:
    run_here("decode", coded, tmp_path / "decoded.mp4", "-q")
    assert read_times(tmp_path / "decoded.mp4") == pytest.approx(read_times(clip), abs=1e-9)


@needs_ffmpeg
def test_sound_comes_back_bit_by_bit(clip: Path, decoded: Path) -> None:
    how = ["-map", "0:a", "-c", "copy", "-f", "streamhash", "-hash", "md5", "-"]
    before, after = (ffmpeg("-i", path, *how).split("=")[-1] for path in (clip, decoded))
    assert before == after


@needs_ffmpeg
def test_ffprobe_lists_the_stream(coded: Path) -> None:
    command = ["ffprobe", "-v", "error", "-select_streams", "v", "-show_streams", "-of", "json", str(coded)]
    stream = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)["streams"][0]
    assert stream["codec_tag_string"] == "SSV1"
    assert (stream["width"], stream["height"], stream["avg_frame_rate"]) == (106, 62, "25/1")


@needs_ffmpeg
def test_a_remux_by_ffmpeg_decodes_to_the_same_frames(coded: Path, decoded: Path, tmp_path: Path) -> None:
    remuxed = tmp_path / "remuxed.mkv"
    ffmpeg("-i", coded, "-map", "0", "-c", "copy", remuxed)
    run_here("decode", remuxed, tmp_path / "again.mkv", "-q")
    assert read_bytes(tmp_path / "again.mkv") == read_bytes(decoded)


def test_info_counts_frames_and_bytes(ssvc: Ssvc, coded: Path) -> None:
    result = ssvc("info", coded, "--json", "--frames")
    facts = json.loads(result.stdout)
    assert result.code == 0
    n_keys = N_FRAMES // KEYINT
    assert facts["frames"] == {"total": N_FRAMES, "I": n_keys, "P": N_FRAMES - n_keys, "damaged": 0}
    assert facts["gop_length"] == {"count": n_keys, "shortest": KEYINT, "mean": KEYINT, "longest": KEYINT}
    assert [stream["codec"] for stream in facts["streams"]] == ["aac"]
    with open_ssv(str(coded)) as reader:
        assert facts["bytes"]["total"] == sum(len(packet.data) for packet in reader)
    assert facts["bytes"]["total"] < facts["size_bytes"] == coded.stat().st_size


def test_a_start_and_a_number_of_frames_are_exact(coded: Path, decoded: Path, tmp_path: Path) -> None:
    run_here("decode", coded, tmp_path / "part.mkv", "--ss", "0.12", "--frames", "4", "-q")
    assert read_bytes(tmp_path / "part.mkv") == read_bytes(decoded)[3:7]


def test_a_pipe_gives_the_same_frames(clip: Path, decoded: Path, tmp_path: Path) -> None:
    piped = tmp_path / "piped.mkv"
    with (
        clip.open("rb") as source,
        subprocess.Popen([*SSVC, "encode", "-", "-", *OPTIONS], stdin=source, stdout=subprocess.PIPE) as encoder,
    ):
        decoder = subprocess.run([*SSVC, "decode", "-", piped], stdin=encoder.stdout, check=False)
    assert (encoder.returncode, decoder.returncode) == (0, 0)
    assert read_bytes(piped) == read_bytes(decoded)


def test_a_reader_that_goes_away_ends_the_encoder_quietly(clip: Path) -> None:
    command = [*SSVC, "encode", str(clip), "-", "-q"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as encoder:
        assert encoder.stdout is not None
        assert encoder.stderr is not None
        encoder.stdout.close()
        assert encoder.wait(120) == 141
        assert encoder.stderr.read() == b""


def test_a_flipped_byte_is_concealed_and_counted(ssvc: Ssvc, coded: Path, decoded: Path, tmp_path: Path) -> None:
    data = bytearray(coded.read_bytes())
    with open_ssv(str(coded)) as reader:
        packet = list(reader)[KEYINT - 2].data
    data[data.index(packet) + len(packet) // 2] ^= 0x10
    (tmp_path / "damaged.ssv").write_bytes(data)
    result = ssvc("decode", tmp_path / "damaged.ssv", tmp_path / "out.mkv", "-q")
    assert result.code == 3
    assert f"2 of {N_FRAMES} frames were damaged or refer to one that was" in result.stderr
    good = read_bytes(decoded)
    good[KEYINT - 2] = good[KEYINT - 1] = good[KEYINT - 3]  # the next one is a key frame
    assert read_bytes(tmp_path / "out.mkv") == good


def test_a_truncated_file_keeps_what_is_there(ssvc: Ssvc, coded: Path, decoded: Path, tmp_path: Path) -> None:
    data = coded.read_bytes()
    with open_ssv(str(coded)) as reader:
        packet = list(reader)[6].data
    (tmp_path / "short.ssv").write_bytes(data[: data.index(packet) + len(packet) // 2])
    result = ssvc("decode", tmp_path / "short.ssv", tmp_path / "out.mkv", "-q")
    assert result.code == 3
    assert read_bytes(tmp_path / "out.mkv")[:6] == read_bytes(decoded)[:6]


def write_text(path: Path) -> None:
    path.write_text("this is no video\n" * 100)


def write_nothing(path: Path) -> None:
    path.touch()


def write_noise(path: Path) -> None:
    path.write_bytes(np.random.default_rng(3).bytes(10000))


@pytest.mark.parametrize("command", ["encode", "decode"])
@pytest.mark.parametrize("make", [write_text, write_nothing, write_noise, None])
def test_what_is_no_video_is_one_error_and_leaves_nothing(
    ssvc: Ssvc, tmp_path: Path, command: str, make: Callable[[Path], None] | None
) -> None:
    source = tmp_path / "input.bin"
    if make is not None:
        make(source)
    result = ssvc(command, source, tmp_path / "out.mkv")
    assert result.code == 1
    assert result.stderr.startswith("ssvc: error: ")
    assert result.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == (["input.bin"] if make is not None else [])


def test_a_folder_that_is_not_there_is_one_error(ssvc: Ssvc, clip: Path, tmp_path: Path) -> None:
    result = ssvc("encode", clip, tmp_path / "none" / "out.ssv")
    assert (result.code, result.stderr.count("\n")) == (1, 1)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("command", ["encode", "decode"])
def test_a_full_disk_is_one_error(ssvc: Ssvc, clip: Path, coded: Path, command: str) -> None:
    result = ssvc(command, clip if command == "encode" else coded, "/dev/full", "-q")
    assert (result.code, result.stderr.count("\n")) == (1, 1)
    assert "No space left" in result.stderr


def test_weights_that_are_not_those_of_the_stream_are_refused(ssvc: Ssvc, coded: Path, tmp_path: Path) -> None:
    from ssvc_codec.weights import find_model

    other = tmp_path / "other"
    shutil.copytree(find_model("base"), other)
    weights = other / "weights.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.chmod(0o644)
    weights.write_bytes(data)
    result = ssvc("decode", coded, tmp_path / "out.mkv", "--model", other)
    assert (result.code, (tmp_path / "out.mkv").exists()) == (1, False)
    assert hashlib.sha256(data).hexdigest()[:16] in result.stderr


def test_an_unknown_model_is_an_error_that_names_those_there_are(ssvc: Ssvc, clip: Path, tmp_path: Path) -> None:
    result = ssvc("encode", clip, tmp_path / "out.ssv", "--model", "none")
    assert result.code == 1
    assert "base" in result.stderr


def test_an_interrupt_leaves_a_playable_file(tmp_path: Path) -> None:
    clip, coded = tmp_path / "long.mkv", tmp_path / "long.ssv"
    run_here("demo", clip, "--seconds", "40", "--width", "64", "--height", "48", "-q")
    with subprocess.Popen([*SSVC, "encode", clip, coded], stderr=subprocess.PIPE, text=True) as encoder:
        deadline = time.monotonic() + 120
        while not any(path.stat().st_size > 3000 for path in tmp_path.glob(".long.ssv*")):
            assert time.monotonic() < deadline, "nothing was written"
            assert encoder.poll() is None, "the clip is too short for this machine"
            time.sleep(0.02)
        os.kill(encoder.pid, signal.SIGINT)
        assert encoder.wait(60) == 130
    with open_ssv(str(coded)) as reader:
        n_packets = sum(1 for _ in reader)
        assert not reader.truncated
    assert 0 < n_packets < 1000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["long.mkv", "long.ssv"]


def test_the_example_runs(repository: Path) -> None:
    command = [sys.executable, repository / "examples" / "encode_numpy.py"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.splitlines()) == 8
