"""Two published networks of different kinds, on photographs: they must agree with each other and with people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ffmpeg_bridge.flow_video import rgb_to_yuv420
from ssvc_codec.frame import Color, Frame, VideoFormat
from ssvc_codec.semantics.detection import Detection
from ssvc_codec.semantics.onnx_detector import OnnxDetector, open_onnx_detector

TEACHERS = ("deimv2_hgnetv2_femto_coco.onnx", "yolox_nano.onnx")
N_PICTURES = 10


@pytest.fixture(scope="module")
def shared(repository: Path) -> Path:
    folder = repository.parent / "shared"
    for needed in (folder / "data/eval/detection/instances.json", *(folder / "teachers" / name for name in TEACHERS)):
        if not needed.is_file():
            pytest.skip(f"{needed.name} is not beside the working tree")
    return folder


@pytest.fixture(scope="module")
def detectors(shared: Path) -> list[OnnxDetector]:
    return [open_onnx_detector(shared / "teachers" / name, threads=1, device="cpu") for name in TEACHERS]


@pytest.fixture(scope="module")
def pictures(shared: Path) -> list[tuple[Frame, list[list[float]]]]:
    """Photographs, and the boxes of persons in them."""
    data = json.loads((shared / "data/eval/detection/instances.json").read_text())
    people = {category["id"] for category in data["categories"] if category["name"] == "person"}
    chosen = [image for image in data["images"] if "person" in image["exhaustive_for"]][:N_PICTURES]
    return [(_frame(shared / "data/eval/detection/images" / i["file_name"]), _boxes(data, i, people)) for i in chosen]


def _frame(path: Path) -> Frame:
    with Image.open(path) as image:
        rgb = np.asarray(image.convert("RGB"))
    height, width, _ = rgb.shape
    return Frame(*rgb_to_yuv420(rgb), VideoFormat(width, height, color=Color(matrix=1)))


def _boxes(data: dict[str, Any], image: dict[str, Any], categories: set[int]) -> list[list[float]]:
    return [
        item["bbox"]
        for item in data["annotations"]
        if item["image_id"] == image["id"] and item["category_id"] in categories
    ]


def _corners(found: list[Detection]) -> NDArray[np.float64]:
    return np.array([(item.x, item.y, item.x + item.width, item.y + item.height) for item in found]).reshape(-1, 4)


@pytest.mark.parametrize("which", [0, 1])
def test_persons_are_found_where_people_marked_them(
    which: int, detectors: list[OnnxDetector], pictures: list[tuple[Frame, list[list[float]]]]
) -> None:
    is_found: list[bool] = []
    for number, (frame, boxes) in enumerate(pictures):
        corners = _corners([item for item in detectors[which].detect(frame, number) if item.class_id == 0])
        for x, y, width, height in boxes:
            near = np.abs((corners[:, :2] + corners[:, 2:]) / 2 - (x + width / 2, y + height / 2))
            # The marked boxes are loose: their centres are a sixth of their height off.
            is_found.append(bool((near <= (width / 4, height / 4)).all(1).any()))
    assert len(is_found) >= N_PICTURES
    assert np.mean(is_found) >= 0.8


def test_both_kinds_of_network_put_their_boxes_in_the_same_places(
    detectors: list[OnnxDetector], pictures: list[tuple[Frame, list[list[float]]]]
) -> None:
    overlaps: list[float] = []
    shifts: list[NDArray[np.float64]] = []
    for number, (frame, _) in enumerate(pictures):
        first, second = (
            _corners([item for item in detector.detect(frame, number) if item.class_id == 0]) for detector in detectors
        )
        for box in first:
            starts, ends = np.maximum(second[:, :2], box[:2]), np.minimum(second[:, 2:], box[2:])
            shared = (ends - starts).clip(0).prod(1)
            union = (box[2:] - box[:2]).prod() + (second[:, 2:] - second[:, :2]).prod(1) - shared
            if len(second) and (shared / union).max() > 0.5:
                best = int((shared / union).argmax())
                overlaps.append(float(shared[best] / union[best]))
                shifts.append((second[best] - box) / np.tile(box[2:] - box[:2], 2))
    assert len(overlaps) >= N_PICTURES
    assert np.mean(overlaps) > 0.75  # of two small networks; a shift of 5 % on both axes alone would give 0.82
    assert np.abs(np.median(shifts, axis=0)).max() < 0.03
