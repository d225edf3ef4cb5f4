"""Bit rates, sizes, qualities and statistics of real encodes, judged by ffprobe and by the decoder."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ffmpeg_bridge.reader import open_ssv, open_video
from ssvc_codec.encoder import Encoder
from ssvc_codec.evaluation.psnr import frame_psnr
from ssvc_codec.gop.rate_control import BitrateControl

if TYPE_CHECKING:
    from .conftest import Command

QUICK = ("--detector", "none", "--preset", "fast", "--keyint", "10")
SECONDS = 1.6


@pytest.fixture(scope="module")
def clip(make_clip: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty frames at 25 frames per second."""
    return make_clip(tmp_path_factory.mktemp("rate") / "clip.mp4", width=96, height=64, seconds=SECONDS)


def packet_sizes(path: Path) -> list[int]:
    """By ffprobe where it is installed."""
    if shutil.which("ffprobe") is None:
        pytest.skip("ffprobe is not installed")
    command = ["ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "packet=size", "-of", "json"]
    found = subprocess.run([*command, str(path)], capture_output=True, check=True)
    return [int(packet["size"]) for packet in json.loads(found.stdout)["packets"]]


@pytest.fixture(scope="module")
def at_crf_28(clip: Path) -> list[int]:
    """Sizes at constant quality: rates near these are possible."""
    from importlib import import_module

    path = clip.with_name("crf28.ssv")
    assert import_module("ssvc_codec.cli.main").run(["encode", str(clip), str(path), *QUICK, "-q"]) == 0
    return packet_sizes(path)


def test_a_bit_rate_is_met(ssvc: Command, clip: Path, at_crf_28: list[int], tmp_path: Path) -> None:
    wanted = 8 * sum(at_crf_28) / SECONDS * 1.5
    target = tmp_path / "out.ssv"
    assert ssvc("encode", clip, target, *QUICK, "--bitrate", f"{wanted / 1000:.3f}k").code == 0
    assert 8 * sum(packet_sizes(target)) / SECONDS == pytest.approx(wanted, rel=0.08)


def test_two_passes_meet_it_closer_and_a_size_too(
    ssvc: Command, clip: Path, at_crf_28: list[int], tmp_path: Path
) -> None:
    wanted = round(sum(at_crf_28) * 0.8)
    by_size, by_rate = tmp_path / "size.ssv", tmp_path / "rate.ssv"
    assert ssvc("encode", clip, by_size, *QUICK, "--target-size", str(wanted)).code == 0
    options = ("--bitrate", f"{8 * wanted / SECONDS:.0f}", "--two-pass")
    assert ssvc("encode", clip, by_rate, *QUICK, *options).code == 0
    assert sum(packet_sizes(by_size)) == pytest.approx(wanted, rel=0.03)
    assert sum(packet_sizes(by_rate)) == pytest.approx(wanted, rel=0.03)


def test_a_buffer_is_not_overdrawn(ssvc: Command, clip: Path, at_crf_28: list[int], tmp_path: Path) -> None:
    rate = 8 * sum(at_crf_28) / SECONDS
    target, stats = tmp_path / "out.ssv", tmp_path / "frames.csv"
    limits = ("--bitrate", f"{rate:.0f}", "--maxrate", f"{rate:.0f}", "--bufsize", f"{0.5 * rate:.0f}")
    assert ssvc("encode", clip, target, *QUICK, *limits, "--stats", stats).code == 0
    with stats.open(newline="") as file:
        reported = [int(row["vbv_bits"]) for row in csv.DictReader(file)]
    fullness = 0.9 * 0.5 * rate
    for n_bytes, expected in zip(packet_sizes(target), reported, strict=True):
        fullness -= 8 * n_bytes
        assert fullness >= 0
        assert expected == pytest.approx(fullness, abs=5)
        fullness = min(fullness + rate / 25, 0.5 * rate)


def test_a_psnr_is_met_as_the_decoder_shows_it(ssvc: Command, clip: Path, tmp_path: Path) -> None:
    target, stats, decoded = tmp_path / "out.ssv", tmp_path / "frames.json", tmp_path / "out.mkv"
    wanted = 36.0
    assert ssvc("encode", clip, target, *QUICK, "--target-psnr", wanted, "--psnr", "--stats", stats).code == 0
    assert ssvc("decode", target, decoded).code == 0
    with open_video(str(clip)) as source, open_video(str(decoded)) as result:
        shown = [frame_psnr(a, b) for a, b in zip(source, result, strict=True)]
    contents = json.loads(stats.read_text())
    assert np.mean([psnr.yuv611 for psnr in shown]) == pytest.approx(wanted, abs=0.3)
    assert [row["psnr_y"] for row in contents["frames"]] == pytest.approx([psnr.y for psnr in shown], abs=1e-3)
    assert contents["totals"]["psnr_611"] == pytest.approx(np.mean([psnr.yuv611 for psnr in shown]), abs=1e-3)


@pytest.mark.parametrize("suffix", ["csv", "json"])
def test_statistics_add_up_to_the_packets_of_the_file(ssvc: Command, clip: Path, tmp_path: Path, suffix: str) -> None:
    target, stats = tmp_path / "out.ssv", tmp_path / f"frames.{suffix}"
    assert ssvc("encode", clip, target, *QUICK, "--frames", "14", "--stats", stats).code == 0
    rows: list[dict[str, Any]]
    if suffix == "csv":
        with stats.open(newline="") as file:
            rows = list(csv.DictReader(file))
    else:
        contents = json.loads(stats.read_text())
        rows = contents["frames"]
        assert contents["totals"]["bits"] == 8 * sum(packet_sizes(target))
        assert contents["totals"]["bitrate"] == pytest.approx(8 * sum(packet_sizes(target)) / (14 / 25), rel=1e-4)
    assert [int(row["bits"]) for row in rows] == [8 * n_bytes for n_bytes in packet_sizes(target)]
    assert [row["type"] for row in rows] == ["I" if i % 10 == 0 else "P" for i in range(14)]
    for row in rows:
        header, motion, residual, objects, background, bits = (
            int(row[f"{name}bits"]) for name in ("header_", "motion_", "residual_", "object_", "background_", "")
        )
        assert header + motion + residual == header + objects + background == bits
    with open_ssv(str(target)) as reader:
        times = [float(packet.pts * packet.time_base) for packet in reader if packet.pts is not None]
    assert [float(row["time_seconds"]) for row in rows] == pytest.approx(times, abs=1e-3)


def test_statistics_change_nothing_of_what_is_coded(ssvc: Command, clip: Path, tmp_path: Path) -> None:
    plain, watched = tmp_path / "plain.ssv", tmp_path / "watched.ssv"
    options = (*QUICK, "--frames", "12")
    assert ssvc("encode", clip, plain, *options).code == 0
    assert ssvc("encode", clip, watched, *options, "--stats", tmp_path / "frames.csv", "--psnr").code == 0
    contents = []
    for path in (plain, watched):
        with open_ssv(str(path)) as reader:
            contents.append([packet.data for packet in reader])
    assert contents[0] == contents[1]


def test_psnr_of_key_frames_alone_is_measured_too(ssvc: Command, clip: Path, tmp_path: Path) -> None:
    stats = tmp_path / "frames.json"
    options = ("--detector", "none", "--preset", "fast", "--keyint", "1", "--frames", "2", "--psnr", "--stats", stats)
    assert ssvc("encode", clip, tmp_path / "out.ssv", *options).code == 0
    assert json.loads(stats.read_text())["totals"]["psnr_611"] > 25


def test_an_existing_statistics_file_is_not_overwritten(ssvc: Command, clip: Path, tmp_path: Path) -> None:
    stats = tmp_path / "frames.csv"
    stats.write_text("precious")
    result = ssvc("encode", clip, tmp_path / "out.ssv", *QUICK, "--stats", stats)
    assert (result.code, stats.read_text()) == (1, "precious")
    assert "the file exists" in result.error


def test_from_python_a_control_takes_the_place_of_crf(clip: Path) -> None:
    with open_video(str(clip), max_frames=6) as reader:
        control = BitrateControl(100_000)
        encoder = Encoder(reader.format, time_base=Fraction(1, 25), rate_control=control, preset="fast", keyint=3)
        sizes = [sum(len(packet.data) for packet in encoder.send(frame)) for frame in reader]
        assert control.n_bits == 8 * sum(sizes)
        with pytest.raises(ValueError, match="exclude one another"):
            Encoder(reader.format, time_base=Fraction(1, 25), rate_control=control, crf=20)
