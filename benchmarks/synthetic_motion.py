"""Clips whose motion is known: an affine background and a shape that moves across it.

Textures are noise at several scales with shapes drawn on top. Both layers are sampled from canvases larger than the
picture, with a cubic filter, so no motion is favoured.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import cv2
import numpy as np
from numpy.typing import NDArray

from ssvc_codec.evaluation.clip import Clip
from ssvc_codec.frame import Frame, VideoFormat

__all__ = ["KnownMotion", "synthetic_motion"]

Samples = NDArray[np.float32]
Matrix = NDArray[np.float64]  # (3, 3), homogeneous; takes a place in one frame to its place in the frame before
FRAME_RATE = Fraction(25)


@dataclass(frozen=True)
class KnownMotion:
    """A clip and how each frame moved since the frame before."""

    clip: Clip
    flow: tuple[Samples, ...]  # (2, H, W) of frames 1, 2, ..: dx, dy in luma samples, backward
    visible: tuple[NDArray[np.bool_], ...]  # (H, W): the pixel is in the frame before too, and not hidden there


def synthetic_motion(*, width: int, height: int, n_frames: int, size: float, seed: int) -> KnownMotion:
    """A clip in which the background moves about size / 2 samples a frame and the foreground size.

    The background also turns and zooms a little, both seeded. width and height: even.
    """
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, 2 * np.pi)
    shift = size / 2 * np.array([np.cos(angle), np.sin(angle)])
    turn = size / 4 / (width / 2)  # radians that move the sides by size / 4
    back = affine(width, height, shift=shift, angle=rng.choice([-1, 1]) * turn, zoom=1 + rng.choice([-1, 1]) * turn)
    other = angle + rng.uniform(np.pi / 2, 3 * np.pi / 2)
    front = affine(width, height, shift=size * np.array([np.cos(other), np.sin(other)]), angle=0.0, zoom=1.0)
    margin = int(np.ceil(2 * size * n_frames)) + 16
    canvases = [texture(rng, height + 2 * margin, width + 2 * margin) for _ in range(2)]
    mask = shape_mask(rng, width=width, height=height)
    frames: list[Frame] = []
    flows: list[Samples] = []
    visible: list[NDArray[np.bool_]] = []
    format = VideoFormat(width, height)
    cover_before = np.zeros((height, width), dtype=np.float32)
    for pts in range(n_frames):
        to_first = [np.linalg.matrix_power(matrix, pts) for matrix in (back, front)]
        layers = [sample(canvas, m, width, height, offset=margin) for canvas, m in zip(canvases, to_first, strict=True)]
        cover = sample(mask[..., None], to_first[1], width, height)[..., 0]
        picture = layers[0] + cover[..., None] * (layers[1] - layers[0])
        frames.append(as_frame(picture, format, pts=pts))
        if pts:
            flow = np.where(cover > 0.5, flow_of(front, width, height), flow_of(back, width, height))
            flows.append(flow)
            visible.append(is_visible(flow, cover, cover_before))
        cover_before = cover
    name = f"synthetic_{size:g}px"
    return KnownMotion(Clip(name, format, FRAME_RATE, tuple(frames)), tuple(flows), tuple(visible))


def affine(width: int, height: int, *, shift: Matrix, angle: float, zoom: float) -> Matrix:
    """Turn and zoom about the middle of the picture, then shift."""
    cx, cy = (width - 1) / 2, (height - 1) / 2
    c, s = zoom * np.cos(angle), zoom * np.sin(angle)
    about = np.array([[c, -s, cx - c * cx + s * cy], [s, c, cy - s * cx - c * cy], [0, 0, 1]])
    about[:2, 2] += shift
    return about


def places(matrix: Matrix, width: int, height: int) -> Samples:
    """(2, H, W): where the matrix takes each pixel."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    stacked = matrix[:2, :2] @ np.stack([x, y]).reshape(2, -1) + matrix[:2, 2:]
    return stacked.reshape(2, height, width).astype(np.float32)


def flow_of(matrix: Matrix, width: int, height: int) -> Samples:
    """(2, H, W): the flow of a layer, in samples."""
    return places(matrix, width, height) - places(np.eye(3), width, height)


def sample(canvas: Samples, matrix: Matrix, width: int, height: int, *, offset: int = 0) -> Samples:
    """(H, W, C): the canvas as it lies in a picture. offset: of the picture's corner in the canvas."""
    x, y = places(matrix, width, height) + np.float32(offset)
    found = cv2.remap(canvas, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT if offset else cv2.BORDER_CONSTANT)
    return found.reshape(height, width, -1).astype(np.float32)


def is_visible(flow: Samples, cover: Samples, cover_before: Samples) -> NDArray[np.bool_]:
    """(H, W): pixels that come from within the frame before, where the same layer was on top."""
    height, width = cover.shape
    x, y = places(np.eye(3), width, height) + flow
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    before = cv2.remap(cover_before, x, y, cv2.INTER_LINEAR)
    return inside & ((before > 0.5) == (cover > 0.5))


def texture(rng: np.random.Generator, height: int, width: int) -> Samples:
    """(H, W, 3) luma and two chroma planes at full size, 0..255: noise of six scales, then shapes."""
    picture = np.zeros((height, width, 3), dtype=np.float32)
    for scale in (2, 4, 8, 16, 32, 64):
        noise = rng.normal(size=(height // scale + 2, width // scale + 2, 3)).astype(np.float32)
        picture += scale**0.5 * cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    picture = 128 + picture * np.array([4.0, 1.5, 1.5], dtype=np.float32)
    for _ in range(height * width // 12000 + 4):
        center = (int(rng.integers(width)), int(rng.integers(height)))
        axes = (int(rng.integers(4, 40)), int(rng.integers(4, 40)))
        color = rng.uniform((30, 90, 90), (225, 166, 166)).tolist()
        cv2.ellipse(picture, center, axes, float(rng.uniform(0, 180)), 0, 360, color, int(rng.choice([-1, 2, 3])))
    return np.clip(cv2.GaussianBlur(picture, (0, 0), 0.8), 16, 235).astype(np.float32)


def shape_mask(rng: np.random.Generator, *, width: int, height: int) -> Samples:
    """(H, W), 0..1: a star-shaped polygon with a soft edge, about a fifth of the picture."""
    angles = np.sort(rng.uniform(0, 2 * np.pi, 12))
    radii = rng.uniform(0.2, 0.4, 12) * min(width, height)
    points = np.stack([width / 2 + radii * np.cos(angles), height / 2 + radii * np.sin(angles)], axis=1)
    mask = np.zeros((height, width), dtype=np.float32)
    cv2.fillPoly(mask, [np.round(points).astype(np.int32)], (1.0,))
    return cv2.GaussianBlur(mask, (0, 0), 0.7).astype(np.float32)


def as_frame(picture: Samples, format: VideoFormat, *, pts: int) -> Frame:
    """Planes of a (H, W, 3) picture; chroma is averaged 2x2."""
    y, u, v = (np.clip(np.round(plane), 16, 240).astype(np.uint8) for plane in np.moveaxis(picture, 2, 0))
    size = (format.chroma_width, format.chroma_height)
    u, v = (cv2.resize(plane, size, interpolation=cv2.INTER_AREA).astype(np.uint8) for plane in (u, v))
    return Frame(y, u, v, format, pts=pts, duration=1, time_base=1 / FRAME_RATE)
