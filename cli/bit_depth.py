"""Samples of another depth, for `--bit-depth`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ssvc_codec.frame import Frame, Plane, VideoFormat

__all__ = ["with_bit_depth"]


def with_bit_depth(frame: Frame, format: VideoFormat) -> Frame:
    """The frame in the depth of format: 8 to 10 bits by two zero bits, 10 to 8 rounded to the nearest."""
    if frame.format.bit_depth == format.bit_depth:
        return frame
    convert = _to_10 if format.bit_depth == 10 else _to_8
    return replace(frame, y=convert(frame.y), u=convert(frame.u), v=convert(frame.v), format=format)


def _to_10(plane: Plane) -> Plane:
    return np.left_shift(plane, 2, dtype=np.uint16)


def _to_8(plane: Plane) -> Plane:
    return np.right_shift(np.minimum(plane + 2, 1023), 2).astype(np.uint8)
