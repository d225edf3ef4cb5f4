"""Tables of what every frame of a clip takes at several q, recorded by rate_control.py."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

from ssvc_codec.evaluation.clip import Clip
from ssvc_codec.evaluation.psnr import frame_psnr
from ssvc_codec.frame import Frame
from ssvc_codec.gop.rate_model import gradient_activity

TABLE_Q: Final = (0, 12, 24, 36, 48, 60)


@dataclass(frozen=True)
class TableRow:
    """One frame at one q of the stream."""

    clip: str
    base_q: int
    number: int
    q_index: int
    n_bytes: int
    psnr_611: float
    activity: float
    width: int
    height: int


def record(clip: Clip, *, preset: str, keyint: int) -> Iterator[TableRow]:
    """Codes a clip at every q of the table."""
    from ssvc_codec.encoder import Encoder

    for base_q in TABLE_Q:
        encoder = Encoder(
            clip.format,
            time_base=1 / clip.frame_rate,
            crf=63 - base_q,
            preset=preset,  # type: ignore[arg-type]
            keyint=keyint,
            scenecut=False,
            device="cpu",
            threads=1,
        )
        for number, frame in enumerate(clip.frames):
            encoder.send(frame)
            assert encoder.statistics is not None
            assert encoder.reconstruction is not None
            psnr = frame_psnr(frame, Frame(*encoder.reconstruction, frame.format)).yuv611
            q, n_bytes = encoder.statistics.q_index, encoder.statistics.n_bytes
            size = clip.format.width, clip.format.height
            yield TableRow(clip.name, base_q, number, q, n_bytes, psnr, gradient_activity(frame), *size)


def read_rows(path: Path) -> dict[str, list[TableRow]]:
    """Rows by clip, as record gave them."""
    types: dict[str, Callable[[str], object]] = {
        f.name: {"str": str, "int": int, "float": float}[str(f.type)] for f in fields(TableRow)
    }
    rows: dict[str, list[TableRow]] = {}
    with path.open(newline="") as file:
        for line in csv.DictReader(file, delimiter="\t"):
            row = TableRow(**{name: types[name](text) for name, text in line.items()})  # type: ignore[arg-type]
            rows.setdefault(row.clip, []).append(row)
    return rows
