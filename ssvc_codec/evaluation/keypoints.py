"""How well key points of people agree: PCK, and COCO's object keypoint similarity (OKS). 17 points in COCO's order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["COCO_SIGMAS", "N_KEYPOINTS", "correct_keypoints", "head_to_torso", "keypoint_similarity"]

N_KEYPOINTS = 17
_HEAD, _HIPS = slice(0, 5), slice(11, 13)  # nose, eyes, ears; hips
COCO_SIGMAS = (
    np.array([0.26, 0.25, 0.25, 0.35, 0.35, 0.79, 0.79, 0.72, 0.72, 0.62, 0.62, 1.07, 1.07, 0.87, 0.87, 0.89, 0.89])
    / 10
)

Points = NDArray[np.float64]  # (17, 2), x and y
Known = NDArray[np.bool_]  # (17,)


def head_to_torso(reference: Points, known: Known) -> float:
    """Distance from the head (mean of the known of nose, eyes, ears) to the hips (likewise); NaN where either lacks."""
    if not known[_HEAD].any() or not known[_HIPS].any():
        return float("nan")
    head, hips = reference[_HEAD][known[_HEAD]].mean(0), reference[_HIPS][known[_HIPS]].mean(0)
    return float(np.hypot(*(head - hips)))


def correct_keypoints(found: Points, reference: Points, known: Known, *, within: float) -> int:
    """How many of the known points were found within so many pixels."""
    distances = np.hypot(*(found - reference).T)
    return int(np.count_nonzero((distances <= within) & known))


def keypoint_similarity(found: Points, reference: Points, known: Known, *, area: float) -> float:
    """OKS of one person, 0..1: mean over the known points of exp(-d^2 / (2 area k^2)), k twice COCO's sigma.

    area: of the person, square pixels. Raises ValueError where no point is known.
    """
    if not known.any():
        raise ValueError("no known key point: OKS is not defined")
    squares = ((found - reference) ** 2).sum(1) / (2 * (area + np.spacing(1)) * (2 * COCO_SIGMAS) ** 2)
    return float(np.exp(-squares[known]).mean())
