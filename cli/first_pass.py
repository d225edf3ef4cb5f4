"""The first of two passes: all frames are coded with little effort, to see what they cost; nothing is written."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ssvc_codec.errors import BitstreamError, MediaError

from .keyint import ForcedKeyFrames
from .progress import Progress

if TYPE_CHECKING:
    from ffmpeg_bridge.reader import VideoReader
    from ssvc_codec.encoder import Encoder
    from ssvc_codec.frame import Frame

    from .interrupt import StopRequest

__all__ = ["code_first_pass", "video_seconds"]


def video_seconds(reader: VideoReader) -> float | None:
    """How long the frames to come last, as far as the container tells."""
    if not (reader.n_frames_estimate and reader.average_rate):
        return None
    return float(reader.n_frames_estimate / reader.average_rate)


def code_first_pass(
    frames: Iterable[Frame], encoder: Encoder, *, forced: ForcedKeyFrames, stop: StopRequest, quiet: bool
) -> None:
    """Codes frames until they end, break off (of which the second pass will tell) or the user stops."""
    progress = Progress(quiet=quiet)
    progress.add_notes(["pass 1 of 2"])
    with contextlib.suppress(MediaError, BitstreamError):
        for frame in frames:
            if stop.is_set:
                return
            force_key = forced.is_due(pts=frame.pts, time_base=frame.time_base)
            for packet in encoder.send(frame, force_key=force_key):
                end_seconds = None if packet.pts is None else float((packet.pts + packet.duration) * packet.time_base)
                progress.add_frame(end_seconds=end_seconds, n_bytes=len(packet.data))
    progress.finish()
