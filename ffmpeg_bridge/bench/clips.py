"""A user's clips as every codec gets them: 8-bit limited-range 4:2:0 of even size, in memory."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import PurePath

import numpy as np
from numpy.typing import NDArray

from ffmpeg_bridge.reader import open_video
from ssvc_codec.errors import MediaError
from ssvc_codec.evaluation.clip import Clip, frame_bytes
from ssvc_codec.evaluation.ms_ssim import MIN_SIDE
from ssvc_codec.frame import Frame, Plane, VideoFormat

__all__ = ["ClipSource", "clip_digest", "load_clip", "probe_clips"]

_UNKNOWN_RATE = Fraction(25)


@dataclass(frozen=True)
class ClipSource:
    """A video that can be read."""

    name: str  # in tables and of files: unlike that of any other clip of a run
    path: str
    n_pixels: int  # luma samples of the frames wanted, as far as the file tells


def probe_clips(paths: Sequence[str], *, n_frames: int) -> list[ClipSource]:
    """Opens each video once. Raises MediaError for the first that cannot be read."""
    sources = []
    seen: Counter[str] = Counter()
    for path in paths:
        with open_video(path, max_frames=n_frames) as reader:
            n_pixels = reader.format.width * reader.format.height * (reader.n_frames_estimate or n_frames)
        stem = PurePath(path).stem or "clip"
        seen[stem] += 1
        name = stem if seen[stem] == 1 else f"{stem}-{seen[stem]}"
        sources.append(ClipSource(name, path, n_pixels))
    return sources


def load_clip(source: ClipSource, *, n_frames: int) -> tuple[Clip, list[str]]:
    """The first n_frames frames, and notes on what was done to them. Times become those of the average rate.

    The result is the reference of every measurement: whatever the file holds is converted here, once, before any
    codec. Raises MediaError.
    """
    with open_video(source.path, max_frames=n_frames) as reader:
        rate = reader.average_rate or _UNKNOWN_RATE
        stored = reader.format
        width, height = stored.width // 2 * 2, stored.height // 2 * 2
        if not (width and height):
            raise MediaError(f"{source.path}: {stored.width}x{stored.height} is too small to be coded")
        color = replace(stored.color, full_range=False)
        format = replace(stored, width=width, height=height, bit_depth=8, color=color, rotation=0)
        time_base = 1 / rate
        frames = tuple(
            replace(_converted(frame, format), pts=pts, duration=1, time_base=time_base)
            for pts, frame in enumerate(reader)
        )
        notes = [*reader.notes, *_notes(stored, format, len(frames), n_frames)]
        notes += [f"damaged: {reader.damage}"] if reader.damage else []
    return Clip(source.name, format, rate, frames), notes


def _notes(stored: VideoFormat, format: VideoFormat, n_frames: int, n_wanted: int) -> list[str]:
    notes = []
    if stored.bit_depth != 8:
        notes.append(f"{stored.bit_depth} bits rounded to 8")
    if stored.color.full_range:
        notes.append("full range scaled to limited range")
    if (stored.width, stored.height) != (format.width, format.height):
        notes.append(f"cut from {stored.width}x{stored.height} to even sides, which the anchors need")
    if n_frames < n_wanted:
        notes.append(f"{n_frames} frames, {n_wanted} were wanted")
    if min(format.width, format.height) < MIN_SIDE:
        notes.append(f"a side below {MIN_SIDE} samples: too small for MS-SSIM, PSNR alone")
    return notes


def _converted(frame: Frame, format: VideoFormat) -> Frame:
    """The frame in 8 bits of limited range, its right column and last row cut off where format is smaller."""
    planes = (frame.y, frame.u, frame.v)
    sizes = ((format.height, format.width), *[(format.height // 2, format.width // 2)] * 2)
    stored = frame.format
    y, u, v = (
        _rescaled(plane[:height, :width], stored, is_luma=index == 0)
        for index, (plane, (height, width)) in enumerate(zip(planes, sizes, strict=True))
    )
    return replace(frame, y=y, u=u, v=v, format=format)


def _rescaled(plane: Plane, stored: VideoFormat, *, is_luma: bool) -> NDArray[np.uint8]:
    """Samples of 8 bits and limited range (H.273, 8.3), rounded once."""
    if stored.bit_depth == 8 and not stored.color.full_range:
        return np.ascontiguousarray(plane, dtype=np.uint8)
    unit = float(1 << (stored.bit_depth - 8))
    values = plane.astype(np.float64)
    if stored.color.full_range:
        peak = unit * 256 - 1
        zero, offset, span = (0.0, 16, 219) if is_luma else (128 * unit, 128, 224)
        values = offset + (values - zero) * (span / peak)
    else:
        values = values / unit
    return np.clip(np.floor(values + 0.5), 0, 255).astype(np.uint8)


def clip_digest(clip: Clip) -> str:
    """SHA-256 of the format, rate and samples: names the content in caches."""
    digest = hashlib.sha256(f"{clip.format} {clip.frame_rate}".encode())
    for frame in clip.frames:
        digest.update(frame_bytes(frame))
    return digest.hexdigest()
