"""Where drawings go: one picture, or a video."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ffmpeg_bridge.drawing import Overlay
    from ffmpeg_bridge.reader import SsvReader
    from ffmpeg_bridge.writer import VideoWriter
    from ssvc_codec.frame import Frame

__all__ = ["DrawingSink", "PictureSink", "VideoSink"]


class DrawingSink(Protocol):
    """Takes drawings one after another."""

    @property
    def notes(self) -> list[str]:
        """What was changed or left out, for the user."""
        ...

    def write(self, drawing: NDArray[np.uint8], overlay: Overlay, frame: Frame) -> None:
        """Adds what overlay drew on frame. Raises MediaError, or BrokenPipeError where the reader has gone."""
        ...

    def close(self) -> None:
        """Writes what is left, and gives the output its name."""
        ...

    def abort(self) -> None:
        """Throws the output away."""
        ...


class PictureSink:
    """One picture."""

    def __init__(self, target: str) -> None:
        from ffmpeg_bridge.files import OutputFile

        self.notes: list[str] = []
        self._suffix = Path(target).suffix
        self._output = OutputFile(target)

    def write(self, drawing: NDArray[np.uint8], overlay: Overlay, frame: Frame) -> None:
        """The picture. See DrawingSink."""
        del frame, overlay
        from ffmpeg_bridge.drawing import image_bytes
        from ffmpeg_bridge.files import media_errors

        with media_errors(f"cannot write {self._output.name}"):
            self._output.write(image_bytes(drawing, self._suffix))

    def close(self) -> None:
        """Writes what is left, and gives the output its name."""
        self._output.commit()

    def abort(self) -> None:
        """Throws the output away."""
        self._output.discard()


class VideoSink:
    """A video that opens with the first frame, with the sound of the source."""

    def __init__(self, target: str, source: SsvReader) -> None:
        self._target = target
        self._source = source
        self._writer: VideoWriter | None = None

    @property
    def notes(self) -> list[str]:
        """What was changed or left out, for the user."""
        return [] if self._writer is None else self._writer.notes

    def write(self, drawing: NDArray[np.uint8], overlay: Overlay, frame: Frame) -> None:
        """Adds one frame. See DrawingSink."""
        from ffmpeg_bridge.writer import VideoWriter

        drawn = overlay.to_frame(drawing, frame)
        if self._writer is None:
            self._writer = VideoWriter(
                self._target,
                format=drawn.format,
                time_base=drawn.time_base,
                average_rate=self._source.average_rate,
                source=self._source,
            )
        self._writer.write(drawn)

    def close(self) -> None:
        """Writes what is left, and gives the output its name."""
        if self._writer is not None:
            self._writer.close()

    def abort(self) -> None:
        """Throws the output away."""
        if self._writer is not None:
            self._writer.abort()
