"""Average precision and speed of detectors, side by side on labelled pictures.

    python benchmarks/detection.py --data ../shared/data/eval/detection --out results/detection \
        --model parser=models/parser/parser.onnx --model teacher=FILE.onnx --model yolox_nano=FILE.onnx

instances.json is in COCO form. An image's `exhaustive_for` names the classes of which every instance is labelled: only
these are scored, so images are taken in groups with the same names, each evaluated by itself for its classes alone.
A class is averaged over its groups by instances; the last row is the mean over the classes. Milliseconds are the median
over pictures of the whole call (colour conversion, scaling, network, boxes) on one CPU thread at the
model's usual least score, models taking turns.
Writes detection.tsv and detection.md. Needs pycocotools.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from ffmpeg_bridge.reader import open_video
from ssvc_codec.frame import Frame
from ssvc_codec.semantics.detection import Detector
from ssvc_codec.semantics.onnx_detector import open_onnx_detector

LEAST_SCORE = 0.01  # average precision looks at every box, however doubtful
WARM_UP = 3  # calls before the clock starts


class Score(NamedTuple):
    """Of one class, or a mean."""

    name: str
    n_instances: int
    ap50: float
    ap: float  # mean over IoU 0.50:0.95


@dataclass
class Contestant:
    """A detector, and what it found so far."""

    name: str
    detector: Detector  # reports every box, however doubtful
    timed: Detector  # reports what it does unless told otherwise
    rows: list[dict[str, Any]] = field(default_factory=list)  # COCO results
    milliseconds: list[float] = field(default_factory=list)

    def see(self, frame: Frame, image_id: int, categories: Mapping[str, int], number: int) -> None:
        """Adds what is found on a picture."""
        found = self.detector.detect(frame, number)
        start = time.perf_counter()
        self.timed.detect(frame, number)
        self.milliseconds.append(1000 * (time.perf_counter() - start))
        for item in found or ():
            category = categories.get(self.detector.classes.name_of(item.class_id) or "")
            if category is not None:
                bbox = [item.x, item.y, item.width, item.height]
                self.rows.append({"image_id": image_id, "category_id": category, "bbox": bbox, "score": item.score})


def read_frame(path: Path) -> Frame:
    """A picture as a frame."""
    with open_video(str(path)) as video:
        return next(iter(video))


def groups_of(images: Sequence[Mapping[str, Any]]) -> dict[tuple[str, ...], list[int]]:
    """Image ids by the classes that are labelled completely in them."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for image in images:
        groups.setdefault(tuple(sorted(image["exhaustive_for"])), []).append(int(image["id"]))
    return groups


def evaluate(truth: COCO, rows: list[dict[str, Any]], image_ids: list[int], category: int) -> tuple[float, float]:
    """AP at IoU 0.5 and at 0.50:0.95 of one class on some images."""
    if not rows:
        return 0.0, 0.0
    with contextlib.redirect_stdout(io.StringIO()):
        results = truth.loadRes(rows)  # pyright: ignore[reportArgumentType] (its stub knows files alone)
        run = COCOeval(truth, results, "bbox")
        run.params.imgIds, run.params.catIds = image_ids, [category]
        run.evaluate()
        run.accumulate()
    precision = run.eval["precision"][:, :, 0, 0, -1]  # IoU, recall; all areas, 100 boxes
    thresholds = list(run.params.iouThrs)
    return float(precision[int(np.argmin(np.abs(np.array(thresholds) - 0.5)))].mean()), float(precision.mean())


def score(truth: COCO, rows: list[dict[str, Any]]) -> list[Score]:
    """Scores of every class that is labelled completely somewhere, then their mean."""
    images = truth.loadImgs(truth.getImgIds())
    names = {category["name"]: int(category["id"]) for category in truth.loadCats(truth.getCatIds())}
    parts: dict[str, list[Score]] = {}
    for classes, image_ids in groups_of(images).items():
        for name in classes:
            n = len(truth.getAnnIds(imgIds=image_ids, catIds=[names[name]]))
            if n:
                parts.setdefault(name, []).append(Score(name, n, *evaluate(truth, rows, image_ids, names[name])))
    scores = []
    for name, found in parts.items():
        n = sum(part.n_instances for part in found)
        ap50 = sum(part.ap50 * part.n_instances for part in found) / n
        scores.append(Score(name, n, ap50, sum(part.ap * part.n_instances for part in found) / n))
    n_all = sum(s.n_instances for s in scores)
    means = statistics.fmean(s.ap50 for s in scores), statistics.fmean(s.ap for s in scores)
    return [*scores, Score("mean", n_all, *means)]


def report(folder: Path, results: Mapping[str, list[Score]], contestants: Sequence[Contestant]) -> str:
    """Writes detection.tsv and detection.md; gives the Markdown."""
    times = {c.name: statistics.median(c.milliseconds) for c in contestants}
    lines = ["model\tclass\tinstances\tAP50\tAP50:95\tms_per_frame"]
    for name, scores in results.items():
        lines += [f"{name}\t{s.name}\t{s.n_instances}\t{s.ap50:.4f}\t{s.ap:.4f}\t{times[name]:.1f}" for s in scores]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "detection.tsv").write_text("\n".join(lines) + "\n")
    classes = [s.name for s in next(iter(results.values()))]
    table = ["| model | ms a frame | " + " | ".join(classes) + " | mean AP50:95 |", "|---" * (len(classes) + 3) + "|"]
    for name, scores in results.items():
        cells = " | ".join(f"{100 * s.ap50:.1f}" for s in scores)
        table.append(f"| {name} | {times[name]:.1f} | {cells} | {100 * scores[-1].ap:.1f} |")
    text = "AP50 in percent, one CPU thread.\n\n" + "\n".join(table) + "\n"
    (folder / "detection.md").write_text(text)
    return text


def main() -> int:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True, help="folder with images/ and instances.json")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", action="append", required=True, metavar="NAME=FILE.onnx")
    parser.add_argument("--images", type=int, default=0, help="only the first so many; 0: all")
    args = parser.parse_args()
    content = json.loads((args.data / "instances.json").read_text())
    if args.images:
        content["images"] = content["images"][: args.images]
        kept = {image["id"] for image in content["images"]}
        content["annotations"] = [a for a in content["annotations"] if a["image_id"] in kept]
    truth = COCO()
    truth.dataset = content | {"info": {}}
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
    categories = {category["name"]: int(category["id"]) for category in content["categories"]}
    contestants = []
    for text in args.model:
        name, _, path = text.partition("=")
        detector = open_onnx_detector(path, device="cpu", min_score=LEAST_SCORE, threads=1)
        contestants.append(Contestant(name, detector, open_onnx_detector(path, device="cpu", threads=1)))
    for number, image in enumerate(content["images"]):
        frame = read_frame(args.data / "images" / image["file_name"])
        for contestant in contestants:
            if number == 0:
                for _ in range(WARM_UP):
                    contestant.timed.detect(frame, 0)
            contestant.see(frame, int(image["id"]), categories, number)
    print(report(args.out, {c.name: score(truth, c.rows) for c in contestants}, contestants), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
