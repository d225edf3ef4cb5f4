"""Substreams of P frames to symbols, of one frame or of frames of several streams at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import BitstreamError
from .latents import GroupSymbols, LatentCoder, Start, Substream
from .merge_coding import CellGrid
from .reference import Chain, FrameMaps
from .residual import ResidualCoder
from .rows import rows_by_group

__all__ = ["FrameStrings", "FrameSymbols", "read_frames"]


class FrameStrings(NamedTuple):
    """What is to be read of one frame, and what it follows."""

    strings: Mapping[int, bytes]  # of one kind, by group
    maps: FrameMaps
    before: Chain
    same: NDArray[np.bool_]  # (n,) cells whose group has the same objects as in the frame before
    motion: Chain | None = None  # of the same frame, to read residuals; None to read motion


class FrameSymbols(NamedTuple):
    """What was read of one frame."""

    chain: Chain
    starts: dict[int, Start]  # vectors from which chains of motion start, by group


def read_frames(
    coder: LatentCoder | ResidualCoder, frames: Sequence[FrameStrings]
) -> list[FrameSymbols | BitstreamError]:
    """Symbols of all groups that are there and whose chain is whole, and whose motion is, where it matters."""
    found: list[FrameSymbols | BitstreamError] = []
    wanted: list[tuple[int, int, NDArray[np.intp]]] = []
    substreams: list[Substream] = []
    for number, frame in enumerate(frames):
        flat = frame.maps.q.reshape(-1)
        past = frame.before.past(frame.same, frame.motion)
        broken = frame.before.lost & frame.same
        if frame.motion is not None:
            broken = broken | ~frame.motion.known
        for group, rows in rows_by_group(frame.maps.groups):
            if group in frame.strings and not broken[rows].any():
                begins = frame.motion is None and not past.known[rows].any()
                wanted.append((number, group, rows))
                grid = CellGrid(rows, frame.maps.groups.shape[1])
                substreams.append(Substream(frame.strings[group], flat[rows], past.take(rows), begins, grid))
        nothing = coder.nothing(flat.size)
        found.append(FrameSymbols(Chain(nothing.symbols, nothing.known, ~nothing.known), {}))
    for (number, group, rows), substream, own in zip(wanted, substreams, coder.read(substreams), strict=True):
        frame = found[number]
        if isinstance(frame, BitstreamError):
            continue
        if isinstance(own, BitstreamError):
            found[number] = own
            continue
        _put(frame, group, rows, *own, begins=substream.has_start)
    return found


def _put(
    frame: FrameSymbols, group: int, rows: NDArray[np.intp], own: GroupSymbols, start: Start, *, begins: bool
) -> None:
    """Enters what was read of one group."""
    symbols, known, lost = frame.chain
    symbols.z[rows], symbols.y[rows] = own.z, own.y
    if symbols.merge is not None and own.merge is not None:
        symbols.merge[rows] = own.merge
    if symbols.own is not None and own.own is not None:
        symbols.own[rows] = own.own
    known[rows], lost[rows] = True, False
    if begins:
        frame.starts[group] = start
