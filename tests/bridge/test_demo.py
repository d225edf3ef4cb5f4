"""The clip that the package makes itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ffmpeg_bridge.demo import demo_frame, make_demo_clip
from ssvc_codec.errors import MediaError

Call = Callable[..., Any]


@pytest.mark.parametrize(("name", "sound"), [("demo.mp4", "aac"), ("demo.mkv", "flac")])
def test_the_demo_has_picture_and_sound_and_is_always_the_same(
    probe: Call, tmp_path: Path, name: str, sound: str
) -> None:
    for path in (tmp_path / name, tmp_path / ("again_" + name)):
        make_demo_clip(path, seconds=0.4, width=160, height=90)
    report = probe(tmp_path / name, "-count_packets")
    video, audio = report["streams"]
    assert (video["codec_name"], video["width"], video["nb_read_packets"]) == ("h264", 160, "10")
    assert (audio["codec_name"], audio["channels"]) == (sound, 2)
    assert (tmp_path / name).read_bytes() == (tmp_path / ("again_" + name)).read_bytes()


def test_the_demo_moves_and_has_contrast() -> None:
    first, later = (demo_frame(index, width=160, height=90).astype(int) for index in (0, 25))
    assert first.std() > 20
    assert abs(later - first).mean() > 5


def test_a_demo_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"name it \.mp4"):
        make_demo_clip(tmp_path / "demo.nonsense")
    with pytest.raises(ValueError, match="even"):
        make_demo_clip(tmp_path / "demo.mp4", width=161)
    assert list(tmp_path.iterdir()) == []
