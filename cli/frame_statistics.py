"""What every coded frame cost, as CSV or JSON: `ssvc encode --stats FILE.csv|FILE.json`, with `--psnr` its quality too.

CSV has a line for each frame as soon as it is coded. JSON holds the same as `frames`, then `totals`.

    number             of the frame, from 0
    pts, time_seconds  as in the packet; empty (null) where unknown
    duration_seconds
    type               I or P
    q_index            63 - crf, after the offset of the hierarchy
    trials             how often the frame was coded until it fitted --bufsize
    bits               of the packet = header_bits + motion_bits + residual_bits
                                     = header_bits + object_bits + background_bits
    header_bits        headers, directory, checksums
    motion_bits        payloads; 0 for I frames
    residual_bits      payloads; all of an I frame's
    object_bits        payloads of groups of objects, of either kind
    background_bits    payloads of the background, of either kind
    psnr_y, psnr_u, psnr_v, psnr_611    dB of the encoder's own reconstruction; with --psnr
    vbv_bits           left in the buffer of --bufsize after this frame

totals: frames, seconds, bits and its parts, bitrate (bits per second), mean PSNR of frames.
"""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

import typer

if TYPE_CHECKING:
    from ssvc_codec.encoder import Encoder
    from ssvc_codec.evaluation.psnr import Psnr
    from ssvc_codec.frame import Frame
    from ssvc_codec.gop.vbv import LeakyBucket

__all__ = ["FrameLog", "check_statistics_file"]

_BITS = ("bits", "header_bits", "motion_bits", "residual_bits", "object_bits", "background_bits")
_PSNR = ("psnr_y", "psnr_u", "psnr_v", "psnr_611")

Value = int | float | str | None


def check_statistics_file(path: Path | None) -> None:
    """Refuses a name that says no format. Raises typer.BadParameter."""
    if path is not None and path.suffix.lower() not in (".csv", ".json"):
        raise typer.BadParameter(f"{path}: a name that ends in .csv or .json", param_hint="--stats")


class FrameLog:
    """Collects what frames cost, and writes it to a file if there is one."""

    def __init__(self, path: Path | None, *, psnr: bool = False, bucket: LeakyBucket | None = None) -> None:
        """Raises OSError where the file cannot be written."""
        self.n_frames = 0
        self._psnr, self._bucket = psnr, bucket
        self._sums: dict[str, float] = {}
        self._start: Fraction | None = None
        self._end = Fraction(0)
        self._file: TextIO | None = None
        self._is_json = path is not None and path.suffix.lower() == ".json"
        if path is not None:
            self._file = path.open("w", encoding="utf-8", newline="\n")

    def add(self, frame: Frame, encoder: Encoder) -> None:
        """The frame that the encoder coded last."""
        statistics = encoder.statistics
        assert statistics is not None
        time = None if frame.pts is None else frame.pts * frame.time_base
        parts = (
            statistics.n_bytes,
            statistics.n_header_bytes,
            statistics.n_motion_bytes,
            statistics.n_residual_bytes,
            statistics.n_object_bytes,
            statistics.n_background_bytes,
        )
        row: dict[str, Value] = {
            "number": self.n_frames,
            "pts": frame.pts,
            "time_seconds": None if time is None else round(float(time), 6),
            "duration_seconds": round(float(frame.duration * frame.time_base), 6),
            "type": statistics.frame_type.name,
            "q_index": statistics.q_index,
            "trials": statistics.n_trials,
            **{name: 8 * n_bytes for name, n_bytes in zip(_BITS, parts, strict=True)},
        }
        if self._psnr:
            psnr = _psnr_of(frame, encoder)
            row |= {
                name: round(value, 4) for name, value in zip(_PSNR, (psnr.y, psnr.u, psnr.v, psnr.yuv611), strict=True)
            }
        if self._bucket is not None:
            row["vbv_bits"] = round(self._bucket.fullness)
        for name in (*_BITS, *_PSNR):
            self._sums[name] = self._sums.get(name, 0.0) + float(row.get(name) or 0.0)
        if time is not None:
            self._start = time if self._start is None else self._start
        self._end = max(self._end, (self._end if time is None else time) + frame.duration * frame.time_base)
        self._write(row)
        self.n_frames += 1

    @property
    def seconds(self) -> float:
        """From the start of the first frame to the end of the last."""
        return float(self._end - (self._start or 0))

    def totals(self) -> dict[str, Value]:
        """Sums over all frames, and means of PSNR."""
        bits: dict[str, Value] = {name: round(self._sums.get(name, 0.0)) for name in _BITS}
        rate = self._sums.get("bits", 0.0) / self.seconds if self.seconds > 0 else None
        row = {"frames": self.n_frames, "seconds": round(self.seconds, 6), **bits, "bitrate": rate and round(rate, 1)}
        if self._psnr and self.n_frames:
            row |= {name: round(self._sums[name] / self.n_frames, 4) for name in _PSNR}
        return row

    def notes(self) -> list[str]:
        """The mean PSNR for the end of progress, if it was measured."""
        if not (self._psnr and self.n_frames):
            return []
        y, u, v, weighted = (self._sums[name] / self.n_frames for name in _PSNR)
        return [f"PSNR Y {y:.2f} U {u:.2f} V {v:.2f} 6:1:1 {weighted:.2f} dB"]

    def _write(self, row: dict[str, Value]) -> None:
        if self._file is None:
            return
        if self._is_json:
            self._file.write(('{"frames": [\n' if not self.n_frames else ",\n") + json.dumps(row))
            return
        if not self.n_frames:
            self._file.write(",".join(row) + "\n")
        self._file.write(",".join("" if value is None else str(value) for value in row.values()) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Ends the file; JSON gets its totals."""
        file, self._file = self._file, None
        if file is None:
            return
        with file:
            if self._is_json:
                file.write('{"frames": [' if not self.n_frames else "")
                file.write('\n], "totals": ' + json.dumps(self.totals()) + "}\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _psnr_of(frame: Frame, encoder: Encoder) -> Psnr:
    from ssvc_codec.evaluation.psnr import frame_psnr
    from ssvc_codec.frame import Frame

    planes = encoder.reconstruction
    assert planes is not None
    return frame_psnr(frame, Frame(*planes, frame.format))
