"""Packs folders of pictures and clips into training shards (`ssvc train pack`)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame

from ffmpeg_bridge.planes import read_planes
from ssvc_codec.errors import MediaError
from ssvc_codec.frame import VideoFormat
from ssvc_codec.training.shards import ShardWriter

__all__ = ["pack_folder"]

PICTURES = {".webp", ".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"}
CLIPS = {".mp4", ".mkv", ".mov", ".webm", ".y4m", ".avi"}
Planes = tuple[np.ndarray, np.ndarray, np.ndarray]


def _planes(picture: VideoFrame) -> Planes:
    """Planes of the largest even size, 8 bit."""
    if picture.format.name not in ("yuv420p", "yuvj420p"):
        picture = picture.reformat(format="yuv420p")
    height, width = picture.height // 2, picture.width // 2
    y, u, v = read_planes(picture, VideoFormat(picture.width, picture.height))
    return y[: 2 * height, : 2 * width], u[:height, :width], v[:height, :width]


def _decode(path: Path) -> Iterator[Planes]:
    with av.open(str(path)) as container:
        if not container.streams.video:
            raise MediaError(f"{path}: no video in this file")
        for frame in container.decode(video=0):
            yield _planes(frame)


def pack_folder(
    source: Path,
    out: Path,
    *,
    shard_mib: float = 48.0,
    clip_frames: int = 9,
    clip_stride: int | None = None,
    first_only: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, int]:
    """Packs every picture and clip below `source` into shards below `out`.

    A picture becomes a clip of one frame; a video is cut into clips of
    `clip_frames` consecutive frames, one every `clip_stride` (default: end to
    end; a rest shorter than a clip is left out). `first_only` keeps the first
    frame of each clip. Files named in a `video.json` there are taken in its order.
    Returns counts. Raises MediaError for a folder without pictures.
    """
    files = sorted(p for p in source.rglob("*") if p.suffix.lower() in PICTURES | CLIPS)
    if not files:
        raise MediaError(f"{source}: no pictures or clips in this folder")
    writer = ShardWriter(out, prefix=source.name or "shard", shard_mib=shard_mib)
    stride = clip_stride or clip_frames
    for number, path in enumerate(files):
        if path.suffix.lower() in PICTURES:
            for planes in _decode(path):
                writer.add([planes], path.name)
        else:
            clip: list[Planes] = []
            for position, planes in enumerate(_decode(path)):
                if position % stride < clip_frames:
                    clip.append(planes)
                if len(clip) == clip_frames:
                    writer.add(clip[:1] if first_only else clip, f"{path.name}@{position - clip_frames + 1}")
                    clip = []
        if progress:
            progress(number + 1, len(files))
    writer.flush()
    counts = {"files": len(files), "clips": writer.n_clips, "shards": writer.n_shards}
    (out / f"{source.name}.json").write_text(json.dumps(counts))
    return counts
