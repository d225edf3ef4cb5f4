"""Tiny data sets in the layouts of COCO, DAVIS 2016 and UCF-101, made here."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ffmpeg_bridge.bench.programs import ffmpeg_coders, run_program
from ssvc_codec.bitstream import COCO_80, ClassTable
from ssvc_codec.frame import Frame
from ssvc_codec.semantics.detection import Detection

Box = tuple[int, int, int, int]
BOXES: dict[int, Box] = {7: (8, 8, 40, 40), 9: (40, 16, 48, 40)}  # of a person in each picture of the COCO set
WIDTH, HEIGHT = 96, 64


@dataclass(frozen=True)
class Run:
    """How a run of the program ended."""

    code: int
    stdout: str
    stderr: str


class FixedDetector:
    """Finds a person where it was told; knows a picture by the brightness of its top left sample."""

    classes: ClassTable = COCO_80
    description = "told"

    def __init__(self, boxes: dict[int, Box]) -> None:
        self._boxes = boxes

    def detect(self, frame: Frame, number: int) -> list[Detection]:
        del number
        near = min(self._boxes, key=lambda image_id: abs(int(frame.y[0, 0]) - corner_level(image_id)))
        x, y, width, height = self._boxes[near]
        return [Detection(0, 0.9, x, y, width, height)]


def corner_level(image_id: int) -> int:
    return 16 + 10 * image_id


def scene(width: int, height: int, *, seed: int = 3) -> np.ndarray:
    """A smooth picture with some texture, (height, width, 3)."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width]
    waves = 110 + 60 * np.sin(columns / 9 + seed) * np.cos(rows / 11)
    return np.clip(waves[..., None] + rng.normal(0, 6, (height, width, 3)), 0, 255).astype(np.uint8)


def run_program_here(*arguments: str | Path) -> Run:
    stdout, stderr = io.StringIO(), io.StringIO()
    run = import_module("ssvc_codec.cli.main").run
    with redirect_stdout(stdout), redirect_stderr(stderr):
        code = run([str(argument) for argument in arguments])
    return Run(code, stdout.getvalue(), stderr.getvalue())


@pytest.fixture
def ssvc() -> Callable[..., Run]:
    """Runs one command line in this process."""
    return run_program_here


@pytest.fixture(scope="session")
def x264() -> None:
    """Skips where ffmpeg cannot code H.264."""
    if "libx264" not in ffmpeg_coders("encoders"):
        pytest.skip("ffmpeg with libx264 is not installed")


@pytest.fixture(scope="session")
def detector() -> FixedDetector:
    return FixedDetector(BOXES)


@pytest.fixture(scope="session")
def coco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """annotations/instances_val2017.json, person_keypoints_val2017.json and val2017/."""
    folder = tmp_path_factory.mktemp("coco")
    (folder / "annotations").mkdir()
    (folder / "val2017").mkdir()
    images, annotations = [], []
    for image_id, box in BOXES.items():
        x, y, width, height = box
        rgb = scene(WIDTH, HEIGHT, seed=image_id)
        rgb[y : y + height, x : x + width] = (200, 60, 40)
        rgb[:4, :4] = (corner_level(image_id) - 16) * 255 // 219
        name = f"{image_id:012d}.jpg"
        Image.fromarray(rgb).save(folder / "val2017" / name, quality=98)
        images.append({"id": image_id, "file_name": name, "width": WIDTH, "height": HEIGHT})
        points = [[x + width * (k % 3 + 1) / 4, y + height * (k + 1) / 19, 2] for k in range(17)]
        annotations.append(
            {
                "id": image_id,
                "image_id": image_id,
                "category_id": 1,
                "bbox": list(box),
                "area": width * height,
                "iscrowd": 0,
                "keypoints": [value for point in points for value in point],
                "num_keypoints": 17,
            }
        )
    categories = [{"id": 1, "name": "person"}, {"id": 18, "name": "dog"}]
    content = json.dumps({"images": images, "annotations": annotations, "categories": categories})
    for kind in ("instances", "person_keypoints"):
        (folder / "annotations" / f"{kind}_val2017.json").write_text(content)
    return folder


@pytest.fixture(scope="session")
def davis(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """JPEGImages, Annotations and ImageSets with one sequence of 5 frames: a textured square that moves right."""
    folder = tmp_path_factory.mktemp("davis")
    for kind in ("JPEGImages", "Annotations"):
        (folder / kind / "480p" / "square").mkdir(parents=True)
    (folder / "ImageSets" / "480p").mkdir(parents=True)
    lines = []
    background, texture = scene(WIDTH, HEIGHT), 255 - scene(28, 28, seed=8)
    for number in range(5):
        rgb, mask = background.copy(), np.zeros((HEIGHT, WIDTH), np.uint8)
        place = (slice(16, 44), slice(12 + 3 * number, 40 + 3 * number))
        rgb[place], mask[place] = texture, 255
        paths = [f"/{kind}/480p/square/{number:05d}" for kind in ("JPEGImages", "Annotations")]
        Image.fromarray(rgb).save(folder / f"{paths[0][1:]}.jpg", quality=98)
        Image.fromarray(mask).save(folder / f"{paths[1][1:]}.png")
        lines.append(f"{paths[0]}.jpg {paths[1]}.png\n")
    (folder / "ImageSets" / "480p" / "val.txt").write_text("".join(lines))
    return folder


@pytest.fixture(scope="session")
def ucf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """UCF-101/CLASS/*.avi and ucfTrainTestlist/: texture that moves up or down (training mirrors left and right)."""
    if "ffv1" not in ffmpeg_coders("encoders"):
        pytest.skip("ffmpeg is not installed")
    folder = tmp_path_factory.mktemp("ucf")
    lists: dict[str, list[str]] = {"train": [], "test": []}
    for label, step in (("Up", -3), ("Down", 3)):
        (folder / "UCF-101" / label).mkdir(parents=True)
        for group in range(1, 4):
            tall = scene(WIDTH, HEIGHT + 32, seed=10 * group)
            raw = b"".join(tall[16 - step * n : 16 - step * n + HEIGHT].tobytes() for n in range(5))
            name = f"{label}/v_{label}_g{group:02d}_c01.avi"
            size = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{WIDTH}x{HEIGHT}", "-r", "25", "-i", "-"]
            codec = ["-c:v", "ffv1", "-pix_fmt", "yuv420p", str(folder / "UCF-101" / name)]
            run_program(["ffmpeg", "-v", "error", "-y", *size, *codec], stdin=raw)
            lists["test" if group == 3 else "train"].append(name)
    (folder / "ucfTrainTestlist").mkdir()
    (folder / "ucfTrainTestlist" / "classInd.txt").write_text("1 Up\n2 Down\n")
    numbered = [f"{name} {1 + name.startswith('Down')}\n" for name in lists["train"]]
    (folder / "ucfTrainTestlist" / "trainlist01.txt").write_text("".join(numbered))
    (folder / "ucfTrainTestlist" / "testlist01.txt").write_text("\n".join(lists["test"]) + "\n")
    return folder
