"""Networks of CompressAI, randomly initialised: there are no others to test with."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ffmpeg_bridge.bench.compressai_codec import (
    ARCHITECTURES,
    CompressaiCodec,
    load_network,
    planes_to_rgb,
    rgb_to_planes,
)
from ssvc_codec.errors import ModelError
from ssvc_codec.frame import Color, Frame, VideoFormat
from ssvc_codec.training.compressai_import import compressai

from .conftest import Bench, make_clip, read_table


def random_state(architecture: str) -> Mapping[str, torch.Tensor]:
    torch.manual_seed(3)
    return getattr(compressai.models, ARCHITECTURES[architecture])(8, 12).state_dict()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_what_is_decoded_from_the_strings_is_what_the_network_predicts(architecture: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(random_state(architecture), path)
    clip = make_clip(72, 66, 2)
    coded = CompressaiCodec(architecture, (path,), name="it").code(clip, 1, folder=tmp_path)
    assert coded.path is not None
    assert coded.n_bytes == coded.path.stat().st_size > 0
    network = load_network(architecture, path)
    for frame, original in zip(coded.frames, clip.frames, strict=True):
        picture = torch.from_numpy(np.pad(planes_to_rgb(original), [(0, 0), (0, 62), (0, 56)], mode="edge"))[:, :128]
        with torch.inference_mode():
            expected = network(picture[None, :, :, :128])["x_hat"].clamp(0, 1)[0, :, :66, :72]
        decoded = rgb_to_planes(expected.numpy(), like=original)
        difference = decoded.y.astype(int) - frame.y.astype(int)
        assert abs(difference).max() <= 1  # rounding at the edge of two samples


def test_a_training_checkpoint_of_several_devices_is_read_too(tmp_path: Path) -> None:
    state = random_state("mbt2018-mean")
    torch.save({"epoch": 4, "state_dict": {f"module.{name}": value for name, value in state.items()}}, tmp_path / "c")
    network = load_network("mbt2018-mean", tmp_path / "c")
    torch.testing.assert_close(network.g_a[0].weight, state["g_a.0.weight"])


@pytest.mark.parametrize("content", [b"", b"no weights at all"])
def test_a_file_without_weights_is_a_model_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.pth").write_bytes(content)
    with pytest.raises(ModelError, match=r"bad\.pth"):
        load_network("mbt2018-mean", tmp_path / "bad.pth")


@pytest.mark.parametrize("stored", [[1, 2], {"g_a.0.weight": 3}])
def test_another_content_is_a_model_error(tmp_path: Path, stored: Any) -> None:
    torch.save(stored, tmp_path / "bad.pth")
    with pytest.raises(ModelError, match="not the weights of mbt2018-mean"):
        load_network("mbt2018-mean", tmp_path / "bad.pth")


def test_weights_of_another_architecture_end_the_run_at_once(tmp_path: Path, source: Path, bench: Bench) -> None:
    torch.save(random_state("bmshj2018-factorized"), tmp_path / "other.pth")
    codecs = f"compressai:mbt2018-mean:{tmp_path / 'other.pth'}"
    result = bench(source, "--out", tmp_path / "out", "--codecs", codecs)
    assert result.code == 1
    assert "other.pth: not the weights of mbt2018-mean" in result.stderr
    assert not (tmp_path / "out").exists()


def test_files_are_the_quality_points_of_a_run(tmp_path: Path, source: Path, bench: Bench) -> None:
    files = [tmp_path / f"{number}.pth" for number in (1, 2)]
    for path in files:
        torch.save(random_state("bmshj2018-hyperprior"), path)
    codecs = f"compressai:bmshj2018_hyperprior:{files[0]},{files[1]}"
    result = bench(source, "--out", tmp_path / "out", "--codecs", codecs, "--frames", "1")
    rows = read_table(tmp_path / "out" / "results.tsv")
    assert result.code == 0
    assert [(row["codec"], row["point"]) for row in rows] == [
        ("bmshj2018-hyperprior", "1"),
        ("bmshj2018-hyperprior", "2"),
    ]
    assert (
        "Every frame by itself, whatever the GoP: bmshj2018-hyperprior." in (tmp_path / "out" / "report.md").read_text()
    )


def plain(y: int, u: int, v: int, *, matrix: int) -> Frame:
    format = VideoFormat(4, 2, color=Color(matrix=matrix))
    planes = np.full((2, 4), y, np.uint8), np.full((1, 2), u, np.uint8), np.full((1, 2), v, np.uint8)
    return Frame(*planes, format, pts=0, time_base=Fraction(1, 25))


@pytest.mark.parametrize(
    ("yuv", "matrix", "rgb"),
    [
        ((81, 90, 240), 6, (1, 0, 0)),  # red of BT.601 and of BT.709, as colour bars have it
        ((63, 102, 240), 1, (1, 0, 0)),
        ((81, 90, 240), 2, (1, 0, 0)),  # not told, and small: BT.601
        ((235, 128, 128), 1, (1, 1, 1)),
    ],
)
def test_colours_follow_the_matrix(yuv: tuple[int, int, int], matrix: int, rgb: tuple[int, int, int]) -> None:
    picture = planes_to_rgb(plain(*yuv, matrix=matrix))
    np.testing.assert_allclose(picture[:, 0, 0], rgb, atol=0.01)  # a step of 8-bit samples


def test_the_conversion_alone_loses_nothing() -> None:
    for frame in make_clip(37, 23, 2).frames:
        again = rgb_to_planes(planes_to_rgb(frame), like=frame)
        for before, after in zip((frame.y, frame.u, frame.v), (again.y, again.u, again.v), strict=True):
            np.testing.assert_array_equal(before, after)
