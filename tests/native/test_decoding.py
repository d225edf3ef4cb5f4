"""The patched ffmpeg decodes to what `ssvc decode` writes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import FFMPEG, FILTERS, Clip, Line, Run

Frames = Callable[..., list[Line]]
Clips = Callable[[str], Clip]


@pytest.mark.parametrize("kind", FILTERS)
def test_frames_and_times_are_those_of_ssvc_decode(kind: str, clip: Clips, frames_of: Frames) -> None:
    expected = frames_of(clip(kind).decoded)
    assert len(expected) in (12, 15)
    assert frames_of(clip(kind).coded) == expected


def _probe(path: Path) -> dict[str, object]:
    command = [FFMPEG.removesuffix("ffmpeg") + "ffprobe", "-v", "error", "-show_streams", "-of", "json", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)["streams"][0]


@pytest.mark.parametrize("kind", ["odd", "ten bits"])
def test_size_depth_colour_and_shape_are_known_before_a_worker_is_started(
    kind: str, clip: Clips, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSVC_WORKER", "/nonexistent")
    found, expected = _probe(clip(kind).coded), _probe(clip(kind).decoded)
    assert found["codec_name"] == "ssvc"
    for field in ("width", "height", "pix_fmt", "sample_aspect_ratio", "color_range", "color_space", "r_frame_rate"):
        assert found[field] == expected[field], field


@pytest.mark.parametrize("seconds", ["0.1", "0.21", "0.4"])
def test_a_seek_shows_the_frames_that_it_shows_in_the_decoded_file(
    seconds: str, clip: Clips, frames_of: Frames
) -> None:
    expected = frames_of(clip("plain").decoded, "-ss", seconds)
    assert expected
    assert frames_of(clip("plain").coded, "-ss", seconds) == expected


@pytest.mark.parametrize(
    ("native", "ours"),
    [
        (("-objects", "orange,#1"), ("--objects", "orange,#1")),
        (("-objects", "person", "-background", "1"), ("--objects", "person", "--background")),
        (("-exclude", "orange", "-fill", "black"), ("--exclude", "orange", "--fill", "black")),
        (("-flow_only", "1"), ("--flow-only",)),
    ],
)
def test_options_choose_the_parts_that_those_of_ssvc_decode_choose(
    native: tuple[str, ...], ours: tuple[str, ...], demo: Path, frames_of: Frames, ssvc: Run, tmp_path: Path
) -> None:
    ssvc("decode", demo, tmp_path / "part.mkv", *ours)
    expected = frames_of(tmp_path / "part.mkv")
    assert frames_of(demo, *native) == expected
    assert expected != frames_of(demo)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, ssvc: Run) -> Path:
    """A clip in which there are objects."""
    folder = tmp_path_factory.mktemp("demo")
    ssvc("demo", folder / "demo.mp4", "--seconds", "0.4", "--width", "160", "--height", "96")
    ssvc("encode", folder / "demo.mp4", folder / "demo.ssv")
    return folder / "demo.ssv"
