"""Pictures with people for the pose task: COCO's person_keypoints, or a folder of pictures and clips."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ffmpeg_bridge.tasks.coco import read_coco
from ffmpeg_bridge.tasks.pictures import PICTURES, VIDEOS, load_pictures, load_video
from ssvc_codec.errors import MediaError
from ssvc_codec.evaluation.clip import Clip
from ssvc_codec.evaluation.keypoints import N_KEYPOINTS

__all__ = ["PeopleItem", "Person", "coco_people", "folder_people", "is_coco_people"]


class Person(NamedTuple):
    """One person in one frame."""

    frame: int
    box: tuple[float, float, float, float]  # x, y, width, height in luma samples
    keypoints: NDArray[np.float64] | None = None  # (17, 3): x, y, COCO's visibility; None where nobody annotated them


@dataclass(frozen=True)
class PeopleItem:
    """A picture or a clip. people: None where a detector has to find them."""

    name: str
    read: Callable[[], Clip]
    people: tuple[Person, ...] | None = None

    def load(self) -> Clip:
        """The samples. Raises MediaError."""
        return self.read()


def is_coco_people(folder: Path) -> bool:
    """Whether a folder has COCO's key point annotations."""
    return (folder / "person_keypoints.json").is_file() or any((folder / "annotations").glob("person_keypoints_*.json"))


def coco_people(folder: Path, *, split: str = "", limit: int | None = None) -> list[PeopleItem]:
    """Pictures with annotated key points, the first `limit` of them. Raises MediaError."""
    data = read_coco(folder, split=split, kind="person_keypoints")
    people: dict[int, list[Person]] = {}
    for item in data.content["annotations"]:
        points = np.asarray(item.get("keypoints", ()), np.float64)
        if points.size == 3 * N_KEYPOINTS and points[2::3].any() and not item.get("iscrowd"):
            x, y, width, height = (float(value) for value in item["bbox"])
            person = Person(0, (x, y, width, height), points.reshape(N_KEYPOINTS, 3))
            people.setdefault(int(item["image_id"]), []).append(person)
    images = [image for image in data.images if image.image_id in people][:limit]
    if not images:
        raise MediaError(f"{data.path}: nobody has annotated key points")
    return [PeopleItem(image.name, image.load, tuple(people[image.image_id])) for image in images]


def folder_people(folder: Path, *, limit: int | None = None, n_frames: int = 12) -> list[PeopleItem]:
    """Pictures and clips of a folder, by name; n_frames of each clip. Raises MediaError for none."""
    if not folder.is_dir():
        raise MediaError(f"{folder}: no such folder")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in (*PICTURES, *VIDEOS))
    if not paths:
        raise MediaError(
            f"{folder}: neither COCO's annotations/person_keypoints_SPLIT.json nor pictures or clips are there"
        )
    return [PeopleItem(path.name, _reader(path, n_frames)) for path in paths[:limit]]


def _reader(path: Path, n_frames: int) -> Callable[[], Clip]:
    if path.suffix.lower() in VIDEOS:
        return lambda: load_video(path.name, path, n_frames=n_frames)
    return lambda: load_pictures(path.name, [path])
