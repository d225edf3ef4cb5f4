"""`ssvc decode --crops DIR`: every object as pictures or clips of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from ssvc_codec.errors import BitstreamError, LimitError, MediaError

if TYPE_CHECKING:
    from fractions import Fraction

    from ffmpeg_bridge.crop_writer import CropWriter
    from ffmpeg_bridge.reader import SsvReader
    from ssvc_codec.bitstream import ClassTable, SceneObject
    from ssvc_codec.frame import Frame
    from ssvc_codec.selection import ResolvedSelection, Selection

__all__ = ["CropOutput", "CropSink"]


@dataclass(frozen=True, slots=True)
class CropOutput:
    """What the user asked the crops to become."""

    folder: str
    kind: Literal["png", "mp4"] = "png"
    padding: float = 0.0  # of a box's sides, added on each side
    overwrite: bool = False

    def check(self) -> None:
        """Refuses what cannot be done before anything is decoded. Raises MediaError."""
        folder = Path(self.folder)
        if self.folder == "-":
            raise MediaError("crops are many files: they need a folder, not standard output")
        if folder.is_file():
            raise MediaError(f"{folder}: it is a file, and crops need a folder")
        if not self.overwrite and folder.is_dir() and any(folder.iterdir()):
            raise MediaError(f"{folder}: the folder is not empty; -y replaces the crops in it")


class _Decoder(Protocol):
    """What a sink asks of the decoder that gave it a frame."""

    first_error: BitstreamError | LimitError | None

    @property
    def objects(self) -> tuple[SceneObject, ...]:
        """Of the frame decoded last; () for one that stands in for a damaged frame."""
        ...

    @property
    def classes(self) -> ClassTable: ...


class CropSink:
    """Cuts the objects out of each frame while the decoder still knows them."""

    def __init__(
        self, output: CropOutput, source: SsvReader, decoder: _Decoder, *, select: Selection | None = None
    ) -> None:
        """select: objects to cut out; None: all. Raises MediaError, ValueError."""
        from ffmpeg_bridge.crop_writer import CropWriter

        self._source = source
        self._decoder = decoder
        self._select = select
        self._resolved: tuple[ClassTable, ResolvedSelection] | None = None
        self._next_number = 0
        self._writer: CropWriter = CropWriter(
            output.folder, kind=output.kind, padding=output.padding, overwrite=output.overwrite
        )

    @property
    def notes(self) -> list[str]:
        """What was changed or left out, for the user."""
        return [*self._source.notes, *self._writer.notes]

    def write(self, frame: Frame, *, number: int | None = None) -> None:
        """Adds one frame; sound is read past. number: its place in the stream, where frames are left out."""
        number = self._next_number if number is None else number
        self._next_number = number + 1
        classes = self._decoder.classes
        objects = [item for item in self._decoder.objects if self._is_selected(item, classes)]
        self._writer.write(frame, objects, classes, number=number)
        if frame.pts is not None:
            seconds: Fraction = frame.pts * frame.time_base
            self._source.take_packets(before=seconds)

    def _is_selected(self, item: SceneObject, classes: ClassTable) -> bool:
        if self._select is None:
            return True
        if self._resolved is None or self._resolved[0] != classes:
            self._resolved = (classes, self._select.resolve(classes))
        return self._resolved[1].wants(item)

    def close(self) -> None:
        """Makes the folder appear. Raises the first error met, or MediaError, where there is nothing in it."""
        if not self._writer.n_crops:
            what = "no object" if self._select is None else "no object that was asked for"
            raise self._decoder.first_error or MediaError(f"{self._source.name} holds {what} in the frames decoded")
        self._writer.close()

    def abort(self) -> None:
        """Throws the crops away."""
        self._writer.abort()
