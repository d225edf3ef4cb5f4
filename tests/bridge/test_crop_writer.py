"""Objects as pictures and clips of their own."""

from __future__ import annotations

import csv
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ffmpeg_bridge import open_video
from ffmpeg_bridge.clip_writer import crop_frame, fit_frame
from ffmpeg_bridge.crop_writer import INDEX_COLUMNS, CropKind, CropWriter, track_folder
from ffmpeg_bridge.rgb import RgbConverter
from ssvc_codec.bitstream import COCO_80, NO_CLASSES, SceneObject
from ssvc_codec.errors import MediaError
from ssvc_codec.frame import Color, Frame, VideoFormat

FORMAT = VideoFormat(96, 64, color=Color(1, 1, 1))
PERSON = SceneObject(track_id=7, class_id=0, score=255, x=10, y=20, width=24, height=30)
LIGHT = SceneObject(track_id=3, class_id=9, score=51, x=70, y=1, width=26, height=11)

SAMPLE = (63, 102, 240)  # Y'CbCr


def _frame(number: int = 0, *, video: VideoFormat = FORMAT, yuv: tuple[int, int, int] = SAMPLE) -> Frame:
    shift = video.bit_depth - 8
    chroma_shape = (video.chroma_height, video.chroma_width)
    luma: Any = np.full((video.height, video.width), yuv[0] << shift, video.dtype)
    u: Any = np.full(chroma_shape, yuv[1] << shift, video.dtype)
    v: Any = np.full(chroma_shape, yuv[2] << shift, video.dtype)
    return Frame(luma, u, v, video, pts=number, duration=1, time_base=Fraction(1, 25))


def _marked(number: int, item: SceneObject, *, video: VideoFormat = FORMAT) -> Frame:
    """Black, with a white object."""
    frame = _frame(number, video=video, yuv=(16, 128, 128))
    frame.y[item.y : item.y + item.height, item.x : item.x + item.width] = 235 << (video.bit_depth - 8)
    return frame


def _names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def _index(folder: Path) -> list[dict[str, str]]:
    with (folder / "index.csv").open(newline="") as file:
        return list(csv.DictReader(file))


# R'G'B' of SAMPLE by the equations of H.273 with the matrix's Kr and Kb, rounded and limited.
@pytest.mark.parametrize(
    ("matrix", "full_range", "expected"),
    [(1, False, (255, 0, 0)), (6, False, (234, 0, 2)), (9, False, (243, 0, 0)), (1, True, (239, 16, 15))],
)
@pytest.mark.parametrize("bit_depth", [8, 10])
def test_matrix_and_range_decide_the_colour(
    matrix: int, full_range: bool, expected: tuple[int, int, int], bit_depth: int
) -> None:
    video = VideoFormat(96, 64, bit_depth=bit_depth, color=Color(matrix=matrix, full_range=full_range))
    pixel = RgbConverter().convert(_frame(video=video))[30, 40]
    assert np.abs(pixel.astype(int) - expected).max() <= 1  # swscale rounds twice


def test_pictures_show_the_box_and_nothing_else(tmp_path: Path) -> None:
    writer = CropWriter(tmp_path / "crops")
    writer.write(_marked(0, PERSON), [PERSON], COCO_80, number=123)
    writer.write(_marked(1, LIGHT), [LIGHT], COCO_80, number=124)
    assert not (tmp_path / "crops").exists()
    writer.close()
    assert _names(tmp_path / "crops") == ["index.csv", "person_7/000123.png", "traffic_light_3/000124.png"]
    for name, size in (("person_7/000123.png", (24, 30)), ("traffic_light_3/000124.png", (26, 11))):
        with Image.open(tmp_path / "crops" / name) as picture:
            assert picture.size == size
            assert np.asarray(picture).min() >= 250  # white to the edge


