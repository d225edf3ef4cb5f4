"""Metrics of tasks, against pycocotools, brute force and numbers worked out by hand."""

from __future__ import annotations

import contextlib
import io
import math
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from scipy.ndimage import binary_dilation

from ssvc_codec.evaluation.average_precision import box_average_precision
from ssvc_codec.evaluation.bd_rate import RatePoint
from ssvc_codec.evaluation.keypoints import correct_keypoints, head_to_torso, keypoint_similarity
from ssvc_codec.evaluation.mask_quality import boundary, boundary_f, jaccard
from ssvc_codec.evaluation.task_rate import pareto_front, rate_at_equal, task_bd_rate

CATEGORIES = [{"id": 1, "name": "person"}, {"id": 18, "name": "dog"}, {"id": 3, "name": "car"}]


def annotated_images(rng: np.random.Generator) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Twelve images with people and dogs, and detections that are some way off."""
    images = [{"id": k, "width": 200, "height": 200, "file_name": f"{k}.jpg"} for k in range(1, 13)]
    annotations, results = [], []
    for number in range(40):
        image_id, category = int(rng.integers(1, 13)), int(rng.choice([1, 18]))
        box = [*rng.uniform(0, 100, 2), *rng.uniform(20, 90, 2)]
        annotations.append(
            {"id": number + 1, "image_id": image_id, "category_id": category, "bbox": box, "iscrowd": 0}
            | {"area": box[2] * box[3]}
        )
        near = [value + float(rng.normal(0, 5)) for value in box]
        score = float(rng.uniform(0.1, 1))
        results.append({"image_id": image_id, "category_id": category, "bbox": near, "score": score})
    return {"images": images, "annotations": annotations, "categories": CATEGORIES, "info": {}}, results


def test_average_precision_is_what_cocoeval_reports() -> None:
    content, results = annotated_images(np.random.default_rng(4))
    truth: Any = COCO()
    truth.dataset = content
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        run = COCOeval(truth, truth.loadRes([dict(row) for row in results]), "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    found = box_average_precision(content, results, image_ids=range(1, 13))
    assert found == pytest.approx(tuple(run.stats[:2]))
    assert 0.1 < found.ap < 0.95


def test_only_classes_that_are_labelled_completely_are_scored() -> None:
    content, results = annotated_images(np.random.default_rng(4))
    for image in content["images"]:
        image["exhaustive_for"] = ["dog"]
    people_wrong = [row | {"score": 1.0, "bbox": [0, 0, 9, 9]} if row["category_id"] == 1 else row for row in results]
    ids = range(1, 13)
    assert box_average_precision(content, people_wrong, image_ids=ids) == box_average_precision(
        content, results, image_ids=ids
    )


def test_without_detections_average_precision_is_zero() -> None:
    content, _ = annotated_images(np.random.default_rng(4))
    assert box_average_precision(content, [], image_ids=[1, 2]) == (0, 0)


def test_similarity_of_key_points_is_that_of_pycocotools() -> None:
    rng = np.random.default_rng(1)
    reference = rng.uniform(0, 100, (17, 2))
    found = reference + rng.normal(0, 4, (17, 2))
    known = rng.random(17) < 0.7
    flat = np.column_stack((reference, np.where(known, 2, 0))).reshape(-1).tolist()
    person = {"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "ignore": 0, "num_keypoints": int(known.sum())}
    person |= {"bbox": [0, 0, 100, 100], "area": 5300.0, "keypoints": flat}
    guess = {"image_id": 1, "category_id": 1, "score": 1.0}
    guess |= {"keypoints": np.column_stack((found, np.ones(17))).reshape(-1).tolist()}
    truth: Any = COCO()
    truth.dataset = {"images": [{"id": 1}], "annotations": [person], "categories": CATEGORIES[:1], "info": {}}
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        run: Any = COCOeval(truth, truth.loadRes([guess]), "keypoints")
        run.evaluate()
    expected = run.ious[1, 1][0, 0]
    assert keypoint_similarity(found, reference, known, area=5300.0) == pytest.approx(expected, rel=1e-9)


def test_pck_counts_the_known_points_within_reach() -> None:
    reference, known = np.zeros((17, 2)), np.ones(17, np.bool_)
    found = reference.copy()
    found[0], found[1], found[2] = (3, 4), (3, 4.1), (30, 0)  # 5, more than 5, 30 away
    known[2] = False
    assert correct_keypoints(found, reference, known, within=5) == 15


def test_the_scale_of_a_person_goes_from_head_to_hips() -> None:
    reference, known = np.zeros((17, 2)), np.zeros(17, np.bool_)
    reference[0], reference[11], reference[12] = (10, 10), (8, 50), (12, 50)
    known[[0, 11, 12]] = True
    assert head_to_torso(reference, known) == 40
    known[0] = False
    assert math.isnan(head_to_torso(reference, known))


def test_overlap_of_masks_is_intersection_over_union() -> None:
    a, b = np.zeros((10, 10), np.bool_), np.zeros((10, 10), np.bool_)
    assert jaccard(a, b) == 1
    a[:, :4], b[:, 2:6] = True, True
    assert jaccard(a, b) == pytest.approx(20 / 60)


def test_contours_are_matched_as_by_dilation_with_a_disk() -> None:
    rng = np.random.default_rng(2)
    rows, columns = np.mgrid[0:120, 0:160]
    a = np.hypot(rows - 60, columns - 80) < 40 + 3 * np.sin(np.arctan2(rows - 60, columns - 80) * 9)
    b = np.hypot(rows - 62, columns - 79) < 39 + rng.normal(0, 0.2, rows.shape)
    radius = math.ceil(0.008 * 200)  # the diagonal is 200
    disk = np.hypot(*np.mgrid[-radius : radius + 1, -radius : radius + 1]) <= radius
    contours = boundary(a), boundary(b)
    precision = (contours[0] & np.asarray(binary_dilation(contours[1], disk), np.bool_)).sum() / contours[0].sum()
    recall = (contours[1] & np.asarray(binary_dilation(contours[0], disk), np.bool_)).sum() / contours[1].sum()
    assert boundary_f(a, b) == pytest.approx(2 * precision * recall / (precision + recall))
    assert 0.2 < boundary_f(a, b) < 0.99


def test_equal_contours_are_right_and_far_ones_are_wrong() -> None:
    mask, other = np.zeros((100, 100), np.bool_), np.zeros((100, 100), np.bool_)
    mask[10:20, 10:20], other[70:90, 70:90] = True, True
    empty = np.zeros_like(mask)
    assert (boundary_f(mask, mask), boundary_f(mask, other), boundary_f(empty, empty), boundary_f(mask, empty)) == (
        1,
        0,
        1,
        0,
    )


def test_half_the_bits_at_every_accuracy_are_minus_50_percent() -> None:
    anchor = [RatePoint(2**k, 0.5 + 0.1 * k) for k in range(4)]
    test = [RatePoint(2**k / 2, 0.5 + 0.1 * k) for k in range(4)]
    assert task_bd_rate(anchor, test).percent == pytest.approx(-50)
    assert task_bd_rate(anchor, [*test, RatePoint(100, 0.55)]).percent == pytest.approx(-50)  # beaten: left out


def test_the_front_keeps_what_nothing_beats() -> None:
    points = [RatePoint(4, 0.5), RatePoint(1, 0.4), RatePoint(2, 0.6), RatePoint(2, 0.3), RatePoint(8, 0.6)]
    assert pareto_front(points) == [RatePoint(1, 0.4), RatePoint(2, 0.6)]


def test_a_single_point_is_compared_at_equal_accuracy() -> None:
    anchor = [RatePoint(1, 0.4), RatePoint(4, 0.6)]
    assert rate_at_equal(anchor, RatePoint(1, 0.5)).percent == pytest.approx(-50)  # the anchor needs 2
    assert rate_at_equal(anchor, RatePoint(1, 0.7)) == (pytest.approx(-75), "<")
    assert rate_at_equal(anchor, RatePoint(0.5, 0.2)) == (pytest.approx(-50), ">")
