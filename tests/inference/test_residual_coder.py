"""Strings of RESIDUAL: as training computes them, group by group, and damaged."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ssvc_codec.entropy import IntegerBlockHeads
from ssvc_codec.entropy.blocks import IS_EVEN, N_BLOCKS, N_CHANNELS, block_neighbours, busy_class
from ssvc_codec.entropy.class_flags import flag_frequencies
from ssvc_codec.entropy.offsets import N_OFFSETS
from ssvc_codec.entropy.plain_tables import PlainTables, plain_frequencies
from ssvc_codec.entropy.tables import LAPLACE_MIN, laplace_tables
from ssvc_codec.errors import BitstreamError, ModelError
from ssvc_codec.inference.latents import GroupSymbols, Maps, Past, Substream
from ssvc_codec.inference.merge_coding import CellGrid
from ssvc_codec.inference.residual import ResidualCoder
from ssvc_codec.inference.rows import rows_by_group
from ssvc_codec.nets.block_entropy import BlockSymbols, _class_prices
from ssvc_codec.nets.half import InterConfig
from ssvc_codec.nets.laplace import LAPLACE_STEP
from ssvc_codec.nets.masking import BorderMask
from ssvc_codec.nets.residual import ResidualCodec

ROWS, COLUMNS = 3, 4
GROUPS = np.array([[0, 0, 1, 1], [0, 2, 2, 1], [0, 0, 0, 0]])
N = ROWS * COLUMNS


def integers(codec: ResidualCodec) -> list[dict[str, NDArray[np.int32]]]:
    """Of the heads in the order of IntegerBlockHeads."""
    of = codec.entropy
    heads = (of.even_head, of.odd_head, of.first_head, of.second_head)
    return [{name: value.numpy() for name, value in head.export().items()} for head in heads]


@pytest.fixture(scope="module")
def codec() -> ResidualCodec:
    torch.manual_seed(0)
    codec = ResidualCodec(InterConfig(analysis_width=16, mend_width=8)).eval()
    with torch.no_grad():
        for name, parameter in codec.entropy.named_parameters():
            parameter.add_(torch.randn_like(parameter) * (2.0 if "offset" in name else 0.05))
    return codec


@pytest.fixture(scope="module")
def coder(codec: ResidualCodec) -> ResidualCoder:
    flags = PlainTables(flag_frequencies(), name="flags")
    offsets = PlainTables(plain_frequencies(codec.offset_tables.counts.numpy()), name="offsets")
    return ResidualCoder(codec, IntegerBlockHeads(*integers(codec)), laplace_tables(), flags, offsets, device="cpu")


def random_symbols(seed: int, busy: float = 0.4) -> GroupSymbols:
    random = np.random.default_rng(seed)
    y = np.rint(random.laplace(size=(N * N_BLOCKS, N_CHANNELS)) * random.exponential(0.7, (N * N_BLOCKS, 1)))
    y = np.where(random.random((N * N_BLOCKS, 1)) < busy, y, 0).astype(np.int32)
    z = busy_class(np.abs(y).sum(axis=1)).astype(np.int32)
    offsets = np.where(random.random((N, N_OFFSETS)) < busy, random.integers(-7, 8, (N, N_OFFSETS)), 0).astype(np.int32)
    return GroupSymbols(np.concatenate([z.reshape(N, -1), offsets], axis=1), y.reshape(N, -1))


def past_of(seed: int) -> Past:
    random = np.random.default_rng(seed)
    merge = np.where(random.random((N, 16)) < 0.3, random.integers(1, 25, (N, 16)), 0).astype(np.int32)
    motion = GroupSymbols(np.zeros((N, 8), np.int32), random.integers(-2, 3, (N, 128)).astype(np.int32), merge)
    known = np.isin(GROUPS.reshape(-1), [0, 2])  # of group 1 nothing is
    return Past(random_symbols(seed), known, motion, np.ones(N, np.bool_))


def grid_of(rows: NDArray[np.intp]) -> CellGrid:
    return CellGrid(rows, COLUMNS)


def test_strings_of_groups_come_back(coder: ResidualCoder) -> None:
    q = np.where(GROUPS.reshape(-1) == 1, 50, 20)
    symbols, past = random_symbols(1), past_of(2)
    n_bits = 0
    for _, rows in rows_by_group(GROUPS):
        own, grid = past.take(rows), grid_of(rows)
        data = coder.write(symbols.take(rows), q[rows], own, grid)
        n_bits += 8 * len(data)
        (found,) = coder.read([Substream(data, q[rows], own, False, grid)])
        assert not isinstance(found, BitstreamError)
        np.testing.assert_array_equal(found[0].z, symbols.z[rows])
        np.testing.assert_array_equal(found[0].y, symbols.y[rows])
    known = coder.whole(Maps(q.reshape(ROWS, COLUMNS), torch.zeros(1), None), GROUPS, past, symbols)
    priced = coder.cell_bits(symbols, known, past)
    assert float(priced.sum()) == pytest.approx(n_bits, abs=3 * 40)  # of each string, whole words and a rest of state


@pytest.mark.parametrize("grouped", [False, True])
def test_tables_are_those_of_training(codec: ResidualCodec, coder: ResidualCoder, grouped: bool) -> None:
    past, symbols, q = past_of(3), random_symbols(4), 37
    groups = GROUPS if grouped else np.zeros_like(GROUPS)
    mask = BorderMask(torch.from_numpy(groups.repeat(4, 0).repeat(4, 1)))

    def at8(y: NDArray[np.int32]) -> torch.Tensor:
        blocks = torch.from_numpy(y.astype(np.float32)).view(ROWS, COLUMNS, 4, 4, N_CHANNELS)
        return blocks.permute(4, 0, 2, 1, 3).reshape(1, N_CHANNELS, 4 * ROWS, 4 * COLUMNS)

    known = torch.from_numpy(past.known.astype(np.float32)).view(1, 1, ROWS, COLUMNS)
    before = BlockSymbols(at8(past.symbols.y), known, torch.zeros(1, N_OFFSETS, ROWS, COLUMNS))
    assert past.other is not None
    motion = torch.from_numpy(past.other.y.astype(np.float32)).view(ROWS, COLUMNS, 2, 2, 32)
    motion = motion.permute(4, 0, 2, 1, 3).reshape(1, 32, 2 * ROWS, 2 * COLUMNS)
    merged = torch.from_numpy(past.other.merges() != 0).view(ROWS, COLUMNS, 4, 4).permute(0, 2, 1, 3)
    merged = merged.reshape(1, 1, 4 * ROWS, 4 * COLUMNS).float()
    entropy, known_at8 = codec.entropy, known.repeat_interleave(4, 2).repeat_interleave(4, 3)
    with torch.no_grad():
        of = entropy._past(before, known_at8, motion, merged)
        scales, busy = entropy._scales(at8(symbols.y), of, torch.tensor([float(q)]), mask)
        offsets = torch.from_numpy(symbols.z[:, N_BLOCKS:]).float().view(1, ROWS, COLUMNS, -1).permute(0, 3, 1, 2)
        flags = entropy._flags(busy, entropy._class_inputs(of, offsets, mask), torch.tensor([float(q)]), mask)
        prices = _class_prices(flags)
    index = ((scales / LAPLACE_MIN).log() / LAPLACE_STEP).round().clamp(1, 63).long()

    def rows_of(x: torch.Tensor) -> NDArray[np.float64]:
        cells = x[0].view(x.shape[1], ROWS, 4, COLUMNS, 4).permute(1, 3, 2, 4, 0)
        return cells.reshape(N * N_BLOCKS, -1).double().numpy()

    of_blocks = coder.whole(Maps(np.full((ROWS, COLUMNS), q), torch.zeros(1), None), groups, past, symbols)
    coded = coder.busy(symbols.z[:, :N_BLOCKS].reshape(-1).astype(np.int64), of_blocks)
    every = np.arange(N * N_BLOCKS)
    found = coder.symbol_tables(coded, of_blocks, symbols.y.reshape(-1, N_CHANNELS), every)
    np.testing.assert_array_equal(found, rows_of(index))
    assert len(np.unique(found)) > 10
    np.testing.assert_array_equal(coded.classes, rows_of(busy)[:, 0])
    even = np.resize(IS_EVEN, N * N_BLOCKS)
    np.testing.assert_array_equal(of_blocks.even, rows_of(flags)[even])
    np.testing.assert_array_equal(coder.odd_flags(coded.classes, of_blocks), rows_of(flags)[~even])
    assert len(np.unique(rows_of(flags))) > 10
    np.testing.assert_allclose(coder.class_bits(coded.classes, of_blocks), rows_of(prices), atol=2e-3)


@pytest.mark.parametrize("part", ["classes", "offsets", "past", "motion"])
def test_flags_of_a_group_follow_from_its_own_integers(coder: ResidualCoder, part: str) -> None:
    other = GROUPS.reshape(-1) == 1
    past = past_of(9)._replace(known=np.ones(N, np.bool_))
    symbols, motion = random_symbols(10), past.other
    assert motion is not None
    changed_symbols, changed_past = symbols, past
    if part == "past":
        busier = past.symbols._replace(z=np.where(other[:, None], 7 - past.symbols.z, past.symbols.z))
        changed_past = past._replace(symbols=busier)
    elif part == "motion":
        changed_past = past._replace(other=motion._replace(y=np.where(other[:, None], motion.y + 9, motion.y)))
    else:
        columns = np.arange(symbols.z.shape[1]) < N_BLOCKS
        chosen = other[:, None] & (columns if part == "classes" else ~columns)
        changed_symbols = symbols._replace(z=np.where(chosen, 7 - symbols.z, symbols.z))

    def bits(symbols: GroupSymbols, past: Past) -> NDArray[np.float32]:
        known = coder.whole(Maps(np.full((ROWS, COLUMNS), 30), torch.zeros(1), None), GROUPS, past, symbols)
        classes = symbols.z[:, :N_BLOCKS].reshape(-1).astype(np.int64)
        return coder.class_bits(classes, known).reshape(N, N_BLOCKS, -1)

    before, after = bits(symbols, past), bits(changed_symbols, changed_past)
    np.testing.assert_array_equal(before[~other], after[~other])
    assert (before[other] != after[other]).any()


def test_neighbours_are_those_of_the_group() -> None:
    rows = np.array([1, 2])  # two cells side by side
    beside = block_neighbours(rows, COLUMNS)
    assert beside[0].tolist() == [32, 32, 32, 32, 1, 32, 4, 5]  # the corner of the first
    assert beside[3].tolist() == [32, 32, 32, 2, 16, 6, 7, 20]  # its right edge: the second begins at 16
    apart = block_neighbours(rows, COLUMNS, np.array([0, 1]))
    assert apart[3].tolist() == [32, 32, 32, 2, 32, 6, 7, 32]


def test_zeros_are_the_empty_string(coder: ResidualCoder) -> None:
    rows = np.arange(N)
    zeros, past, q = coder.nothing(N).symbols, past_of(5), np.full(N, 30)
    assert coder.write(zeros, q, past, grid_of(rows)) == b""
    (found,) = coder.read([Substream(b"", q, past, False, grid_of(rows))])
    assert not isinstance(found, BitstreamError)
    assert not found[0].y.any()
    assert not found[0].z.any()


def test_damaged_strings_are_errors_or_other_symbols(coder: ResidualCoder) -> None:
    rows, q, past = np.arange(N), np.full(N, 30), past_of(6)
    data = coder.write(random_symbols(7), q, past, grid_of(rows))
    random = np.random.default_rng(8)
    n_errors = 0
    for number in range(60):
        changed = bytearray(data)
        if number % 3:
            changed[int(random.integers(len(data)))] ^= 1 << int(random.integers(8))
        else:
            del changed[int(random.integers(len(data))) :]
        (found,) = coder.read([Substream(bytes(changed), q, past, False, grid_of(rows))])
        n_errors += isinstance(found, BitstreamError)
        if not isinstance(found, BitstreamError):
            assert found[0].y.shape == (N, N_BLOCKS * N_CHANNELS)
    assert n_errors > 30


def test_heads_of_other_sizes_are_refused(codec: ResidualCodec) -> None:
    even, odd, first, second = integers(codec)
    for heads in ((even, odd, second, first), (odd, even, first, second)):
        with pytest.raises(ModelError, match="sizes"):
            IntegerBlockHeads(*heads)
    for head in (even, odd, first, second):
        changed = [of | {"weight2": of["weight2"] * 10000} if of is head else of for of in (even, odd, first, second)]
        with pytest.raises(ModelError, match=r"2\*\*23\.5"):
            IntegerBlockHeads(*changed)


def test_the_known_answer_changes_with_any_head(codec: ResidualCodec) -> None:
    heads = integers(codec)
    answers = {IntegerBlockHeads(*heads).known_answer()}
    for k in range(4):
        changed = [of | {"bias3": of["bias3"] + 1024} if i == k else of for i, of in enumerate(heads)]
        answers.add(IntegerBlockHeads(*changed).known_answer())
    assert len(answers) == 5


def test_flags_may_have_table_0_and_symbols_may_not(codec: ResidualCodec) -> None:
    lowest = IntegerBlockHeads(*(of | {"bias3": of["bias3"] - 2**20} for of in integers(codec)))
    q = np.full(5, 30)
    heads = ((lowest.even, 28, 0), (lowest.odd, 36, 0), (lowest.first, 26, 1), (lowest.second, 43, 1))
    for head, n_inputs, least in heads:
        assert (head(np.zeros((5, n_inputs), np.float32), q) == least).all()
