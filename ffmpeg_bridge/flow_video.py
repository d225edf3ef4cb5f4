"""Writes optical flow as a video in the usual colours."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from ffmpeg_bridge.demux import CopySource
from ffmpeg_bridge.files import Sink
from ffmpeg_bridge.flow_writer import FlowFrame
from ffmpeg_bridge.video_writer import VideoWriter
from ssvc_codec.flow import default_flow_max, flow_to_rgb, rotate_vectors
from ssvc_codec.frame import Color, Frame, VideoFormat

__all__ = ["FLOW_COLOR", "FlowVideoWriter", "draw_flow", "rgb_to_yuv420"]

FLOW_COLOR = Color(primaries=1, transfer=1, matrix=1, chroma_location=2)
_KR, _KB = 0.2126, 0.0722  # BT.709
_LUMA = np.array([_KR, 1 - _KR - _KB, _KB])
_TO_YUV = (
    np.stack(
        [219 * _LUMA, 112 * (np.array([0, 0, 1]) - _LUMA) / (1 - _KB), 112 * (np.array([1, 0, 0]) - _LUMA) / (1 - _KR)]
    )
    / 255
).astype(np.float32)


class FlowVideoWriter:
    """A video of the flow in the usual colours, as it is seen: turned with the picture where that is rotated.

    Every frame of the stream is in it; those without flow are white.
    """

    def __init__(
        self,
        sink: Sink,
        *,
        format: VideoFormat,
        time_base: Fraction,
        scale: int = 1,
        max_pixels: float | None = None,
        average_rate: Fraction | None = None,
        source: CopySource | None = None,
        vcodec: str | None = None,
        vcodec_options: Mapping[str, str] | None = None,
    ) -> None:
        """format: of the stream's pictures; the video is 1 / scale of their size, rounded up, in 8 bits.

        max_pixels: the length of vector with full colour, default_flow_max where None. Others: see VideoWriter.
        Raises MediaError, ValueError.
        """
        self._max_pixels = max_pixels or default_flow_max(width=format.width, height=format.height)
        self._format = VideoFormat(
            -(-format.width // scale),
            -(-format.height // scale),
            color=FLOW_COLOR,
            rotation=format.rotation,
            sample_aspect_ratio=format.sample_aspect_ratio,
        )
        self._still = np.zeros((2, self._format.height, self._format.width), np.float32)
        self._video = VideoWriter(
            sink,
            format=self._format,
            time_base=time_base,
            average_rate=average_rate,
            source=source,
            vcodec=vcodec,
            vcodec_options=vcodec_options,
        )

    @property
    def notes(self) -> list[str]:
        """What was changed or left out, for the user."""
        return self._video.notes

    def write(self, frame: FlowFrame) -> None:
        """Adds one frame. See FlowWriter."""
        values = self._still if frame.field is None else frame.field.values
        y, u, v = draw_flow(values, rotation=self._format.rotation, max_pixels=self._max_pixels)
        self._video.write(Frame(y, u, v, self._format, frame.pts, frame.duration, frame.time_base))

    def close(self) -> None:
        """Writes what is left, and gives the file its name."""
        self._video.close()

    def abort(self) -> None:
        """Throws the file away."""
        self._video.abort()


def draw_flow(
    values: NDArray[np.float32], *, rotation: int, max_pixels: float
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    """Y, U and V of vectors (2, H, W) in the usual colours, turned as the picture is shown; zeros are white."""
    return rgb_to_yuv420(flow_to_rgb(rotate_vectors(values, rotation), max_pixels=max_pixels))


def rgb_to_yuv420(rgb: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    """RGB (H, W, 3) as BT.709 of limited range, 4:2:0 with each chroma sample amid its four pixels.

    Returns Y (H, W), U and V (H/2, W/2), rounded up.
    """
    height, width, _ = rgb.shape
    whole = np.pad(rgb, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge").astype(np.float32)
    luma = whole[:height, :width] @ _TO_YUV[0] + np.float32(16.5)
    quarters = whole[0::2, 0::2] + whole[0::2, 1::2] + whole[1::2, 0::2] + whole[1::2, 1::2]
    chroma = quarters @ (_TO_YUV[1:].T / 4) + np.float32(128.5)
    u, v = np.moveaxis(chroma.astype(np.uint8), 2, 0)
    return luma.astype(np.uint8), np.ascontiguousarray(u), np.ascontiguousarray(v)
