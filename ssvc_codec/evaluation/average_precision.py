"""Average precision of boxes as COCO counts it (pycocotools)."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ssvc_codec.errors import MediaError

__all__ = ["AveragePrecision", "box_average_precision"]


class AveragePrecision(NamedTuple):
    """Means over the classes that have objects; 0..1."""

    ap: float  # over IoU 0.50:0.95
    ap50: float


def box_average_precision(
    content: Mapping[str, Any], results: Sequence[Mapping[str, Any]], *, image_ids: Collection[int]
) -> AveragePrecision:
    """Scores of detections on some images.

    content: an annotation file in COCO's form. results: image_id, category_id, bbox [x, y, width, height], score.
    Where images have `exhaustive_for`, the names of the classes that are labelled completely in them, they are scored
    for these alone: in groups of the same names, a class being the mean of its groups by instances. Raises
    MediaError where pycocotools is not installed.
    """
    try:
        from pycocotools.coco import COCO
    except ImportError as error:
        raise MediaError("pycocotools is not installed: `pip install ssvc[eval]` brings it") from error
    truth: Any = COCO()
    truth.dataset = dict(content)
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
    weighted: dict[int, list[tuple[int, float, float]]] = {}
    for categories, ids in _groups(content, image_ids).items():
        by_category = _evaluate(truth, results, ids, list(categories))
        for category, scores in by_category.items():
            n = len(truth.getAnnIds(imgIds=ids, catIds=[category], iscrowd=False))
            weighted.setdefault(category, []).append((n, *scores))
    means = [
        tuple(sum(part[0] * part[k] for part in parts) / sum(part[0] for part in parts) for k in (1, 2))
        for parts in weighted.values()
    ]
    if not means:
        return AveragePrecision(0.0, 0.0)
    return AveragePrecision(*(float(np.mean([mean[k] for mean in means])) for k in (0, 1)))


def _groups(content: Mapping[str, Any], image_ids: Collection[int]) -> dict[tuple[int, ...], list[int]]:
    """Images by the categories they are scored for."""
    ids = {str(category["name"]): int(category["id"]) for category in content["categories"]}
    groups: dict[tuple[int, ...], list[int]] = {}
    for image in content["images"]:
        if image["id"] in image_ids:
            names = image.get("exhaustive_for")
            categories = sorted(ids.values()) if names is None else sorted(ids[name] for name in names)
            groups.setdefault(tuple(categories), []).append(int(image["id"]))
    return groups


def _evaluate(
    truth: Any, results: Sequence[Mapping[str, Any]], image_ids: list[int], categories: list[int]
) -> dict[int, tuple[float, float]]:
    """AP over IoU 0.50:0.95 and at 0.50, by category, of those that have objects."""
    from pycocotools.cocoeval import COCOeval

    annotated = {truth.anns[i]["category_id"] for i in truth.getAnnIds(imgIds=image_ids, iscrowd=False)}
    present = [category for category in categories if category in annotated]
    rows = [dict(row) for row in results if row["image_id"] in image_ids and row["category_id"] in present]
    if not rows:
        return dict.fromkeys(present, (0.0, 0.0))
    with contextlib.redirect_stdout(io.StringIO()):
        run = COCOeval(truth, truth.loadRes(rows), "bbox")
        run.params.imgIds, run.params.catIds = sorted(image_ids), present
        run.evaluate()
        run.accumulate()
    precision = run.eval["precision"][:, :, :, 0, -1]  # IoU, recall, category; all areas, 100 boxes
    return {c: (float(precision[:, :, k].mean()), float(precision[0, :, k].mean())) for k, c in enumerate(present)}
