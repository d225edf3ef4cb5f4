"""Tables of P frames that are counted over real encodes of clips: of merge indexes, own vectors (docs/bitstream.md,
section 5.7) and mended cells (5.8).

python -m ssvc_codec.training.counted_tables MODEL CLIPS OUT
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from ..bitstream import parse_packet
from ..encoder import Encoder
from ..entropy.plain_tables import MENDED_SHAPE, MERGE_SHAPES, plain_frequencies
from ..inference.latents import LatentCoder, Past
from ..inference.mended import MENDED, MendedFlags, without_symbols
from ..inference.merge_coding import CellGrid, MergeCoder
from ..inference.reference import InterReference
from ..nets.residual import MENDED_START
from .inter import HELD_OUT
from .real_validation import clip_frames
from .shards import Clip, read_shards
from .table_options import table_options

__all__ = ["COUNTED_SHAPES", "FIT_Q", "count_symbols", "counted_frequencies", "fit_tables", "start_tables"]

FIT_Q = (4, 12, 20, 28, 36, 44, 52, 60)  # one of each band
PRIOR = 20.0  # symbols that a row takes over from what all bands of q say, and these from what all rows say
# Rows and symbols of every tensor.
COUNTED_SHAPES = {f"merge.{name}": shape for name, shape in MERGE_SHAPES.items()} | {"residual.mended": MENDED_SHAPE}
# Likelihood of each symbol to start from.
START = {
    "merge.cell": (0.9, 0.1),
    "merge.first": (0.75, 0.25),
    "merge.second": (0.75, 0.25),
    "merge.index": (*(0.9 / 24,) * 24, 0.1),
    "merge.vector": (0.06, 0.03, 0.04, 0.06, 0.1, 0.16, 0.22, 0.23, 0.1),
    "residual.mended": MENDED_START,
}

Counts = dict[str, NDArray[np.float64]]


def start_tables(model: Path, out: Path) -> None:
    """A copy of a model folder, with tables that know nothing."""
    rows = {name: np.tile(np.array(START[name]), (shape[0], 1)) for name, shape in COUNTED_SHAPES.items()}
    _write(model, out, {name: plain_frequencies(weights) for name, weights in rows.items()})


def fit_tables(model: Path, clips: Sequence[Clip], out: Path, *, rounds: int = 2, device: str = "auto") -> Counts:
    """A copy of a model folder, with tables counted over clips; a round chooses by the tables of the one before.

    Returns the counts of the last round.
    """
    counts: Counts = {}
    start_tables(model, out)
    for _ in range(rounds):
        counts = count_symbols(str(out.resolve()), clips, device=device)
        _write(out, out, counted_frequencies(counts))
    return counts


def count_symbols(model: str, clips: Sequence[Clip], *, device: str = "auto") -> Counts:
    """How often each symbol of each row of each table is coded, (rows, symbols), over clips at every band of q."""
    counts = {name: np.zeros(shape) for name, shape in COUNTED_SHAPES.items()}
    for q in FIT_Q:
        for clip in clips:
            _count_clip(model, clip, q, device, counts)
    return counts


@torch.no_grad()
def _count_clip(model: str, clip: Clip, q: int, device: str, counts: Counts) -> None:
    frames = clip_frames(clip)
    first, n = frames[0], len(frames)
    settings = {"crf": 63 - q, "keyint": max(2, n), "scenecut": False, "model": model, "device": device}
    encoder = Encoder(first.format, time_base=first.time_base, **settings)
    before: InterReference | None = None
    for number, frame in enumerate(frames):
        (packet,) = encoder.send(frame)
        if number == 0:
            continue
        coded = encoder.p_frame
        assert coded is not None
        now = coded.reference
        grid = CellGrid(np.arange(now.groups.size), now.groups.shape[1])
        levels = np.full(now.groups.size, parse_packet(packet.data).header.q_index)
        symbols = now.motion.symbols
        known = np.full(now.groups.size, before is not None)
        earlier = symbols.merges() if before is None else before.motion.symbols.merges()
        context = LatentCoder.merge_context(levels, symbols.y, symbols._replace(merge=earlier), known, grid)
        for name, coded_symbols, rows in MergeCoder.parts(symbols.merges(), symbols.owns(), context):
            np.add.at(counts[f"merge.{name}"], (rows, coded_symbols), 1)
        residual = now.residual.symbols
        past = Past(residual if before is None else before.residual.symbols, known, symbols, np.full(known.size, True))
        free = without_symbols(residual.z)
        rows = MendedFlags.rows(levels, past)[free]
        np.add.at(counts["residual.mended"], (rows, residual.z[free, MENDED]), 1)
        before = now


def counted_frequencies(counts: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.uint32]]:
    """Tables of counts: what a row lacks it takes from the same row of all bands of q, and that from all rows."""
    tables: dict[str, NDArray[np.uint32]] = {}
    for name, values in counts.items():
        n_symbols = values.shape[1]
        bands = values.reshape(8, -1, n_symbols)
        everywhere = bands.sum(axis=(0, 1)) + PRIOR * np.array(START[name])
        same = bands.sum(axis=0) + PRIOR * everywhere / everywhere.sum()
        rows = bands + PRIOR * same / same.sum(axis=1, keepdims=True)
        tables[name] = plain_frequencies(rows.reshape(-1, n_symbols))
    return tables


def _write(model: Path, out: Path, tables: Mapping[str, NDArray[np.uint32]]) -> None:
    """A copy of a model folder with these tables."""
    tensors = load_file(model / "weights.safetensors") | dict(tables)
    config = json.loads((model / "config.json").read_text())
    config["inter"] = {**config["inter"], "merge": 1}
    out.mkdir(parents=True, exist_ok=True)
    save_file(tensors, out / "weights.safetensors")
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def main() -> None:
    """See the module."""
    arguments = table_options(__doc__, data="clips", every=10)
    clips = [clip for clip in read_shards(arguments.data) if clip.y.shape[0] > 1]
    training = [clip for number, clip in enumerate(clips) if number % HELD_OUT][:: arguments.every]
    counts = fit_tables(arguments.model, training, arguments.out, rounds=arguments.rounds, device=arguments.device)
    for name, values in counts.items():
        print(f"{name}: {int(values.sum())} symbols, {values[:, 1:].sum() / max(values.sum(), 1):.4f} of them not 0")


if __name__ == "__main__":
    main()
