"""Pictures as people see them: RGB by their own matrix and range, and PNG."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import av
import numpy as np
from av.video.reformatter import Colorspace, Interpolation, VideoReformatter
from numpy.typing import NDArray

from ffmpeg_bridge.planes import to_av
from ssvc_codec.frame import Frame, VideoFormat

if TYPE_CHECKING:
    from av.video.codeccontext import VideoCodecContext

__all__ = ["RgbConverter", "png_bytes", "upright"]

# Of H.273 matrices. Others have no coefficients in swscale.
_COLORSPACES = {
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    6: Colorspace.ITU601,
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
    10: Colorspace.BT2020,
}
_EXACT = Interpolation.BICUBIC | Interpolation.FULL_CHR_H_INT | Interpolation.ACCURATE_RND
_LIMITED, _FULL = 1, 2  # AVColorRange


class RgbConverter:
    """Frames to 8-bit RGB. Keeps swscale's tables from frame to frame."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def convert(self, frame: Frame) -> NDArray[np.uint8]:
        """(height, width, 3) of the coded picture, not rotated. Without a matrix, BT.709 for HD and BT.601 below."""
        picture = self._reformatter.reformat(
            to_av(frame),
            format="rgb24",
            src_colorspace=_colorspace(frame.format),
            src_color_range=_FULL if frame.format.color.full_range else _LIMITED,
            dst_color_range=_FULL,
            interpolation=_EXACT,
            threads=1,
        )
        return cast(NDArray[np.uint8], picture.to_ndarray())


def _colorspace(video: VideoFormat) -> Colorspace:
    is_large = video.width >= 1280 or video.height > 576
    return _COLORSPACES.get(video.color.matrix, Colorspace.ITU709 if is_large else Colorspace.ITU601)


def upright(rgb: NDArray[np.uint8], rotation: int) -> NDArray[np.uint8]:
    """The picture as it is shown. rotation: VideoFormat's, degrees counter-clockwise."""
    return np.rot90(rgb, rotation // 90)


def png_bytes(rgb: NDArray[np.uint8]) -> bytes:
    """A PNG file of an RGB picture (height, width, 3)."""
    context = cast("VideoCodecContext", av.CodecContext.create("png", "w"))
    context.width, context.height = rgb.shape[1], rgb.shape[0]
    context.pix_fmt = "rgb24"
    picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
    return b"".join(bytes(packet) for packet in (*context.encode(picture), *context.encode(None)))
