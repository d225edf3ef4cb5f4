from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ssvc_codec.bitstream.class_table import COCO_80
from ssvc_codec.errors import MediaError
from ssvc_codec.frame import Frame, VideoFormat
from ssvc_codec.semantics.detection import Detection
from ssvc_codec.semantics.detections_file import COCO_CATEGORY_IDS, DetectionsFile
from ssvc_codec.semantics.open import open_detector

CHROMA = np.zeros((24, 32), np.uint8)
FRAME = Frame(np.zeros((48, 64), np.uint8), CHROMA, CHROMA, VideoFormat(64, 48))
PERSON = {"image_id": 0, "category_id": 1, "bbox": [1, 2, 3.5, 4], "score": 0.9}


def written(folder: Path, data: Any) -> Path:
    path = folder / "found.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


def data_set(**changes: Any) -> dict[str, Any]:
    return {
        "images": [{"id": 5, "file_name": "a.png"}, {"id": 9, "file_name": "b.png"}],
        "annotations": [{"image_id": 9, "category_id": 3, "bbox": [1, 2, 3, 4]}],
        "categories": [{"id": 3, "name": "car"}],
    } | changes


def test_category_ids_are_those_of_coco() -> None:
    # From COCO's instances_val2017.json.
    names = dict(zip(COCO_CATEGORY_IDS, (name for _, name in COCO_80.names), strict=True))
    assert (names[1], names[13], names[18], names[44], names[67]) == (
        "person",
        "stop sign",
        "dog",
        "bottle",
        "dining table",
    )
    assert names[90] == "toothbrush"


def test_results_are_looked_up_by_frame_best_first(tmp_path: Path) -> None:
    dog = {"image_id": 0, "category_id": 18, "bbox": [5, 6, 7, 8], "score": 0.95, "track_id": 4}
    detector = DetectionsFile(written(tmp_path, [PERSON, dog]))
    assert detector.classes == COCO_80
    assert detector.detect(FRAME, 0) == [Detection(16, 0.95, 5, 6, 7, 8, 4), Detection(0, 0.9, 1, 2, 3.5, 4)]


def test_frames_on_the_spacing_of_a_list_are_empty_and_others_unknown(tmp_path: Path) -> None:
    detector = DetectionsFile(written(tmp_path, [PERSON | {"image_id": number} for number in (0, 8, 24)]))
    assert detector.detect(FRAME, 16) == []
    assert detector.detect(FRAME, 32) == []
    assert detector.detect(FRAME, 4) is None
    assert detector.last_frame_number == 24


def test_a_list_of_one_frame_says_nothing_about_others(tmp_path: Path) -> None:
    detector = DetectionsFile(written(tmp_path, [PERSON]))
    assert detector.detect(FRAME, 1) is None
    assert DetectionsFile(written(tmp_path, [])).detect(FRAME, 0) is None


@pytest.mark.parametrize(
    ("images", "empty", "found"),
    [
        ([{"id": 5, "file_name": "a.png"}, {"id": 9, "file_name": "b.png"}], 0, 1),  # place in the list
        ([{"id": 5, "file_name": "f_0008.png"}, {"id": 9, "file_name": "f_0000.png"}], 8, 0),  # number
        ([{"id": 5, "file_name": "cam2_0001.png"}, {"id": 9, "file_name": "cam2_0009.png"}], 0, 8),  # from 1
        ([{"id": 5, "frame_id": 3}, {"id": 9, "frame_id": 6}], 3, 6),
    ],
)
def test_images_of_a_data_set_are_frames(tmp_path: Path, images: list[Any], empty: int, found: int) -> None:
    detector = DetectionsFile(written(tmp_path, data_set(images=images)))
    assert detector.detect(FRAME, empty) == []
    assert detector.detect(FRAME, found) == [Detection(2, 1.0, 1, 2, 3, 4)]
    assert detector.detect(FRAME, 99) is None


