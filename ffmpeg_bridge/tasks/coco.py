"""COCO's layout: annotations/instances_SPLIT.json beside a folder of pictures, or instances.json beside images/."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ffmpeg_bridge.tasks.pictures import load_pictures
from ssvc_codec.errors import MediaError
from ssvc_codec.evaluation.clip import Clip

__all__ = ["CocoImage", "CocoSet", "read_coco"]


@dataclass(frozen=True)
class CocoImage:
    """One picture of the set."""

    image_id: int
    path: Path

    @property
    def name(self) -> str:
        """Its id in the annotation file."""
        return str(self.image_id)

    def load(self) -> Clip:
        """A clip of one frame. Raises MediaError."""
        return load_pictures(self.name, [self.path])


@dataclass(frozen=True)
class CocoSet:
    """Pictures and what is known about them."""

    path: Path  # of the annotation file
    images: tuple[CocoImage, ...]
    content: Mapping[str, Any]  # of the annotation file, reduced to the images

    @property
    def categories(self) -> dict[str, int]:
        """Category ids by class name."""
        return {str(category["name"]): int(category["id"]) for category in self.content["categories"]}

    def annotations(self, image_id: int) -> list[dict[str, Any]]:
        """Those of one picture."""
        return [item for item in self.content["annotations"] if item["image_id"] == image_id]


def read_coco(folder: Path, *, split: str = "", kind: str = "instances", limit: int | None = None) -> CocoSet:
    """The first `limit` pictures of a data set, in the order of its annotation file.

    split: val2017, val2014, ..; may be left out where there is one file. kind: instances or person_keypoints.
    Raises MediaError for another layout, with what was looked for.
    """
    path = _annotation_file(folder, split=split, kind=kind)
    try:
        content = json.loads(path.read_text())
        images, annotations = content["images"], content["annotations"]
        names = {int(image["id"]): str(image["file_name"]) for image in images}
        _ = [(item["image_id"], item["category_id"], item["bbox"]) for item in annotations], content["categories"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MediaError(f"{path}: not in COCO's form, with images, annotations and categories: {error!r}") from error
    pictures = _picture_folder(folder, path, split=split or path.stem.removeprefix(f"{kind}_"))
    chosen = list(names)[:limit]
    if not chosen:
        raise MediaError(f"{path}: no images")
    found = tuple(CocoImage(image_id, pictures / names[image_id]) for image_id in chosen)
    for image in found:
        if not image.path.is_file():
            raise MediaError(f"{image.path}: no such picture, but {path.name} lists it")
    kept = set(chosen)
    reduced = dict(content) | {
        "info": content.get("info", {}),
        "images": [image for image in images if int(image["id"]) in kept],
        "annotations": [item for item in annotations if item["image_id"] in kept],
    }
    return CocoSet(path, found, reduced)


def _annotation_file(folder: Path, *, split: str, kind: str) -> Path:
    if not folder.is_dir():
        raise MediaError(f"{folder}: no such folder")
    if split:
        candidates = [folder / "annotations" / f"{kind}_{split}.json"]
    else:
        candidates = [folder / f"{kind}.json", *sorted((folder / "annotations").glob(f"{kind}_*.json"))]
    there = [path for path in candidates if path.is_file()]
    if len(there) == 1:
        return there[0]
    if there:
        raise MediaError(f"{folder}: there are {', '.join(path.name for path in there)}: choose with --split")
    wanted = split or "SPLIT"
    raise MediaError(
        f"{folder}: neither annotations/{kind}_{wanted}.json (with the pictures in {wanted}/) nor {kind}.json (with the"
        " pictures in images/) is there"
    )


def _picture_folder(folder: Path, annotations: Path, *, split: str) -> Path:
    near = folder / "images" if annotations.parent == folder else folder / split
    for candidate in (near, folder / "images" / split, folder / "images"):
        if candidate.is_dir():
            return candidate
    raise MediaError(f"{near}: the folder of the pictures is not there")
