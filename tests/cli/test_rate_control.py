"""Options of `ssvc encode` for rate and quality: what goes together, and what reaches the encoder."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ssvc_codec.gop.quality_control import QualityControl
from ssvc_codec.gop.rate_control import BitrateControl

if TYPE_CHECKING:
    from collections.abc import Callable

    from ssvc_codec.frame import Frame

    from .conftest import Fakes, Result

    Ssvc = Callable[..., Result]

rate_options = import_module("ssvc_codec.cli.rate_options")


@pytest.mark.parametrize(
    ("text", "bits"),
    [
        ("800000", 800_000),
        ("500k", 500_000),
        ("500K", 500_000),
        ("1.5M", 1_500_000),
        (".5M", 500_000),
        ("2G", 2e9),
        ("64Ki", 65_536),
        ("100kB", 800_000),
    ],
)
def test_rates_are_written_as_for_ffmpeg(text: str, bits: float) -> None:
    assert rate_options.parse_rate(text) == bits


@pytest.mark.parametrize(("text", "n_bytes"), [("10M", 10e6), ("700k", 700e3), ("5MB", 5e6), ("1Mi", 2**20), ("9", 9)])
def test_sizes_are_bytes(text: str, n_bytes: float) -> None:
    assert rate_options.parse_size(text) == n_bytes


@pytest.mark.parametrize("text", ["", "0", "-5k", "5m", "k", "1e6", "5 k", "nan", "1,5M", "500kbit"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no rate"):
        rate_options.parse_rate(text)
    with pytest.raises(ValueError, match="is no size"):
        rate_options.parse_size(text)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--crf 20 --bitrate 500k", "--crf and --bitrate exclude one another"),
        ("--bitrate 500k --target-size 1M", "--bitrate and --target-size exclude one another"),
        ("--target-psnr 38 --target-msssim 0.98", "--target-psnr and --target-msssim exclude one another"),
        ("--crf 20 --target-psnr 38", "--crf and --target-psnr exclude one another"),
        ("--maxrate 500k", "it limits --bitrate, which is not given"),
        ("--crf 20 --bufsize 500k", "it limits --bitrate, which is not given"),
        ("--bitrate 500k --maxrate 400k", "it is below --bitrate"),
        ("--two-pass", "it needs --bitrate"),
        ("--two-pass --target-psnr 38", "it needs --bitrate"),
        ("--bitrate fast", "'fast' is no rate above 0"),
        ("--target-size 0", "'0' is no size above 0"),
        ("--target-psnr 5", "--target-psnr"),
        ("--stats frames.txt", "a name that ends in .csv or .json"),
        ("--crf 64", "--crf"),
    ],
)
def test_what_does_not_go_together_is_wrong_usage(
    ssvc: Ssvc, fakes: Fakes, frames: list[Frame], tmp_path: Path, options: str, words: str
) -> None:
    fakes.inputs = list(frames)
    result = ssvc("encode", "in.mp4", tmp_path / "out.ssv", *options.split())
    assert (result.code, fakes.written, result.stderr.count("\n")) == (2, [], 1)
    assert words in result.stderr


@pytest.mark.parametrize("options", ["--bitrate 500k --two-pass", "--target-size 1M"])
def test_two_passes_cannot_read_standard_input(
    ssvc: Ssvc, fakes: Fakes, frames: list[Frame], tmp_path: Path, options: str
) -> None:
    fakes.inputs = list(frames)
    result = ssvc("encode", "-", tmp_path / "out.ssv", *options.split())
    assert (result.code, fakes.written) == (2, [])
    assert "two passes read the input twice, which needs a file" in result.stderr


def test_a_device_is_no_file_for_two_passes(ssvc: Ssvc, fakes: Fakes, tmp_path: Path) -> None:
    del fakes
    result = ssvc("encode", "/dev/null", tmp_path / "out.ssv", "--bitrate", "500k", "--two-pass")
    assert result.code == 2
    assert "which needs a file" in result.stderr


def test_without_options_it_is_crf_28(ssvc: Ssvc, fakes: Fakes, frames: list[Frame], tmp_path: Path) -> None:
    fakes.inputs = list(frames)
    result = ssvc("encode", "in.mp4", tmp_path / "out.ssv")
    assert (fakes.encoder_arguments["crf"], fakes.encoder_arguments["rate_control"]) == (28, None)
    assert "q=28.0" in result.stderr


def test_a_control_takes_the_place_of_crf() -> None:
    options = rate_options.RateOptions(None, 500_000.0, 600_000.0, None, False, None, None, None)
    options.check(source="-")
    control = options.open_control(None, seconds=None)
    assert isinstance(control, BitrateControl)
    assert control.bitrate == 500_000
    assert control.vbv is not None
    assert (control.vbv.rate, control.vbv.size) == (600_000, 600_000)
    assert options.fixed_crf is None


def test_ms_ssim_is_a_value_below_1_or_decibels(fakes: Fakes) -> None:
    from ssvc_codec.frame import VideoFormat

    del fakes
    for value in (0.98, 16.9897):
        options = rate_options.RateOptions(None, None, None, None, False, None, None, value)
        control = options.open_control(VideoFormat(width=320, height=180), seconds=None)
        assert isinstance(control, QualityControl)
        assert control.target == pytest.approx(16.9897, abs=1e-4)


def test_ms_ssim_of_small_pictures_is_wrong_usage(
    ssvc: Ssvc, fakes: Fakes, frames: list[Frame], tmp_path: Path
) -> None:
    fakes.inputs = list(frames)
    result = ssvc("encode", "in.mp4", tmp_path / "out.ssv", "--target-msssim", "0.98")
    assert (result.code, fakes.written) == (2, [])
    assert "MS-SSIM needs 161 samples on each side, the video is 4x2" in result.stderr
