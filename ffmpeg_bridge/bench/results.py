"""Rows of the rate-distortion table, and the cache that keeps them from run to run."""

from __future__ import annotations

import csv
import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from ffmpeg_bridge.bench.codec import Coded
from ssvc_codec.errors import MediaError
from ssvc_codec.evaluation.clip import Clip
from ssvc_codec.evaluation.ms_ssim import MIN_SIDE, ms_ssim, ms_ssim_db
from ssvc_codec.evaluation.psnr import frame_psnr, mean_psnr

__all__ = ["Row", "RowCache", "measure", "read_rows", "write_rows"]

MIB = 1 << 20


@dataclass(frozen=True)
class Row:
    """One clip coded by one codec at one quality point."""

    clip: str
    codec: str
    point: float  # crf, q or quality: the codec's own number
    n_frames: int
    width: int
    height: int
    n_bytes: int
    bpp: float  # bits per luma sample
    psnr_y: float
    psnr_u: float
    psnr_v: float
    psnr_611: float
    ms_ssim: float  # luma, mean over frames; NaN on pictures that are too small
    encode_seconds: float
    decode_seconds: float
    encode_peak_rss_mib: float = math.nan  # where measured
    decode_peak_rss_mib: float = math.nan

    @property
    def ms_ssim_db(self) -> float:
        """MS-SSIM in dB."""
        return ms_ssim_db(self.ms_ssim)


_OPTIONAL = ("encode_peak_rss_mib", "decode_peak_rss_mib")


def measure(clip: Clip, coded: Coded, *, codec: str, point: float) -> Row:
    """The row of one coded clip. Raises MediaError when frames are missing or too many."""
    if len(coded.frames) != len(clip.frames):
        raise MediaError(f"{len(coded.frames)} frames came back of {len(clip.frames)}")
    pairs = list(zip(clip.frames, coded.frames, strict=True))
    psnr = mean_psnr(frame_psnr(a, b) for a, b in pairs)
    is_large = min(clip.format.width, clip.format.height) >= MIN_SIDE
    similarity = sum(ms_ssim(a.y, b.y) for a, b in pairs) / len(pairs) if is_large else math.nan
    return Row(
        clip=clip.name,
        codec=codec,
        point=point,
        n_frames=len(pairs),
        width=clip.format.width,
        height=clip.format.height,
        n_bytes=coded.n_bytes,
        bpp=8 * coded.n_bytes / clip.n_pixels,
        psnr_y=psnr.y,
        psnr_u=psnr.u,
        psnr_v=psnr.v,
        psnr_611=psnr.yuv611,
        ms_ssim=similarity,
        encode_seconds=coded.encode_seconds,
        decode_seconds=coded.decode_seconds,
    )


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Writes the table as TSV, all digits kept. Peak memory has columns where some row has it."""
    measured = [name for name in _OPTIONAL if any(not math.isnan(getattr(row, name)) for row in rows)]
    names = [field.name for field in fields(Row) if field.name not in _OPTIONAL or field.name in measured]
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, names, delimiter="\t", lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        for row in rows:
            values = asdict(row)
            writer.writerow({k: f"{v:.9g}" if isinstance(v, float) else v for k, v in values.items()})
    temporary.replace(path)


def read_rows(path: Path) -> list[Row]:
    """The rows of a table that write_rows wrote."""
    kinds: dict[str, Any] = {"str": str, "int": int, "float": float}
    types = {field.name: kinds[str(field.type)] for field in fields(Row)}
    with path.open(newline="") as file:
        lines = csv.DictReader(file, delimiter="\t")
        return [Row(**{name: types[name](value) for name, value in line.items()}) for line in lines]


class RowCache:
    """One file for each row, named by all that decides it."""

    def __init__(self, folder: Path | None) -> None:
        """folder: None keeps nothing."""
        self._folder = folder

    def find(self, identity: Iterable[str], *, clip: str, codec: str, point: float) -> Row | None:
        """The row under an identity, with the names of this run; None where there is none that can be read."""
        path = self._path(identity)
        if path is None or not path.is_file():
            return None
        try:
            row = Row(**json.loads(path.read_text()))
        except (ValueError, TypeError):
            return None
        return replace(row, clip=clip, codec=codec, point=point)

    def keep(self, identity: Iterable[str], row: Row) -> None:
        """Keeps a row for a later run; what was written is whole even if the program is killed."""
        path = self._path(identity)
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_suffix(".tmp")
            temporary.write_text(json.dumps(asdict(row)))
            temporary.replace(path)

    def clear(self) -> None:
        """Forgets all rows."""
        if self._folder is not None and self._folder.is_dir():
            for path in self._folder.glob("*.json"):
                path.unlink()

    def _path(self, identity: Iterable[str]) -> Path | None:
        key = hashlib.sha256(json.dumps(list(identity)).encode()).hexdigest()[:32]
        return None if self._folder is None else self._folder / f"{key}.json"
