"""Writing decoded frames into conventional containers."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ffmpeg_bridge import VideoWriter, open_video
from ssvc_codec.errors import MediaError
from ssvc_codec.frame import Color, Frame, VideoFormat

Call = Callable[..., Any]


def _frames(video: VideoFormat, n_frames: int = 6) -> list[Frame]:
    rng = np.random.default_rng(7)
    top = 1 << video.bit_depth
    base = np.linspace(0, top - 1, video.width * video.height).reshape(video.height, video.width)
    chroma = (video.chroma_height, video.chroma_width)
    frames: list[Frame] = []
    for index in range(n_frames):
        y: Any = ((base + 9 * index) % top).astype(video.dtype)
        u, v = (rng.integers(top // 4, 3 * top // 4, chroma, video.dtype) for _ in range(2))
        frames.append(Frame(y, u, v, video, pts=index, duration=1, time_base=Fraction(1, 25)))
    return frames


def _write(sink: Any, frames: list[Frame], **options: Any) -> list[str]:
    with VideoWriter(
        sink, format=frames[0].format, time_base=Fraction(1, 25), average_rate=Fraction(25), threads=1, **options
    ) as writer:  # pyright: ignore[reportArgumentType]
        for frame in frames:
            writer.write(frame)
    return writer.notes


def _same(first: Frame, second: Frame) -> bool:
    return all(
        np.array_equal(a, b) for a, b in zip((first.y, first.u, first.v), (second.y, second.u, second.v), strict=True)
    )


@pytest.mark.parametrize("bit_depth", [8, 10])
@pytest.mark.parametrize("size", [(64, 48), (33, 17)])
@pytest.mark.parametrize("name", ["a.mkv", "a.nut", "a.y4m", "a.avi"])
def test_lossless_containers_give_the_same_samples(
    tmp_path: Path, name: str, size: tuple[int, int], bit_depth: int
) -> None:
    video = VideoFormat(*size, bit_depth=bit_depth)
    frames = _frames(video)
    _write(tmp_path / name, frames)
    with open_video(tmp_path / name) as reader:
        back = list(reader)
    assert len(back) == len(frames)
    assert all(map(_same, back, frames))
    assert [frame.pts_seconds for frame in back] == [frame.pts_seconds for frame in frames]


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "h264"), ("a.mov", "h264"), ("a.webm", "vp9"), ("a.mkv", "ffv1")]
)
def test_the_suffix_chooses_the_encoder(probe: Call, tmp_path: Path, name: str, codec: str) -> None:
    video = VideoFormat(64, 48, color=Color(1, 1, 1, chroma_location=3), sample_aspect_ratio=Fraction(4, 3))
    _write(tmp_path / name, _frames(video))
    stream = probe(tmp_path / name, "-count_packets")["streams"][0]
    assert (stream["codec_name"], stream["nb_read_packets"], stream["color_space"]) == (codec, "6", "bt709")
    if codec == "h264":
        assert (stream["sample_aspect_ratio"], stream["chroma_location"]) == ("4:3", "topleft")
        assert stream["avg_frame_rate"] == "25/1"


def test_an_encoder_and_its_options_may_be_named(probe: Call, tmp_path: Path) -> None:
    video = VideoFormat(64, 48)
    _write(tmp_path / "a.mkv", _frames(video), vcodec="libx264", vcodec_options={"crf": "30", "preset": "ultrafast"})
    assert probe(tmp_path / "a.mkv")["streams"][0]["codec_name"] == "h264"
    with pytest.raises(MediaError, match="no video encoder 'nonsense'"):
        _write(tmp_path / "b.mkv", _frames(video), vcodec="nonsense")
    with pytest.raises(MediaError, match="does not take ffv1"):
        _write(tmp_path / "b.webm", _frames(video), vcodec="ffv1")
    assert [path.name for path in tmp_path.iterdir()] == ["a.mkv"]


def test_a_sequence_of_pictures_is_written(tmp_path: Path) -> None:
    notes = _write(tmp_path / "%03d.png", _frames(VideoFormat(64, 48)))
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{index:03d}.png" for index in range(1, 7)]
    assert notes == ["converting yuv420p to rgb24 for png"]


@pytest.mark.parametrize("bit_depth", [8, 10])
def test_a_pipe_gets_matroska_that_ffmpeg_reads(tmp_path: Path, bit_depth: int) -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def close(self) -> None:
            pass

    frames, pipe = _frames(VideoFormat(64, 48, bit_depth=bit_depth)), Pipe()
    _write(pipe, frames)
    with open_video(io.BytesIO(pipe.getvalue())) as reader:
        assert all(map(_same, list(reader), frames))


def test_names_without_a_known_container_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="no container is known"):
        _write(tmp_path / "a.nonsense", _frames(VideoFormat(64, 48)))
    assert list(Path(tmp_path).iterdir()) == []


@pytest.mark.parametrize("name", ["a.avi", "a.y4m"])
def test_containers_of_one_rate_take_uneven_times_with_a_note(tmp_path: Path, name: str) -> None:
    frames = [replace(frame, pts=1000 + index**3) for index, frame in enumerate(_frames(VideoFormat(64, 48)))]
    notes = _write(tmp_path / name, frames)
    assert len(notes) == 1
    assert "one frame rate" in notes[0]
    with open_video(tmp_path / name) as reader:
        assert len(list(reader)) == len(frames)
