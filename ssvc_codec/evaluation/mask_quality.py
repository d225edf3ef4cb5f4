"""How well masks fit: region similarity J and contour accuracy F of DAVIS (Perazzi et al., CVPR 2016)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

__all__ = ["boundary", "boundary_f", "jaccard"]

Mask = NDArray[np.bool_]
TOLERANCE = 0.008  # of the picture's diagonal


def jaccard(mask: Mask, truth: Mask) -> float:
    """Intersection over union of two masks (H, W); 1 where both are empty."""
    union = np.count_nonzero(mask | truth)
    return np.count_nonzero(mask & truth) / union if union else 1.0


def boundary_f(mask: Mask, truth: Mask, *, tolerance: float = TOLERANCE) -> float:
    """F-measure of the contours of two masks (H, W).

    A contour pixel is right where the other contour is no further than tolerance x the diagonal, rounded up.
    """
    found, wanted = boundary(mask), boundary(truth)
    n_found, n_wanted = np.count_nonzero(found), np.count_nonzero(wanted)
    if not n_found or not n_wanted:
        return float(n_found == n_wanted)
    radius = math.ceil(tolerance * math.hypot(*mask.shape))
    precision = np.count_nonzero(found & _near(wanted, radius)) / n_found
    recall = np.count_nonzero(wanted & _near(found, radius)) / n_wanted
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def boundary(mask: Mask) -> Mask:
    """Pixels that differ from the one to the right, below, or below to the right (seg2bmap of DAVIS)."""
    padded = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
    right, below, diagonal = padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    return (mask ^ right) | (mask ^ below) | (mask ^ diagonal)


def _near(pixels: Mask, radius: int) -> Mask:
    distances = np.asarray(distance_transform_edt(~pixels))
    return distances <= radius
