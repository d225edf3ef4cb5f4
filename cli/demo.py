"""`ssvc demo`: a clip to try things on, drawn here: moving shapes before a moving ground, and a sound."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated

import typer

from .exit_codes import ExitCode, with_exit_code
from .options import Overwrite, Quiet, Verbose
from .output import check_output
from .progress import Progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ssvc_codec.frame import Frame, VideoFormat

__all__ = ["demo"]

_RATE = 25  # frames per second
_SAMPLE_RATE = 48000


@with_exit_code
def demo(
    target: Annotated[str, typer.Argument(metavar="OUT", help="The clip; its extension chooses the container.")],
    *,
    seconds: Annotated[float, typer.Option(min=0.04, max=60, help="Length of the clip.")] = 4.0,
    width: Annotated[int, typer.Option(min=16, max=4096, help="Width in samples.")] = 640,
    height: Annotated[int, typer.Option(min=16, max=4096, help="Height in samples.")] = 360,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Write a synthetic clip with moving shapes and sound."""
    check_output(target, source=None, overwrite=overwrite)
    from ffmpeg_bridge.synthetic import write_clip
    from ssvc_codec.frame import Color, VideoFormat

    n_frames = max(1, round(seconds * _RATE))
    format = VideoFormat(width=width, height=height, color=Color(primaries=1, transfer=1, matrix=1, chroma_location=1))
    progress = Progress(quiet=quiet)

    def counted() -> Iterator[Frame]:
        for number, frame in enumerate(draw_frames(format, n_frames), 1):
            yield frame
            progress.add_frame(end_seconds=number / _RATE)

    sound = make_sound(n_frames / _RATE)
    write_clip(target, counted(), format=format, rate=Fraction(_RATE), sound=sound, sample_rate=_SAMPLE_RATE)
    progress.finish()
    return ExitCode.OK


@dataclass(frozen=True, slots=True)
class _Shape:
    """A disc or a box that swings around a centre. Lengths in heights of the picture, angles in radians."""

    center: tuple[float, float]  # x, y
    swing: tuple[float, float]  # x, y
    speed: float  # radians per second
    radius: float
    is_disc: bool
    yuv: tuple[int, int, int]


_SHAPES = (
    _Shape((0.45, 0.55), (0.25, 0.20), 1.3, 0.16, True, (90, 90, 200)),
    _Shape((1.15, 0.40), (0.35, 0.10), 0.9, 0.13, False, (150, 60, 110)),
    _Shape((0.90, 0.75), (0.60, 0.08), 0.6, 0.09, True, (200, 110, 90)),
    _Shape((1.45, 0.70), (0.10, 0.22), 1.9, 0.10, False, (60, 170, 120)),
)


def draw_frames(format: VideoFormat, n_frames: int) -> Iterator[Frame]:
    """8-bit frames at 25 per second; the same on every machine up to rounding."""
    import numpy as np

    from ssvc_codec.frame import Frame

    grain = np.random.default_rng(1).normal(0, 1.0, (format.height, format.width)).astype(np.float32)
    for number in range(n_frames):
        time = number / _RATE
        y = _draw_plane(0, format.width, format.height, format.height, time) + np.roll(grain, number * 7, axis=1)
        chroma_size = (format.chroma_width, format.chroma_height)
        u, v = (_draw_plane(plane, *chroma_size, format.height / 2, time) for plane in (1, 2))
        planes = [np.clip(np.rint(plane), 16, 235).astype(np.uint8) for plane in (y, u, v)]
        yield Frame(*planes, format=format, pts=number, duration=1, time_base=Fraction(1, _RATE))


def _draw_plane(plane: int, width: int, height: int, scale: float, time: float) -> NDArray[np.float32]:
    """One plane, (height, width) float32. scale: samples in one height of the picture."""
    import numpy as np

    x = np.arange(width, dtype=np.float32)[None, :] / scale
    y = np.arange(height, dtype=np.float32)[:, None] / scale
    drift = 0.08 * time
    waves = np.sin(9 * (x + drift)) * np.cos(7 * y) + 0.5 * np.sin(41 * (x + drift) + 23 * y)
    picture = (110 + 25 * waves + 40 * y if plane == 0 else 128 + 8 * waves * (plane - 1.5)).astype(np.float32)
    for shape in _SHAPES:
        dx = x - shape.center[0] - shape.swing[0] * np.sin(shape.speed * time)
        dy = y - shape.center[1] - shape.swing[1] * np.cos(shape.speed * time)
        distance = np.hypot(dx, dy) if shape.is_disc else np.maximum(np.abs(dx), np.abs(dy))
        cover = np.clip((shape.radius - distance) * scale + 0.5, 0, 1)
        shade = 15 * np.sin(30 * dx) * np.sin(30 * dy) if plane == 0 else 0.0
        picture += cover * (shape.yuv[plane] + shade - picture)
    return picture


def make_sound(seconds: float) -> NDArray[np.float32]:
    """(2, n) float32 at 48 kHz in -1..1: a chord that wanders from left to right."""
    import numpy as np

    t = np.arange(round(seconds * _SAMPLE_RATE)) / _SAMPLE_RATE
    chord = sum(np.sin(2 * np.pi * pitch * t) for pitch in (220.0, 277.18, 329.63)) * 0.08
    chord *= 0.6 + 0.4 * np.sin(2 * np.pi * 2 * t)
    left = 0.5 + 0.5 * np.sin(2 * np.pi * 0.25 * t)
    return np.stack([chord * left, chord * (1 - left)]).astype(np.float32)
