from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from ffmpeg_bridge.reader import open_video

if TYPE_CHECKING:
    from collections.abc import Callable

    from .conftest import Result

    Ssvc = Callable[..., Result]

SMALL = ["--seconds", "0.4", "--width", "96", "--height", "64", "-q"]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_the_clip_has_moving_pictures_and_sound(ssvc: Ssvc, tmp_path: Path, suffix: str) -> None:
    clip = tmp_path / f"clip{suffix}"
    assert ssvc("demo", clip, *SMALL).code == 0
    with open_video(str(clip)) as reader:
        assert [stream.type for stream in reader.copies] == ["audio"]
        assert (reader.format.width, reader.format.height, reader.average_rate) == (96, 64, 25)
        frames = [frame.y.astype(int) for frame in reader]
    assert len(frames) == 10
    assert np.mean(np.abs(frames[0] - frames[-1])) > 5


def test_an_existing_file_is_not_overwritten(ssvc: Ssvc, tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"precious")
    assert ssvc("demo", clip, *SMALL).code == 1
    assert clip.read_bytes() == b"precious"


@pytest.mark.parametrize("name", ["clip.txt", "none/clip.mp4", "clip.wav"])
def test_where_no_clip_can_be_written_nothing_is_left(ssvc: Ssvc, tmp_path: Path, name: str) -> None:
    result = ssvc("demo", tmp_path / name, *SMALL)
    assert (result.code, result.stderr.count("\n"), list(tmp_path.iterdir())) == (1, 1, [])
    assert result.stderr.startswith("ssvc: error: cannot write")
