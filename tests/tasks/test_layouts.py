"""Data sets in their usual layouts, and what is said where the layout is another."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ffmpeg_bridge.tasks.coco import read_coco
from ffmpeg_bridge.tasks.davis import read_davis
from ffmpeg_bridge.tasks.people import coco_people, folder_people
from ffmpeg_bridge.tasks.ucf101 import read_ucf101
from ssvc_codec.errors import MediaError


def test_coco_is_found_by_its_split(coco: Path) -> None:
    data = read_coco(coco, split="val2017")
    assert [image.name for image in data.images] == ["7", "9"]
    assert data.categories == {"person": 1, "dog": 18}
    clip = data.images[0].load()
    assert (clip.format.width, clip.format.height, len(clip.frames)) == (96, 64, 1)


def test_a_limit_reduces_pictures_and_annotations(coco: Path) -> None:
    data = read_coco(coco, limit=1)
    assert [item["image_id"] for item in data.content["annotations"]] == [7]


def test_people_come_with_their_key_points(coco: Path) -> None:
    item = coco_people(coco)[0]
    assert item.people is not None
    assert item.people[0].box == (8, 8, 40, 40)
    assert item.people[0].keypoints is not None
    assert item.people[0].keypoints.shape == (17, 3)


def test_davis_sequences_have_masks(davis: Path) -> None:
    (sequence,) = read_davis(davis, split="val", n_frames=3)
    assert (sequence.name, len(sequence.load().frames)) == ("square", 3)
    mask = sequence.truth(1, width=96, height=64)
    assert np.count_nonzero(mask) == 28 * 28
    assert mask[16:44, 15:43].all()


def test_ucf_takes_every_class_in_turn(ucf: Path) -> None:
    train = read_ucf101(ucf, part="train", limit=3)
    assert train.classes == ("Up", "Down")
    assert [clip.label for clip in train.clips] == [0, 1, 0]
    test = read_ucf101(ucf / "UCF-101", part="test", n_frames=2)
    assert [clip.name for clip in test.clips] == ["Up/v_Up_g03_c01.avi", "Down/v_Down_g03_c01.avi"]
    assert len(test.clips[0].load().frames) == 2


@pytest.mark.parametrize(
    ("read", "words"),
    [
        (read_coco, "neither annotations/instances_SPLIT.json"),
        (read_davis, "DAVIS has JPEGImages/480p"),
        (lambda folder: read_ucf101(folder, part="test"), "no classInd.txt"),
        (folder_people, "nor pictures or clips"),
    ],
)
def test_another_layout_is_told_with_what_was_looked_for(
    read: Callable[[Path], Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(MediaError, match=words):
        read(tmp_path)


def test_an_annotation_file_of_another_form_is_refused(tmp_path: Path) -> None:
    (tmp_path / "instances.json").write_text(json.dumps([1, 2]))
    with pytest.raises(MediaError, match="not in COCO's form"):
        read_coco(tmp_path)


def test_a_missing_picture_is_named(coco: Path, tmp_path: Path) -> None:
    shutil.copytree(coco, tmp_path / "copy")
    (tmp_path / "copy" / "val2017" / "000000000009.jpg").unlink()
    with pytest.raises(MediaError, match=r"000000000009\.jpg"):
        read_coco(tmp_path / "copy")


def test_a_missing_mask_is_named(davis: Path, tmp_path: Path) -> None:
    shutil.copytree(davis, tmp_path / "copy")
    (tmp_path / "copy" / "Annotations" / "480p" / "square" / "00002.png").unlink()
    with pytest.raises(MediaError, match=r"00002\.png"):
        read_davis(tmp_path / "copy")


def test_a_video_that_the_list_names_must_be_there(ucf: Path, tmp_path: Path) -> None:
    shutil.copytree(ucf / "ucfTrainTestlist", tmp_path / "ucfTrainTestlist")
    with pytest.raises(MediaError, match="no such video"):
        read_ucf101(tmp_path, part="test")
