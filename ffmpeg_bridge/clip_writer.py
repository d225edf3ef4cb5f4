"""A clip of a moving part of a video: one size, though the part changes its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from ffmpeg_bridge.planes import read_planes, to_av
from ffmpeg_bridge.video_writer import VideoWriter
from ssvc_codec.frame import Frame, VideoFormat

__all__ = ["ClipWriter", "crop_frame", "fit_frame"]


class ClipWriter:
    """One clip in the making; its time starts at 0. It has its name only after close()."""

    def __init__(self, path: Path, *, name: str, like: Frame, width: int, height: int) -> None:
        """like: the first frame. width, height: of the first part, in luma samples. Raises MediaError."""
        self.name = name
        self._format = replace(like.format, width=width + width % 2, height=height + height % 2)
        self._first_pts = like.pts or 0
        self._n_frames = 0
        # Many clips may be open at once, and each is small.
        self._video = VideoWriter(path, format=self._format, time_base=like.time_base, threads=1)

    def write(self, frame: Frame, *, x: int, y: int, width: int, height: int) -> int:
        """Adds that part of a frame; returns its place in the clip. Raises MediaError."""
        part = fit_frame(crop_frame(frame, x=x, y=y, width=width, height=height), self._format)
        pts = None if frame.pts is None else frame.pts - self._first_pts
        self._video.write(replace(part, pts=pts))
        self._n_frames += 1
        return self._n_frames - 1

    def close(self) -> None:
        """Writes what is left, and gives the file its name."""
        self._video.close()

    def abort(self) -> None:
        """Throws the clip away."""
        self._video.abort()


def crop_frame(frame: Frame, *, x: int, y: int, width: int, height: int) -> Frame:
    """Part of a frame, from even samples to even samples or the picture's edge, so that chroma is not resampled."""
    video = frame.format
    left, top = x - x % 2, y - y % 2
    right, bottom = min(x + width + (x + width) % 2, video.width), min(y + height + (y + height) % 2, video.height)
    chroma = np.s_[top // 2 : (bottom + 1) // 2, left // 2 : (right + 1) // 2]
    return replace(
        frame,
        y=frame.y[top:bottom, left:right],
        u=frame.u[chroma],
        v=frame.v[chroma],
        format=replace(video, width=right - left, height=bottom - top),
    )


def fit_frame(frame: Frame, video: VideoFormat) -> Frame:
    """The frame in the middle of a black one of even sides, shrunk if it is too large."""
    width, height = frame.format.width, frame.format.height
    if width > video.width or height > video.height:
        shrink = min(video.width / width, video.height / height)
        frame = _resized(frame, width=max(1, int(width * shrink)), height=max(1, int(height * shrink)))
        width, height = frame.format.width, frame.format.height
    left, top = (video.width - width) // 4 * 2, (video.height - height) // 4 * 2
    black = 0 if video.color.full_range else 16 << (video.bit_depth - 8)
    return replace(
        frame,
        y=_framed(frame.y, (video.height, video.width), (top, left), black),
        u=_framed(frame.u, (video.chroma_height, video.chroma_width), (top // 2, left // 2), 1 << video.bit_depth - 1),
        v=_framed(frame.v, (video.chroma_height, video.chroma_width), (top // 2, left // 2), 1 << video.bit_depth - 1),
        format=video,
    )


def _framed(
    plane: NDArray[np.uint8] | NDArray[np.uint16], shape: tuple[int, int], place: tuple[int, int], fill: int
) -> Any:
    (top, left), (height, width) = place, plane.shape
    margins = ((top, shape[0] - top - height), (left, shape[1] - left - width))
    return np.pad(plane, margins, constant_values=fill)


def _resized(frame: Frame, *, width: int, height: int) -> Frame:
    video = replace(frame.format, width=width, height=height)
    picture = VideoReformatter().reformat(
        to_av(frame), width=width, height=height, interpolation=Interpolation.BICUBIC, threads=1
    )
    y, u, v = read_planes(picture, video)
    return replace(frame, y=y, u=u, v=v, format=video)
