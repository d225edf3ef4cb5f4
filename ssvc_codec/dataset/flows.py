"""Flow of clips, GoPs of one size being decoded in step: small pictures leave a processor idle between calls."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..bitstream import SubstreamKind
from ..errors import BitstreamError, LimitError, MediaError, ModelError
from .clips import Clip
from .request import Request
from .source import OpenFile, SsvFile

if TYPE_CHECKING:
    from ..decoder import Decoder
    from ..flow import FlowField

__all__ = ["FlowReader"]

Values = NDArray[np.float32]  # (2, h, w)


@dataclass(slots=True)
class _Run:
    """One GoP on its way through a decoder."""

    decoder: Decoder[FlowField]
    number: int  # of the next frame to decode
    end: int  # decode up to here
    values: dict[int, Values] = field(default_factory=dict)  # flow by number of the frame
    error: Exception | None = None


class FlowReader:
    """Reads flow as a request wants it, and keeps what clips of the same GoP will ask for."""

    def __init__(self, files: Sequence[SsvFile], request: Request, *, model: str | None, device: str) -> None:
        self._files, self._request = files, request
        self._model, self._device = model, device
        self._loaded: dict[bytes, Decoder[FlowField]] = {}  # by hash of the weights
        self._runs: dict[tuple[int, int], _Run] = {}  # by file and GoP
        self._place = (-1, -1)  # where the last clip was
        self.n_bytes_read = 0

    def read(self, clip: Clip) -> Values:
        """Flow of all frames of a clip but the first, (T-1, 2, h, w). Raises BitstreamError, LimitError, MediaError."""
        place = clip.file, clip.gop
        end = clip.first + clip.n_frames
        numbers = range(clip.first + 1, end)
        if place != self._place:
            self._runs.pop(self._place, None)  # clips of a GoP come in a row
            self._place = place
        run = self._runs[place] = self._run(clip)
        self._decode({place: run})
        if missing := [number for number in numbers if number not in run.values]:
            raise run.error or BitstreamError(f"{self._files[clip.file].path}: frame {missing[0]} has no flow")
        found = [run.values[number] for number in numbers]
        for number in [number for number in run.values if number <= clip.first]:
            del run.values[number]
        if found:
            return np.stack(found)
        video = self._files[clip.file].header.format
        return np.zeros((0, 2, *(self._request.flow_size or (-(-video.height // 4), -(-video.width // 4)))), np.float32)

    def ahead(self, clips: Iterable[Clip]) -> None:
        """Decodes what these clips will be asked for. What is wrong with one of them, read will tell."""
        runs: dict[tuple[int, int], _Run] = {}
        for clip in clips:
            place = clip.file, clip.gop
            run = runs.get(place) or self._run(clip)
            run.end = max(run.end, clip.first + clip.n_frames)
            runs[place] = run
        self._runs = runs  # what was not read of those before is not missed
        together: defaultdict[tuple[bytes, int, int], dict[tuple[int, int], _Run]] = defaultdict(dict)
        for place, run in runs.items():
            header = self._files[place[0]].header
            rows, columns = -(-header.format.height // 32), -(-header.format.width // 32)
            together[header.weights_hash, rows, columns][place] = run
        for part in together.values():
            self._decode(part)

    def _run(self, clip: Clip) -> _Run:
        """The one that the clip is in, if what it has gone past is still there; else a new one."""
        run = self._runs.get((clip.file, clip.gop))
        end = clip.first + clip.n_frames
        if run is not None and all(number in run.values for number in range(clip.first + 1, min(run.number, end))):
            run.end = max(run.end, end)
            return run
        return _Run(self._decoder(self._files[clip.file]), clip.gop_start, end)

    def _decoder(self, file: SsvFile) -> Decoder[FlowField]:
        if file.header.weights_hash not in self._loaded:
            from ..decoder import Decoder
            from ..selection import Selection

            select = self._request.selection or Selection()  # with a selection packets may be cut off after MOTION
            self._loaded[file.header.weights_hash] = Decoder(
                file.header.to_bytes(), parts={"motion"}, select=select, model=self._model, device=self._device
            )
        return self._loaded[file.header.weights_hash].another()

    def _decode(self, runs: dict[tuple[int, int], _Run]) -> None:
        """Brings runs to their ends, or to an error."""
        with ExitStack() as stack:
            opened: dict[tuple[int, int], OpenFile] = {}
            for (file, gop), run in runs.items():
                if run.number < run.end and run.error is None:
                    try:
                        opened[file, gop] = stack.enter_context(self._files[file].open())
                    except MediaError as error:
                        run.error = error
            while active := [
                place for place in opened if runs[place].number < runs[place].end and not runs[place].error
            ]:
                self._step({place: runs[place] for place in active}, opened)
            self.n_bytes_read += sum(part.n_bytes_read for part in opened.values())

    def _step(self, runs: dict[tuple[int, int], _Run], opened: dict[tuple[int, int], OpenFile]) -> None:
        """One frame of each run."""
        from ..decoder import Decoder
        from .pixels import resize_flow

        packets = {}
        for place, run in runs.items():
            try:
                packets[place] = opened[place].parsed_up_to(run.number, lambda kind: kind == SubstreamKind.MOTION)
            except (BitstreamError, LimitError, MediaError) as error:
                run.error = error
        found = Decoder.send_together([runs[place].decoder for place in packets], [*packets.values()])
        for place, flow in zip(packets, found, strict=True):
            run = runs[place]
            if isinstance(flow, (BitstreamError, LimitError, ModelError)):
                run.error = flow
            elif flow is not None:
                run.values[run.number] = resize_flow(flow.values, self._request.flow_size)
            elif run.values:
                told = f"{opened[place].file.path}: a key frame within GoP {place[1]} is not marked as one"
                run.error = BitstreamError(told)
            run.number += 1
