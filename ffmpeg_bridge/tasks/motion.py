"""Masks moved by flow, and flow between decoded pictures for codecs that have none in their stream."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from ssvc_codec.errors import MediaError
from ssvc_codec.frame import Frame

__all__ = ["bridge_flow", "dis_flow", "object_flow", "opencv", "warp"]

Flow = NDArray[np.float32]  # (2, H, W), dx and dy in pixels to where things were before
_COARSE = 4  # the object's own flow is found at this fraction of the size
_SPREADS = (6.0, 3.0, 1.5)  # deviations of the blurs that carry it outwards, in coarse pixels
_LEAST_WEIGHT = 0.02  # below which a wider blur decides
_ROUNDS = 3  # of fixed-point iteration


def opencv() -> ModuleType:
    """The module cv2. Raises MediaError where it is not installed."""
    try:
        return import_module("cv2")
    except ImportError as error:
        raise MediaError("OpenCV is not installed: `pip install ssvc[eval]` brings it") from error


def dis_flow(frame: Frame, before: Frame) -> Flow:
    """DIS flow of luma (Kroeger et al. 2016, OpenCV's preset medium): (2, H, W), to where things were before."""
    cv2 = opencv()
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    planes = [np.ascontiguousarray(f.y >> (f.format.bit_depth - 8), np.uint8) for f in (frame, before)]
    return np.ascontiguousarray(np.moveaxis(search.calc(planes[0], planes[1], None), 2, 0), np.float32)


def warp(mask: NDArray[np.float32], flow: Flow) -> NDArray[np.float32]:
    """What a mask (H, W) in 0..1 of the frame before becomes: bilinear, its border going on outside."""
    cv2 = opencv()
    rows, columns = np.indices(mask.shape, dtype=np.float32)
    return cv2.remap(mask, columns + flow[0], rows + flow[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def object_flow(mask: NDArray[np.float32], flow: Flow) -> Flow:
    """The flow inside an object, carried on outside of it: what moves its mask without leaving a trail.

    Behind a moving object the background that comes to sight has, rightly, its own flow, which leads to where the
    object was: a mask that is moved by it stays there. mask: (H, W), roughly where the object is now.
    """
    cv2 = opencv()
    height, width = mask.shape
    size = (max(width // _COARSE, 1), max(height // _COARSE, 1))
    small = (cv2.resize(mask, size, interpolation=cv2.INTER_AREA) >= 0.5).astype(np.uint8)
    inner = cv2.erode(small, np.ones((3, 3), np.uint8))
    inside = (inner if inner.any() else small).astype(np.float32)
    if not inside.any():
        return flow
    fields = []
    for component in flow:
        coarse = cv2.resize(component, size, interpolation=cv2.INTER_AREA)
        field = np.full_like(inside, (coarse * inside).sum() / inside.sum())
        for deviation in _SPREADS:
            weight = cv2.GaussianBlur(inside, (0, 0), deviation)
            local = cv2.GaussianBlur(coarse * inside, (0, 0), deviation) / (weight + 1e-6)
            trust = weight / (weight + _LEAST_WEIGHT)
            field = trust * local + (1 - trust) * field
        fields.append(cv2.resize(field, (width, height), interpolation=cv2.INTER_LINEAR))
    return np.stack(fields)


def bridge_flow(flows: Mapping[int, Flow], number: int) -> Flow | None:
    """Flow of a key frame, which has none in the stream, from its neighbours: things move on as before and after.

    The mean of the flow before, moved on by itself, and the flow after, moved back by itself, or what there is of them.
    """
    found = []
    if (before := flows.get(number - 1)) is not None:
        found.append(_along(before, 1))
    if (after := flows.get(number + 1)) is not None:
        found.append(_along(after, -1))
    return sum(found[1:], found[0]) / np.float32(len(found)) if found else None


def _along(flow: Flow, sign: int) -> Flow:
    """The field g with g(x) = flow(x + sign * g(x)): that of the frame after (1) or before (-1) if motion goes on."""
    field = flow
    for _ in range(_ROUNDS):
        field = np.stack([warp(component, sign * field) for component in flow])
    return field