def test_other_categories_become_an_inline_class_table(tmp_path: Path) -> None:
    detector = DetectionsFile(written(tmp_path, data_set(categories=[{"id": 3, "name": "excavator"}])))
    assert detector.classes.names == ((3, "excavator"),)
    found = detector.detect(FRAME, 1)
    assert found is not None
    assert [item.class_id for item in found] == [3]


def test_crowds_are_left_out(tmp_path: Path) -> None:
    crowd = {"image_id": 9, "category_id": 3, "bbox": [1, 2, 3, 4], "iscrowd": 1}
    assert DetectionsFile(written(tmp_path, data_set(annotations=[crowd]))).detect(FRAME, 1) == []


def test_a_picture_of_another_size_is_refused(tmp_path: Path) -> None:
    images = [{"id": 9, "file_name": "a.png", "width": 640, "height": 480}]
    detector = DetectionsFile(written(tmp_path, data_set(images=images)))
    with pytest.raises(MediaError, match=r"frame 0 is 640x480, the video 64x48"):
        detector.detect(FRAME, 0)


def test_min_score_and_classes_choose(tmp_path: Path) -> None:
    entries = [PERSON, PERSON | {"score": 0.2}, PERSON | {"category_id": 3}]
    detector = open_detector("none", detections=written(tmp_path, entries), min_score=0.5, classes=["Person"])
    assert detector is not None
    assert detector.detect(FRAME, 0) == [Detection(0, 0.9, 1, 2, 3.5, 4)]


def test_an_unknown_class_is_refused_with_near_ones(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no class 'preson': did you mean person"):
        DetectionsFile(written(tmp_path, [PERSON]), classes=["preson"])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("{", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("\udcff".encode("utf-8", "surrogateescape").decode("latin-1"), "no JSON"),
        (7, "neither a list"),
        ([PERSON, 3], "entry 1: not an object"),
        ([{"image_id": 0, "category_id": 1, "bbox": [1, 2, 3, 4]}], "entry 0: no score"),
        ([PERSON | {"bbox": [1, 2, 3]}], "entry 0: bbox"),
        ([PERSON | {"bbox": [1, 2, 3, "4"]}], "entry 0: bbox"),
        ([PERSON | {"bbox": [1, 2, -3, 4]}], "entry 0: bbox is -3x4"),
        ([PERSON | {"bbox": [1, float("nan"), 3, 4]}], "entry 0: bbox"),
        ([PERSON | {"bbox": [10**400, 2, 3, 4]}], "entry 0: bbox"),
        ([PERSON | {"score": 1.5}], r"entry 0: score 1\.5"),
        ([PERSON | {"score": float("nan")}], "entry 0: score nan"),
        ([PERSON | {"image_id": -1}], "entry 0: image_id -1"),
        ([PERSON | {"image_id": 1.5}], r"entry 0: image_id 1\.5"),
        ([PERSON | {"category_id": 12}], "entry 0: unknown category_id 12"),
        ([PERSON | {"track_id": 2**32}], "entry 0: track_id"),
        ({"images": []}, "no list of annotations"),
        (data_set(images=[3]), r"images\[0\]: not an object"),
        (data_set(images=[{"id": 9}, {"id": 9}]), "id 9 is there twice"),
        (data_set(images=[{"id": 5}]), r"annotations\[0\]: image_id 9 is none of the images"),
        (data_set(annotations=[None]), r"annotations\[0\]: not an object"),
        (data_set(annotations=[{"image_id": []}]), r"annotations\[0\]: image_id \[\]"),
        (data_set(categories=[]), r"annotations\[0\]: unknown category_id 3"),
        (data_set(categories=[{"id": 3, "name": "x" * 65}]), "categories: name of class 3"),
        (data_set(categories=[{"id": n, "name": f"c{n}"} for n in range(257)]), "categories: 257 classes"),
    ],
)
def test_a_bad_file_is_refused_and_the_entry_named(tmp_path: Path, data: Any, message: str) -> None:
    with pytest.raises(MediaError, match=rf"found\.json: .*{message}"):
        DetectionsFile(written(tmp_path, data))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"none\.json: No such file"):
        DetectionsFile(tmp_path / "none.json")
