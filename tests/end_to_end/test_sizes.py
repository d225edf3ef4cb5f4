"""Picture sizes from one sample to the limit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from ffmpeg_bridge.reader import open_video
from ssvc_codec.bitstream import check_picture_size
from ssvc_codec.errors import LimitError

if TYPE_CHECKING:
    from .conftest import Command


def write_noise(path: Path, width: int, height: int, *, n_frames: int = 2) -> Path:
    rng = np.random.default_rng(width * 10007 + height)
    n_bytes = width * height + 2 * ((width + 1) // 2) * ((height + 1) // 2)
    frames = b"".join(b"FRAME\n" + rng.integers(90, 160, n_bytes, dtype=np.uint8).tobytes() for _ in range(n_frames))
    path.write_bytes(f"YUV4MPEG2 W{width} H{height} F25:1 Ip A1:1 C420jpeg\n".encode() + frames)
    return path


@pytest.mark.parametrize("name", ["out.mkv", "out.mp4"])
@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 37), (70, 1), (33, 31), (427, 3)])
def test_any_size_comes_back(ssvc: Command, tmp_path: Path, width: int, height: int, name: str) -> None:
    source = write_noise(tmp_path / "in.y4m", width, height)
    assert ssvc("encode", source, tmp_path / "a.ssv").code == 0
    result = ssvc("decode", tmp_path / "a.ssv", tmp_path / name)
    assert (result.code, result.stderr) == (0, "")
    with open_video(str(tmp_path / name)) as reader:
        assert [(frame.format.width, frame.format.height) for frame in reader] == [(width, height)] * 2


def test_a_picture_above_the_limit_is_one_error_before_anything_is_coded(ssvc: Command, tmp_path: Path) -> None:
    source = write_noise(tmp_path / "in.y4m", 16386, 2, n_frames=1)
    result = ssvc("encode", source, tmp_path / "a.ssv")
    assert (result.code, "limit" in result.error) == (1, True)
    assert [path.name for path in tmp_path.iterdir()] == ["in.y4m"]


@pytest.mark.parametrize(("width", "height"), [(8192, 4320), (4320, 8192), (16384, 2176), (1, 16384)])
def test_large_pictures_are_within_the_limit(width: int, height: int) -> None:
    check_picture_size(width=width, height=height)  # benchmarks/large_picture.py codes one


@pytest.mark.parametrize(("width", "height"), [(8193, 4352), (8192, 4353), (16385, 1), (1, 16385)])
def test_larger_ones_are_not(width: int, height: int) -> None:
    with pytest.raises(LimitError):
        check_picture_size(width=width, height=height)
