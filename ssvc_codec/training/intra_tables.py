"""Probability tables of I frames, counted over real encodes of pictures (docs/bitstream.md, section 5.3).

python -m ssvc_codec.training.intra_tables MODEL STILLS OUT
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from ..entropy.tables import N_TABLES, PRECISION, gaussian_tables
from ..frame import Frame, VideoFormat
from ..inference.intra import IntraCoder
from ..weights import load_model
from .shards import Clip, read_shards, split_pictures
from .table_options import table_options

__all__ = ["FIT_Q", "coded_bits_of", "count_symbols", "counted_tables", "fit_intra_tables"]

FIT_Q = (4, 12, 20, 28, 36, 44, 52, 60)
# Symbols that each row takes over from the Gaussian. After 1035 stills 10 to 4000 are alike to 0.01 % on held-out ones;
# with a hundredth of their symbols 1000 codes 0.07 % better than 10.
PRIOR = 1000.0
# Tables reach further than the Gaussian ones, whose tails are too light: 0.12 % of the bits of held-out stills. Further
# still gains nothing.
FURTHER = 16
MAGNITUDES = 1024  # counted apart; what is larger is escaped by every table
ESCAPE_BITS = 16

Tables = Sequence[NDArray[np.uint32]]
Counts = NDArray[np.float64]


def fit_intra_tables(
    model: Path, pictures: Sequence[Clip], out: Path, *, rounds: int = 2, device: str = "cpu"
) -> tuple[Counts, Tables]:
    """A copy of a model folder, with tables counted over pictures.

    A round chooses symbols by the tables of the one before. Returns the counts of the last round, and the tables.
    """
    out.mkdir(parents=True, exist_ok=True)
    if model.resolve() != out.resolve():
        for name in ("config.json", "weights.safetensors"):
            shutil.copyfile(model / name, out / name)
    counts, tables = np.zeros((len(FIT_Q), N_TABLES, MAGNITUDES)), gaussian_tables()
    for _ in range(rounds):
        counts = count_symbols(out, pictures, device=device)
        tables = counted_tables(_levelled(counts))
        _write(out, tables)
    return counts, tables


def count_symbols(model: Path, pictures: Sequence[Clip], *, device: str = "cpu") -> Counts:
    """How often each magnitude is coded by each table at each of FIT_Q: (8, 64, 1024).

    Both hyper-latents and latents count. pictures: their first frames.
    """
    coder = IntraCoder(load_model(str(model.resolve())), device=device, reduced_precision=False, optimise=True)
    counts = np.zeros((len(FIT_Q), N_TABLES, MAGNITUDES))
    for clip in pictures:
        height, width = clip.y.shape[1:]
        y, u, v = (plane[0].cpu().numpy() for plane in clip[:3])
        frame = Frame(y, u, v, VideoFormat(width, height))
        grid = (-(-height // 32), -(-width // 32))
        for level, q_index in zip(counts, FIT_Q, strict=True):
            q = np.full(grid, q_index)
            symbols = coder.latent_symbols(frame, q, np.zeros(grid, np.uint16))[0]
            _add(level, symbols.z, coder.head.z_indexes(q.reshape(-1)))
            _add(level, symbols.y, coder.head.y_indexes(symbols.z, q.reshape(-1)))
    return counts


def _add(counts: Counts, symbols: NDArray[np.int32], indexes: NDArray[np.uint8]) -> None:
    magnitudes = np.minimum(np.abs(symbols), MAGNITUDES - 1)
    flat = indexes.astype(np.int64).reshape(-1) * MAGNITUDES + magnitudes.reshape(-1)
    counts += np.bincount(flat, minlength=counts.size).reshape(counts.shape)


def _levelled(counts: Counts) -> Counts:
    """Counts of all q together, (64, 1024), so that a share of the bits of each q weighs alike."""
    bits = np.array([coded_bits_of(level, gaussian_tables()) for level in counts])
    weights = np.divide(bits.mean(), bits, out=np.ones_like(bits), where=bits > 0)
    return np.einsum("q,qts->ts", weights, counts)


def counted_tables(counts: Counts) -> list[NDArray[np.uint32]]:
    """Tables of counts (64, magnitudes), with the Gaussian ones for what a row lacks. They are symmetric."""
    return [_counted(row, gaussian) for row, gaussian in zip(counts, gaussian_tables(), strict=True)]


def _counted(counts: Counts, gaussian: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """One table: (2 K + 2,). counts: (magnitudes,)."""
    narrow = gaussian.size // 2 - 1
    reach = min(2 * narrow + 1, narrow + FURTHER)
    prior = np.zeros(reach + 2)  # of 0, 1, .. K, escape
    prior[: narrow + 1] = gaussian[:-1:2]
    prior[1:] *= 2
    prior[narrow + 1 :] = gaussian[-1] / (reach + 1 - narrow)  # what the Gaussian escapes, shared out
    seen = np.append(counts[: reach + 1], counts[reach + 1 :].sum())
    weights = seen + PRIOR * prior / prior.sum()
    share = weights / weights.sum() * 2**PRECISION
    sides = np.maximum(1, np.round(share[1:-1] / 2)).astype(np.int64)
    escape = max(1, round(share[-1]))
    table = np.concatenate([[0], sides.repeat(2), [escape]])
    table[0] = 2**PRECISION - table.sum()
    return table.astype(np.uint32)


def coded_bits_of(counts: Counts, tables: Tables) -> float:
    """Bits that symbols cost by tables. counts: (64, magnitudes) of each table; table 0 codes nothing."""
    total = 0.0
    for row, table in zip(counts[1:], tables[1:], strict=True):
        bits = PRECISION - np.log2(table.astype(np.float64))
        half = bits[:-1:2]
        total += float(row[: half.size] @ half[: row.size] + row[half.size :].sum() * (bits[-1] + ESCAPE_BITS))
    return total


def _write(folder: Path, tables: Tables) -> None:
    """Puts tables in place of those of a model folder."""
    tensors = load_file(folder / "weights.safetensors")
    tensors["tables.sizes"] = np.array([table.size for table in tables], dtype=np.int32)
    tensors["tables.frequencies"] = np.concatenate(tables)
    save_file(tensors, folder / "weights.safetensors")


def main() -> None:
    """See the module."""
    arguments = table_options(__doc__, data="stills", every=8)
    _, training, videos = split_pictures(read_shards(arguments.data))
    pictures = (training + videos)[:: arguments.every]
    counts, tables = fit_intra_tables(
        arguments.model, pictures, arguments.out, rounds=arguments.rounds, device=arguments.device
    )
    gaussian = gaussian_tables()
    for q_index, level in zip(FIT_Q, counts, strict=True):
        bits, before = coded_bits_of(level, tables), coded_bits_of(level, gaussian)
        print(f"q {q_index}: {bits / 8:.0f} bytes, {100 * (bits / max(before, 1) - 1):+.2f} % of Gaussian tables")


if __name__ == "__main__":
    main()
