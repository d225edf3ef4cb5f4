"""Writes optical flow as numbers: Middlebury's .flo in a folder or an archive, or .npz."""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ffmpeg_bridge.file_store import FileStore, FolderStore, TarStore, ZipStore, ZipTarget, zip_member
from ffmpeg_bridge.files import Sink, describe, media_errors
from ssvc_codec.errors import MediaError
from ssvc_codec.flow import FlowField, from_flo, to_flo
from ssvc_codec.frame import VideoFormat

__all__ = [
    "FloWriter",
    "FlowFrame",
    "FlowWriter",
    "NpzWriter",
    "flow_output_kind",
    "flow_store",
    "read_flo",
]

FlowOutputKind = Literal["folder", "zip", "tar", "npz", "video"]

_FLO_NAME = "flow_{:06d}.flo"
_FLO_NAMES = re.compile(r"flow_\d{6,}\.flo")


@dataclass(frozen=True, slots=True)
class FlowFrame:
    """One frame of a stream as its flow; field is None where it has none: a key frame, or one that is damaged."""

    field: FlowField | None
    format: VideoFormat  # of the stream's pictures
    pts: int | None
    duration: int  # in units of time_base; 0 where unknown
    time_base: Fraction

    @property
    def pts_seconds(self) -> float | None:
        """Presentation time in seconds."""
        return None if self.pts is None else float(self.pts * self.time_base)


class FlowWriter(Protocol):
    """Takes every frame of a stream, also those without flow: a frame's number is its place among them, from 0."""

    @property
    def notes(self) -> list[str]:
        """What was changed or left out, for the user."""
        ...

    def write(self, frame: FlowFrame) -> None:
        """Adds one frame. Raises MediaError, or BrokenPipeError where the reader has gone. Nothing is left then."""
        ...

    def close(self) -> None:
        """Writes what is left, and gives the output its name."""
        ...

    def abort(self) -> None:
        """Throws the output away."""
        ...


def flow_output_kind(sink: Sink) -> FlowOutputKind:
    """What a name asks for: .zip, .tar and .npz, a folder where there is no extension, else a video.

    "-", devices and pipes without an extension are video.
    """
    if not isinstance(sink, str | Path) or sink == "-":
        return "video"
    path = Path(sink)
    if path.is_dir() or str(sink).endswith("/"):
        return "folder"
    match path.suffix.lower():
        case ".zip":
            return "zip"
        case ".tar":
            return "tar"
        case ".npz":
            return "npz"
        case "":
            return "video" if path.exists() and not path.is_file() else "folder"
    return "video"


def flow_store(path: str | Path, *, overwrite: bool = False) -> FileStore:
    """The folder, .zip or .tar for a FloWriter. overwrite: replace the flow in a folder. Raises MediaError."""
    match flow_output_kind(path):
        case "zip":
            return ZipStore(path)
        case "tar":
            return TarStore(path)
    return FolderStore(path, replaces=_FLO_NAMES if overwrite else None)


def read_flo(path: str | Path) -> NDArray[np.float32]:
    """The vectors (2, H, W) of a .flo file. Raises MediaError."""
    with media_errors(f"cannot read {path}"):
        return from_flo(Path(path).read_bytes())


class FloWriter:
    """One .flo for each frame that has flow, named by the number of the frame: flow_000001.flo."""

    def __init__(self, store: FileStore) -> None:
        self.notes: list[str] = []
        self._store = store
        self._n_frames = 0

    def write(self, frame: FlowFrame) -> None:
        """Adds one frame. See FlowWriter."""
        if frame.field is not None:
            with _removing(self, self._store.name):
                self._store.add(_FLO_NAME.format(self._n_frames), to_flo(frame.field.values))
        self._n_frames += 1

    def close(self) -> None:
        """Makes the files appear."""
        self._store.commit()

    def abort(self) -> None:
        """Throws the files away."""
        self._store.discard()


class NpzWriter:
    """One .npz, not compressed: flow (frames, 2, H, W) float16, pts and frame_index (frames,) int64, time_base (2,)
    int64, and width, height and scale. Only frames that have flow are in it. Memory holds one of them.
    """

    def __init__(self, sink: Sink) -> None:
        """Raises MediaError where nothing can be written."""
        self.notes: list[str] = []
        self._name = describe(sink)
        self._output = ZipTarget(sink)
        self._first: FlowField | None = None
        self._n_frames = 0
        self._pts: list[int] = []
        self._frame_index: list[int] = []
        # The header of flow.npy needs the number of frames, so they wait in a file without a name.
        folder = Path(sink).parent if isinstance(sink, str | Path) else None
        with _removing(self, self._name):
            self._spool = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115

    def write(self, frame: FlowFrame) -> None:
        """Adds one frame. See FlowWriter. Raises ValueError where flow has no pts, or another size or scale."""
        index, field = self._n_frames, frame.field
        self._n_frames += 1
        if field is None:
            return
        first = self._first = self._first or field
        if frame.pts is None:
            raise ValueError("flow without pts cannot be written")
        if (field.width, field.height, field.scale) != (first.width, first.height, first.scale):
            raise ValueError(f"flow of {field.width}x{field.height} does not fit into {self._name}")
        with _removing(self, self._name):
            self._spool.write(field.values.astype("<f2").tobytes())
        self._pts.append(frame.pts)
        self._frame_index.append(index)

    def close(self) -> None:
        """Puts the arrays together. Raises MediaError, also where no frame had flow. Nothing is left then."""
        with _removing(self, self._name):
            if self._first is None:
                raise MediaError(f"cannot write {self._name}: no frame has flow")
            self._write_arrays(self._first)
            self._output.commit()
            self._spool.close()

    def _write_arrays(self, first: FlowField) -> None:
        time_base = [first.time_base.numerator, first.time_base.denominator]
        numbers = {
            "pts": self._pts,
            "time_base": time_base,
            "frame_index": self._frame_index,
            "width": first.width,
            "height": first.height,
            "scale": first.scale,
        }
        output: Any = self._output
        with zipfile.ZipFile(output, "w") as archive:
            with archive.open(zip_member("flow.npy"), "w", force_zip64=True) as member:
                shape = (len(self._pts), *first.values.shape)
                np.lib.format.write_array_header_1_0(member, {"descr": "<f2", "fortran_order": False, "shape": shape})
                self._spool.seek(0)
                shutil.copyfileobj(self._spool, member, 1 << 20)
            for name, value in numbers.items():
                with archive.open(zip_member(f"{name}.npy"), "w") as member:
                    np.lib.format.write_array(member, np.array(value, "<i8"))

    def abort(self) -> None:
        """Throws the file away."""
        self._output.discard()
        if hasattr(self, "_spool"):
            self._spool.close()


@contextlib.contextmanager
def _removing(writer: FlowWriter, name: str) -> Iterator[None]:
    """Leaves nothing behind when the body fails, and names the output in the error."""
    try:
        with media_errors(f"cannot write {name}"):
            yield
    except BaseException:
        writer.abort()
        raise