def test_the_index_has_a_line_for_each_object(tmp_path: Path) -> None:
    writer = CropWriter(tmp_path / "crops")
    writer.write(_frame(3), [PERSON, LIGHT], COCO_80, number=3)
    writer.close()
    rows = _index(tmp_path / "crops")
    assert tuple(rows[0]) == INDEX_COLUMNS
    assert list(rows[1].values()) == [
        *("traffic_light_3/000003.png", "0", "3", "3", "0.12", "3", "9", "traffic light", "0.2"),
        *("70", "1", "26", "11"),
    ]


def test_padding_ends_at_the_edge_of_the_picture(tmp_path: Path) -> None:
    writer = CropWriter(tmp_path / "crops", padding=0.5)
    writer.write(_marked(0, PERSON), [PERSON, LIGHT], COCO_80, number=0)
    writer.close()
    with Image.open(tmp_path / "crops" / "person_7" / "000000.png") as picture:
        assert picture.size == (10 + 24 + 12, 15 + 30 + 14)  # 12 fit not on the left, 15 not below
    with Image.open(tmp_path / "crops" / "traffic_light_3" / "000000.png") as picture:
        assert picture.size == (13 + 26, 1 + 11 + 6)  # Python rounds 5.5 to 6


def test_pictures_of_rotated_video_are_upright(tmp_path: Path) -> None:
    video = replace(FORMAT, rotation=90)
    frame = _marked(0, replace(PERSON, width=PERSON.width // 2), video=video)  # the left half is white
    writer = CropWriter(tmp_path / "crops")
    writer.write(frame, [PERSON], COCO_80, number=0)
    writer.close()
    with Image.open(tmp_path / "crops" / "person_7" / "000000.png") as picture:
        levels = np.asarray(picture)[..., 0]
    assert levels.shape == (24, 30)
    assert (levels[:2].max(), levels[-2:].min()) == (0, 255)  # counter-clockwise, left becomes the bottom


def _clip(path: Path) -> list[Frame]:
    with open_video(path) as reader:
        return list(reader)


@pytest.mark.parametrize("bit_depth", [8, 10])
def test_a_clip_keeps_the_size_of_its_first_box(tmp_path: Path, bit_depth: int) -> None:
    video = replace(FORMAT, bit_depth=bit_depth)
    boxes = [PERSON, replace(PERSON, width=12, height=20), replace(PERSON, width=48, height=30)]
    writer = CropWriter(tmp_path / "crops", kind="mp4")
    for number, item in enumerate(boxes, start=5):
        writer.write(_marked(number, item, video=video), [item], COCO_80, number=number)
    writer.close()
    frames = _clip(tmp_path / "crops" / "person_7" / "000005.mp4")
    assert [frame.pts_seconds for frame in frames] == [0.0, 0.04, 0.08]  # time starts anew
    assert {(frame.format.width, frame.format.height, frame.format.bit_depth) for frame in frames} == {
        (24, 30, bit_depth)
    }
    levels = [frame.y.astype(int) >> (bit_depth - 8) for frame in frames]
    white = [int((level > 125).sum()) for level in levels]
    assert white == pytest.approx([24 * 30, 12 * 20, 24 * 15], abs=26)  # one row or column, lossy coding
    assert levels[1][0, 0] < 40  # black beside what is smaller
    assert levels[1][15, 12] > 200
    assert [row["file_frame"] for row in _index(tmp_path / "crops")] == ["0", "1", "2"]


def test_a_track_that_comes_back_starts_another_clip(tmp_path: Path) -> None:
    writer = CropWriter(tmp_path / "crops", kind="mp4")
    for number, objects in enumerate([[PERSON], [PERSON, LIGHT], [], [PERSON]]):
        writer.write(_frame(number), objects, COCO_80, number=number)
    writer.close()
    assert _names(tmp_path / "crops") == [
        *("index.csv", "person_7/000000.mp4", "person_7/000003.mp4", "traffic_light_3/000001.mp4")
    ]
    assert [(row["file"], row["file_frame"]) for row in _index(tmp_path / "crops")] == [
        ("person_7/000000.mp4", "0"),
        ("person_7/000000.mp4", "1"),
        ("traffic_light_3/000001.mp4", "0"),
        ("person_7/000003.mp4", "0"),
    ]


@pytest.mark.parametrize("kind", ["png", "mp4"])
@pytest.mark.parametrize("box", [(0, 0, 1, 1), (96, 64, 1, 1), (94, 62, 3, 3), (0, 0, 97, 65), (5, 5, 1, 60)])
def test_boxes_of_any_size_and_place_are_cut_out(tmp_path: Path, kind: CropKind, box: tuple[int, ...]) -> None:
    video = replace(FORMAT, width=97, height=65)
    item = SceneObject(1, 0, 0, *box)
    writer = CropWriter(tmp_path / "crops", kind=kind)
    writer.write(_frame(video=video), [item], NO_CLASSES, number=0)
    writer.close()
    assert _names(tmp_path / "crops") == [f"class_0_1/000000.{kind}", "index.csv"]


def test_a_crop_keeps_its_samples() -> None:
    rng = np.random.default_rng(3)
    y, u, v = (rng.integers(0, 256, shape, np.uint8) for shape in ((64, 96), (32, 48), (32, 48)))
    frame = Frame(y, u, v, FORMAT)
    part = crop_frame(frame, x=11, y=21, width=10, height=8)
    assert np.array_equal(part.y, frame.y[20:30, 10:22])
    assert np.array_equal(part.u, frame.u[10:15, 5:11])
    whole = fit_frame(part, replace(FORMAT, width=20, height=10))
    assert np.array_equal(whole.y[:, 4:16], part.y)
    assert (whole.y[0, 0], whole.u[0, 0]) == (16, 128)


@pytest.mark.parametrize("kind", ["png", "mp4"])
def test_a_box_outside_leaves_nothing(tmp_path: Path, kind: CropKind) -> None:
    writer = CropWriter(tmp_path / "crops", kind=kind)
    writer.write(_frame(), [PERSON], COCO_80, number=0)
    with pytest.raises(ValueError, match="the box of object 3 leaves the picture"):
        writer.write(_frame(), [replace(LIGHT, width=27)], COCO_80, number=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("label", "folder"),
    [("person", "person_1"), ("../../etc/passwd", "_etc_passwd_1"), ("a\\b:c", "a_b_c_1"), ("Straße", "Straße_1")],
)
def test_names_of_classes_stay_inside_the_folder(label: str, folder: str) -> None:
    assert track_folder(label, 1) == folder


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(MediaError, match="the folder is not empty"):
        CropWriter(tmp_path)
    assert _names(tmp_path) == ["notes.txt"]


def test_overwriting_replaces_crops_and_keeps_other_files(tmp_path: Path) -> None:
    first = CropWriter(tmp_path / "crops")
    first.write(_frame(), [PERSON, LIGHT], COCO_80, number=0)
    first.close()
    (tmp_path / "crops" / "person_7" / "mine.png").write_bytes(b"mine")
    (tmp_path / "precious_1").mkdir()
    (tmp_path / "precious_1" / "000000.png").write_bytes(b"mine")
    with (tmp_path / "crops" / "index.csv").open("a") as index:
        index.write("../precious_1/000000.png,0\n")
    second = CropWriter(tmp_path / "crops", overwrite=True)
    second.write(_frame(), [PERSON], COCO_80, number=8)
    second.close()
    assert _names(tmp_path / "crops") == ["index.csv", "person_7/000008.png", "person_7/mine.png"]
    assert sorted(path.name for path in (tmp_path / "crops").iterdir()) == ["index.csv", "person_7"]
    assert (tmp_path / "precious_1" / "000000.png").read_bytes() == b"mine"


def test_what_was_given_up_leaves_nothing(tmp_path: Path) -> None:
    for kind in ("png", "mp4"):
        writer = CropWriter(tmp_path / "crops", kind=kind)
        writer.write(_frame(), [PERSON], COCO_80, number=0)
        writer.abort()
    assert list(tmp_path.iterdir()) == []
