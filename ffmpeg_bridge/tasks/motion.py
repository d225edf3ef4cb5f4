"""Masks moved by flow, and flow between decoded pictures for codecs that have none in their stream."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from ssvc_codec.errors import MediaError
from ssvc_codec.frame import Frame

__all__ = ["dis_flow", "opencv", "warp"]


def opencv() -> ModuleType:
    """The module cv2. Raises MediaError where it is not installed."""
    try:
        return import_module("cv2")
    except ImportError as error:
        raise MediaError("OpenCV is not installed: `pip install ssvc[eval]` brings it") from error


def dis_flow(frame: Frame, before: Frame) -> NDArray[np.float32]:
    """DIS flow of luma (Kroeger et al. 2016, OpenCV's preset medium): (2, H, W), to where things were before."""
    cv2 = opencv()
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    planes = [np.ascontiguousarray(plane >> (f.format.bit_depth - 8), np.uint8) for plane, f in _lumas(frame, before)]
    return np.ascontiguousarray(np.moveaxis(search.calc(planes[0], planes[1], None), 2, 0), np.float32)


def _lumas(*frames: Frame) -> list[tuple[NDArray[np.integer], Frame]]:
    return [(frame.y, frame) for frame in frames]


def warp(mask: NDArray[np.float32], flow: NDArray[np.float32]) -> NDArray[np.float32]:
    """What a mask (H, W) in 0..1 of the frame before becomes: bilinear, its border going on outside.

    flow: (2, H, W), dx and dy in pixels to where things were before.
    """
    rows, columns = np.indices(mask.shape, dtype=np.float32)
    places = [rows + flow[1], columns + flow[0]]
    return np.asarray(map_coordinates(mask, places, order=1, mode="nearest", prefilter=False), np.float32)
