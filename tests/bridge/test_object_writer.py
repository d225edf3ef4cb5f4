"""Annotations in the formats that others read."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from ffmpeg_bridge.object_writer import AnnotationKind, FrameObjects, ObjectWriter, annotation_kind, class_label
from ssvc_codec.bitstream import COCO_80, NO_CLASSES, ClassTable, ClassTableId, SceneObject
from ssvc_codec.errors import MediaError
from ssvc_codec.frame import Frame, VideoFormat
from ssvc_codec.semantics.detections_file import DetectionsFile

FORMAT = VideoFormat(96, 64)
PERSON = SceneObject(track_id=5, class_id=0, score=255, x=2, y=4, width=16, height=58)
TOOTHBRUSH = SceneObject(track_id=7, class_id=79, score=51, x=66, y=30, width=20, height=10)


def _frames(classes: ClassTable = COCO_80) -> list[FrameObjects]:
    """Two objects, none, and one; 25 frames a second."""
    contents = [(PERSON, TOOTHBRUSH), (), (TOOTHBRUSH,)]
    return [FrameObjects(i, i, Fraction(1, 25), objects, classes, FORMAT) for i, objects in enumerate(contents)]


def _text(path: Path, frames: list[FrameObjects], kind: AnnotationKind | None = None) -> str:
    writer = ObjectWriter(path, kind=kind)
    for frame in frames:
        writer.write(frame)
    assert not path.exists()  # it has its name only when it is whole
    writer.close()
    return path.read_text()


def test_json_lines_have_one_object_a_frame(tmp_path: Path) -> None:
    lines = [json.loads(line) for line in _text(tmp_path / "a.jsonl", _frames()).splitlines()]
    assert lines[0] == {
        "frame": 0,
        "pts": 0,
        "time_seconds": 0.0,
        "objects": [
            {"track_id": 5, "class_id": 0, "class": "person", "score": 1.0, "bbox": [2, 4, 16, 58]},
            {"track_id": 7, "class_id": 79, "class": "toothbrush", "score": 0.2, "bbox": [66, 30, 20, 10]},
        ],
    }
    assert [(line["frame"], line["time_seconds"], len(line["objects"])) for line in lines] == [
        (0, 0.0, 2),
        (1, 0.04, 0),
        (2, 0.08, 1),
    ]


def test_coco_reads_the_data_set(tmp_path: Path) -> None:
    coco = pytest.importorskip("pycocotools.coco")
    _text(tmp_path / "a.json", _frames())
    data = coco.COCO(str(tmp_path / "a.json"))
    assert sorted(data.imgs) == [0, 1, 2]
    assert (data.imgs[2]["width"], data.imgs[2]["height"], data.imgs[2]["file_name"]) == (96, 64, "000002.png")
    assert [category["name"] for category in data.loadCats(data.getCatIds())] == [name for _, name in COCO_80.names]
    (found,) = data.loadAnns(data.getAnnIds(imgIds=[2]))
    assert (found["bbox"], found["area"], found["iscrowd"], found["track_id"]) == ([66, 30, 20, 10], 200, 0, 7)
    assert found["category_id"] == 90  # COCO counts to 90 and leaves out ten


def test_coco_takes_the_plain_list_as_results(tmp_path: Path) -> None:
    coco = pytest.importorskip("pycocotools.coco")
    _text(tmp_path / "a.json", _frames())
    _text(tmp_path / "results.json", _frames(), "coco-results")
    results = coco.COCO(str(tmp_path / "a.json")).loadRes(str(tmp_path / "results.json"))
    assert [(item["image_id"], item["category_id"], item["score"]) for item in results.anns.values()] == [
        (0, 1, 1.0),
        (0, 90, 0.2),
        (2, 90, 0.2),
    ]


@pytest.mark.parametrize("kind", ["coco", "coco-results"])
def test_what_was_written_can_be_read_as_detections(tmp_path: Path, kind: AnnotationKind) -> None:
    path = tmp_path / "a.json"
    _text(path, [replace(frame, frame=frame.frame + 1) for frame in _frames()], kind)
    source = DetectionsFile(path)
    luma, chroma = np.zeros((64, 96), np.uint8), np.zeros((32, 48), np.uint8)
    found = source.detect(Frame(luma, chroma, chroma, FORMAT), 1)
    assert found is not None
    assert [source.classes.name_of(item.class_id) for item in found] == ["person", "toothbrush"]
    assert [(item.x, item.y, item.width, item.height) for item in found] == [(2, 4, 16, 58), (66, 30, 20, 10)]


@pytest.mark.parametrize("kind", ["coco", "coco-results"])
def test_json_without_objects_is_whole(tmp_path: Path, kind: AnnotationKind) -> None:
    data = json.loads(_text(tmp_path / "a.json", _frames()[1:2], kind))
    assert (data if kind == "coco-results" else data["annotations"]) == []


def test_categories_of_an_inline_table_keep_their_ids(tmp_path: Path) -> None:
    table = ClassTable(ClassTableId.INLINE, ((0, "ball, red"), (79, "Straße")))
    data = json.loads(_text(tmp_path / "a.json", _frames(table)))
    assert data["categories"] == [{"id": 0, "name": "ball, red"}, {"id": 79, "name": "Straße"}]
    assert [item["category_id"] for item in data["annotations"]] == [0, 79, 79]


def test_classes_without_a_table_are_called_by_their_number(tmp_path: Path) -> None:
    data = json.loads(_text(tmp_path / "a.json", _frames(NO_CLASSES)))
    assert data["categories"] == [{"id": 0, "name": "class 0"}, {"id": 79, "name": "class 79"}]
    assert class_label(COCO_80, 79) == "toothbrush"


def test_motchallenge_counts_frames_and_pixels_from_one(tmp_path: Path) -> None:
    assert _text(tmp_path / "a.txt", _frames()) == (
        "1,5,3,5,16,58,1.0,0,-1\n1,7,67,31,20,10,0.2,79,-1\n3,7,67,31,20,10,0.2,79,-1\n"
    )


def test_csv_quotes_names(tmp_path: Path) -> None:
    table = ClassTable(ClassTableId.INLINE, ((0, 'ball, "red"'), (79, "b")))
    rows = list(csv.DictReader(io.StringIO(_text(tmp_path / "a.csv", _frames(table)))))
    assert [(row["frame"], row["track_id"], row["class"], row["height"]) for row in rows] == [
        ("0", "5", 'ball, "red"', "58"),
        ("0", "7", "b", "10"),
        ("2", "7", "b", "10"),
    ]


def test_the_suffix_chooses_the_kind() -> None:
    kinds = [annotation_kind(name) for name in ("a.jsonl", "a.JSON", "a.txt", "a.csv", "-")]
    assert kinds == ["jsonl", "coco", "mot", "csv", "jsonl"]
    with pytest.raises(MediaError, match=r"a\.xml: \.xml is no kind of annotation; \.jsonl, \.json, \.txt, \.csv are"):
        annotation_kind("a.xml")


def test_nothing_is_left_of_a_file_that_was_given_up(tmp_path: Path) -> None:
    writer = ObjectWriter(tmp_path / "a.csv")
    writer.write(_frames()[0])
    writer.abort()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"cannot write .*a\.csv: No such file"):
        ObjectWriter(tmp_path / "none" / "a.csv")
