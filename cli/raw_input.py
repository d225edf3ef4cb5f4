"""The options of `ssvc encode` for input that does not describe itself."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any

import typer

__all__ = ["InputFormat", "PixelFormat", "Rate", "RawInput", "Size"]

InputFormat = Annotated[
    str | None,
    typer.Option("-f", "--format", metavar="NAME", help="Format of the input, as ffmpeg names it, if it does not say."),
]
Size = Annotated[
    str | None, typer.Option("-s", "--size", metavar="WxH", help="Of raw frames, which have no header (-f rawvideo).")
]
PixelFormat = Annotated[
    str | None, typer.Option("--pix-fmt", "--pixel-format", metavar="NAME", help="Of raw frames; default yuv420p.")
]
Rate = Annotated[
    str | None,
    typer.Option("-r", "--framerate", metavar="N[/M]", help="Of raw frames or pictures (%05d.png); default 25."),
]

_PICTURES = ("image2", "image2pipe", "png_pipe", "jpeg_pipe")
_SIZE = re.compile(r"[1-9]\d*x[1-9]\d*")


@dataclass(frozen=True, slots=True)
class RawInput:
    """How the user said the input is to be read."""

    format: str | None
    size: str | None
    pixel_format: str | None
    rate: str | None

    def check(self, source: str) -> None:
        """Refuses what does not go together. Raises typer.BadParameter."""
        is_raw = self.demuxer == "rawvideo" or (self.format is None and source.endswith(".yuv"))
        for value, name in ((self.size, "--size"), (self.pixel_format, "--pix-fmt")):
            if value is not None and not is_raw:
                raise typer.BadParameter("it goes with -f rawvideo: other formats say it", param_hint=name)
        if is_raw and self.size is None:
            raise typer.BadParameter("raw frames have no header: give their WxH", param_hint="--size")
        if self.size is not None and not _SIZE.fullmatch(self.size):
            raise typer.BadParameter(f"{self.size!r} is not of the form 1920x1080", param_hint="--size")
        if self.rate is None:
            return
        if not (is_raw or "%" in source or self.format in _PICTURES):
            raise typer.BadParameter("it goes with -f rawvideo or pictures: other formats say it", param_hint="-r")
        try:
            is_valid = Fraction(self.rate) > 0
        except (ValueError, ZeroDivisionError):
            is_valid = False
        if not is_valid:
            raise typer.BadParameter(f"{self.rate!r} is no rate such as 25 or 30000/1001", param_hint="-r")

    @property
    def demuxer(self) -> str | None:
        """The format to read as; a size alone means raw frames."""
        return "rawvideo" if self.format == "raw" or (self.format is None and self.size) else self.format

    @property
    def reader_options(self) -> dict[str, Any]:
        """What open_video is told of it."""
        named = {"video_size": self.size, "pixel_format": self.pixel_format, "framerate": self.rate}
        options = {key: value for key, value in named.items() if value is not None}
        return {"format": self.demuxer, "options": options} if self.demuxer or options else {}
