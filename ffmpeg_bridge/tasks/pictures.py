"""Items of data sets: single pictures, folders of numbered pictures, videos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ffmpeg_bridge.bench.clips import ClipSource, load_clip
from ssvc_codec.errors import MediaError
from ssvc_codec.evaluation.clip import Clip
from ssvc_codec.frame import Frame
from ssvc_codec.semantics.rgb import frame_to_rgb

__all__ = ["PICTURES", "VIDEOS", "load_pictures", "load_video", "rgb_of"]

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
VIDEOS = (".mp4", ".mkv", ".avi", ".mov", ".webm", ".y4m")
_RATE = Fraction(25)


def load_pictures(name: str, paths: Sequence[Path], *, rate: Fraction = _RATE) -> Clip:
    """Pictures of one size as the frames of a clip, 8-bit limited-range 4:2:0 of even size. Raises MediaError."""
    frames: list[Frame] = []
    for number, path in enumerate(paths):
        clip, _ = load_clip(ClipSource(name, str(path), 0), n_frames=1)
        frame = replace(clip.frames[0], pts=number, duration=1, time_base=1 / rate)
        if frames and frame.format != frames[0].format:
            raise MediaError(f"{path}: {frame.format.width}x{frame.format.height}, unlike the pictures before it")
        frames.append(frame)
    if not frames:
        raise MediaError(f"{name}: no pictures")
    return Clip(name, frames[0].format, rate, tuple(frames))


def load_video(name: str, path: Path, *, n_frames: int) -> Clip:
    """The first n_frames frames of a video, as every codec of the bench gets them. Raises MediaError."""
    clip, _ = load_clip(ClipSource(name, str(path), 0), n_frames=n_frames)
    return clip


def rgb_of(frame: Frame) -> NDArray[np.uint8]:
    """(height, width, 3) RGB in the size of the frame."""
    return frame_to_rgb(frame, width=frame.format.width, height=frame.format.height)
