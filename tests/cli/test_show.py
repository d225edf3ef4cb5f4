"""`ssvc show` on a coded clip whose boxes are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from ffmpeg_bridge import SsvWriter, open_video
from ffmpeg_bridge.drawing import Overlay, Part, rotate_box, track_color
from ssvc_codec.bitstream import (
    COCO_80,
    SceneObject,
    SequenceHeader,
    build_codec_private,
    parse_packet,
)
from ssvc_codec.editing.scene import SceneReader
from ssvc_codec.encoder import Encoder
from ssvc_codec.frame import Color, Frame, VideoFormat
from ssvc_codec.packet import Packet

if TYPE_CHECKING:
    from .conftest import Result

    Ssvc = Callable[..., Result]

FORMAT = VideoFormat(96, 64, color=Color(1, 1, 1))
TIME_BASE = Fraction(1, 25)
KEYINT = 2
N_FRAMES = 5
SCALE = 7  # 96 pixels become at least 640
PERSON = SceneObject(track_id=5, class_id=0, score=255, x=40, y=10, width=20, height=40)
CAR = SceneObject(track_id=9, class_id=2, score=128, x=70, y=40, width=10, height=10)


def _objects(number: int) -> list[SceneObject]:
    """None in the first GoP; then a person and a car in groups of their own."""
    return [] if number < KEYINT else [PERSON, CAR]


def _grey(number: int = 0, video: VideoFormat = FORMAT) -> Frame:
    luma = np.full((video.height, video.width), 126, np.uint8)
    chroma = np.full((video.chroma_height, video.chroma_width), 128, np.uint8)
    return Frame(luma, chroma, chroma, video, pts=number, duration=1, time_base=TIME_BASE)


@pytest.fixture(scope="module")
def packets() -> list[Packet]:
    encoder = Encoder(FORMAT, time_base=TIME_BASE, crf=20, preset="fast", keyint=KEYINT, device="cpu")
    return [packet for number in range(N_FRAMES) for packet in encoder.send(_grey(number), objects=_objects(number))]


def _write(path: Path, packets: Sequence[Packet]) -> Path:
    header = parse_packet(packets[0].data).sequence_header
    assert header is not None
    private = build_codec_private(SequenceHeader(FORMAT, header.model, header.weights_hash, classes=COCO_80))
    with SsvWriter(
        path, format=FORMAT, time_base=TIME_BASE, average_rate=Fraction(25), codec_private=private
    ) as writer:
        for packet in packets:
            writer.write(packet)
    return path


@pytest.fixture
def stream(tmp_path: Path, packets: list[Packet]) -> Path:
    return _write(tmp_path / "in.ssv", packets)


def _has(picture: np.ndarray, color: tuple[int, int, int], *, within: int = 0) -> bool:
    return bool((np.abs(picture.astype(int) - color).max(axis=2) <= within).any())


def _load(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def test_a_picture_shows_the_first_key_frame_with_objects(ssvc: Ssvc, stream: Path, tmp_path: Path) -> None:
    result = ssvc("show", stream, tmp_path / "out.png")
    assert (result.code, result.stdout, result.stderr) == (0, "", "")
    picture = _load(tmp_path / "out.png")
    assert picture.shape[1] == 96 * SCALE
    assert picture.shape[0] > 64 * SCALE  # with the panel below
    assert _has(picture, track_color(5))
    assert _has(picture, track_color(9))


def test_boxes_and_groups_lie_where_the_header_says(ssvc: Ssvc, stream: Path, tmp_path: Path) -> None:
    ssvc("show", stream, tmp_path / "out.png")
    picture = _load(tmp_path / "out.png")[: 64 * SCALE]
    is_color = (picture == track_color(5)).all(axis=2)
    # The person's cells are column 1, x 32..63, rows 0 and 1: the border is one pixel of the clip, inside.
    for x, y in ((32, 60), (63, 60), (48, 63)):
        assert is_color[y * SCALE : (y + 1) * SCALE, x * SCALE : (x + 1) * SCALE].all()
    left, right, bottom = PERSON.x * SCALE, (PERSON.x + PERSON.width) * SCALE - 1, (10 + 40) * SCALE - 1
    assert is_color[30 * SCALE, [left, right]].all()
    assert is_color[bottom, left : right + 1].all()
    tinted, plain = picture[30 * SCALE, 36 * SCALE].astype(int), picture[10 * SCALE, 10 * SCALE].astype(int)
    assert np.ptp(plain) <= 4  # the background stays grey
    assert np.abs(tinted - (plain + 0.18 * (np.array(track_color(5)) - plain))).max() <= 8


def test_a_time_picks_the_frame(ssvc: Ssvc, stream: Path, tmp_path: Path) -> None:
    assert ssvc("show", stream, tmp_path / "none.png", "--at", "0.04").code == 0
    assert not _has(_load(tmp_path / "none.png"), track_color(5))
    assert ssvc("show", stream, tmp_path / "some.jpg", "--at", "0.12").code == 0
    assert _has(_load(tmp_path / "some.jpg"), track_color(5), within=40)


def test_a_video_has_every_frame_at_its_time(ssvc: Ssvc, stream: Path, tmp_path: Path) -> None:
    assert ssvc("show", stream, tmp_path / "out.mkv").code == 0
    with open_video(tmp_path / "out.mkv") as reader:
        frames = list(reader)
    assert [frame.pts_seconds for frame in frames] == [0.0, 0.04, 0.08, 0.12, 0.16]
    assert frames[0].format.color.matrix == 1
    red, green, blue = track_color(5)
    luma = 16 + 219 * (0.2126 * red + 0.7152 * green + 0.0722 * blue) / 255  # BT.709
    corners = [int(frame.y[63 * SCALE + 3, 48 * SCALE]) for frame in frames]
    assert corners[2:] == pytest.approx([luma] * 3, abs=1)
    assert corners[:2] == pytest.approx([126] * 2, abs=6)


def test_a_range_of_a_video(ssvc: Ssvc, stream: Path, tmp_path: Path) -> None:
    assert ssvc("show", stream, tmp_path / "out.mp4", "--ss", "0.04", "--frames", "2").code == 0
    with open_video(tmp_path / "out.mp4") as reader:
        assert len(list(reader)) == 2


def test_only_the_wanted_objects_are_drawn_and_decoded(ssvc: Ssvc, stream: Path, tmp_path: Path) -> None:
    options = ["--objects", "person", "--no-background"]
    assert ssvc("show", stream, tmp_path / "out.png", *options).code == 0
    picture = _load(tmp_path / "out.png")[: 64 * SCALE]
    assert _has(picture, track_color(5))
    assert not _has(picture, track_color(9))


def test_an_unknown_class_is_named(ssvc: Ssvc, stream: Path, tmp_path: Path) -> None:
    result = ssvc("show", stream, tmp_path / "out.png", "--objects", "persn")
    assert result.code == 1
    assert "persn" in result.stderr
    assert "did you mean person" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["in.ssv"]


def test_a_clip_without_objects_shows_its_first_frame(ssvc: Ssvc, packets: list[Packet], tmp_path: Path) -> None:
    stream = _write(tmp_path / "in.ssv", packets[:2])
    assert ssvc("show", stream, tmp_path / "out.png").code == 0
    assert _load(tmp_path / "out.png").shape[1] == 96 * SCALE


def test_damaged_frames_are_left_out_and_counted(ssvc: Ssvc, packets: list[Packet], tmp_path: Path) -> None:
    data = bytearray(packets[2].data)
    data[1] ^= 1
    damaged = Packet(bytes(data), 2, True, 1, TIME_BASE)
    stream = _write(tmp_path / "in.ssv", [*packets[:2], damaged, *packets[3:]])
    result = ssvc("show", stream, tmp_path / "out.mkv", "-q")
    assert result.code == 3
    assert "2 of 5 frames were damaged or refer to one that was, and are left out" in result.stderr
    with open_video(tmp_path / "out.mkv") as reader:
        assert [frame.pts_seconds for frame in reader] == [0.0, 0.04, 0.16]


def test_one_frame_and_a_range_exclude_each_other(ssvc: Ssvc, stream: Path, tmp_path: Path) -> None:
    result = ssvc("show", stream, tmp_path / "out.png", "--at", "0", "--frames", "2")
    assert (result.code, [path.name for path in tmp_path.iterdir()]) == (2, ["in.ssv"])


def test_parts_add_up_to_the_packet(packets: list[Packet]) -> None:
    parts_of = import_module("ssvc_codec.cli.painter").parts_of
    scenes = SceneReader()
    parts = [parts_of(scenes.read(packet.data)) for packet in packets[2:4]]
    for packet, listed in zip(packets[2:4], parts, strict=True):
        assert sum(part.n_bytes for part in listed) == len(packet.data)
    assert [part.label for part in parts[0]] == ["head", "background", "person #5", "car #9"]
    expected = [f"{name} {kind}" for name in ("background", "person #5", "car #9") for kind in ("motion", "residual")]
    assert [part.label for part in parts[1]] == ["head", *expected]


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_boxes_turn_with_the_picture(rotation: int) -> None:
    mask = np.zeros((64, 96), bool)
    mask[10:50, 40:60] = True
    x, y, width, height = rotate_box((40, 10, 20, 40), rotation, width=96, height=64)
    turned = np.rot90(mask, rotation // 90)
    assert turned[y : y + height, x : x + width].all()
    assert turned.sum() == width * height


def test_many_parts_fit_into_the_panel() -> None:
    overlay = Overlay(FORMAT)
    parts = [Part(f"part number {number}", 10 + number, number) for number in range(300)]
    groups = np.zeros((2, 3), np.uint16)
    drawing = overlay.draw(_grey(), [], groups, classes=COCO_80, title="frame 0", parts=parts)
    assert drawing.shape == (overlay.height, overlay.width, 3)
    assert drawing.shape[0] % 2 == drawing.shape[1] % 2 == 0
