"""Strings of RESIDUAL: as training computes them, group by group, and damaged."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ssvc_codec.entropy import IntegerBlockHeads
from ssvc_codec.entropy.blocks import IS_EVEN, N_BLOCKS, N_CHANNELS, block_neighbours, busy_class
from ssvc_codec.entropy.class_flags import flag_frequencies
from ssvc_codec.entropy.offsets import LEVELS, N_OFFSETS, SLOPES, cell_neighbours
from ssvc_codec.entropy.plain_tables import MENDED_SHAPE, PlainTables, plain_frequencies
from ssvc_codec.entropy.tables import LAPLACE_MIN, laplace_tables
from ssvc_codec.errors import BitstreamError, ModelError
from ssvc_codec.inference.latents import GroupSymbols, Maps, Past, Substream
from ssvc_codec.inference.mended import MENDED, OFFSETS, MendedFlags, without_symbols
from ssvc_codec.inference.merge_coding import CellGrid
from ssvc_codec.inference.residual import ResidualCoder
from ssvc_codec.inference.rows import rows_by_group, z_rows
from ssvc_codec.nets.block_entropy import BlockSymbols, class_bits
from ssvc_codec.nets.half import InterConfig
from ssvc_codec.nets.laplace import LAPLACE_STEP
from ssvc_codec.nets.masking import BorderMask
from ssvc_codec.nets.offsets import STEP_WORTH
from ssvc_codec.nets.residual import ResidualCodec

ROWS, COLUMNS = 3, 4
GROUPS = np.array([[0, 0, 1, 1], [0, 2, 2, 1], [0, 0, 0, 0]])
N = ROWS * COLUMNS


def integers(codec: ResidualCodec) -> list[dict[str, NDArray[np.int32]]]:
    """Of the heads in the order of IntegerBlockHeads."""
    of, offsets = codec.entropy, codec.offset_entropy
    heads = (offsets.level_head, offsets.slope_head, of.even_head, of.odd_head, of.first_head, of.second_head)
    return [{name: value.numpy() for name, value in head.export().items()} for head in heads]


@pytest.fixture(scope="module")
def codec() -> ResidualCodec:
    torch.manual_seed(0)
    codec = ResidualCodec(InterConfig(analysis_width=16, mend_width=8)).eval()
    with torch.no_grad():
        for part in (codec.entropy, codec.offset_entropy):
            for name, parameter in part.named_parameters():
                parameter.add_(torch.randn_like(parameter) * (2.0 if "offset" in name else 0.05))
    return codec


@pytest.fixture(scope="module")
def coder(codec: ResidualCodec) -> ResidualCoder:
    flags = PlainTables(flag_frequencies(), name="flags")
    mended = MendedFlags(PlainTables(plain_frequencies(np.random.default_rng(0).random(MENDED_SHAPE)), name="mended"))
    return ResidualCoder(codec, IntegerBlockHeads(*integers(codec)), laplace_tables(), flags, mended, device="cpu")


def random_symbols(seed: int, busy: float = 0.4) -> GroupSymbols:
    random = np.random.default_rng(seed)
    y = np.rint(random.laplace(size=(N * N_BLOCKS, N_CHANNELS)) * random.exponential(0.7, (N * N_BLOCKS, 1)))
    y = np.where(random.random((N * N_BLOCKS, 1)) < busy, y, 0).astype(np.int32)
    z = busy_class(np.abs(y).sum(axis=1)).astype(np.int32)
    offsets = np.where(random.random((N, N_OFFSETS)) < busy, random.integers(-7, 8, (N, N_OFFSETS)), 0).astype(np.int32)
    classes = np.where(random.random((N, 1)) < 0.3, 0, z.reshape(N, -1))
    y = np.where(classes.reshape(-1, 1) > 0, y, 0)
    mended = ~classes.any(axis=1) & (random.random(N) < 0.5)
    z = np.concatenate([classes, offsets, mended[:, None]], axis=1).astype(np.int32)
    return GroupSymbols(z, y.reshape(N, -1))


def past_of(seed: int) -> Past:
    random = np.random.default_rng(seed)
    merge = np.where(random.random((N, 16)) < 0.3, random.integers(1, 25, (N, 16)), 0).astype(np.int32)
    motion = GroupSymbols(np.zeros((N, 8), np.int32), random.integers(-2, 3, (N, 128)).astype(np.int32), merge)
    known = np.isin(GROUPS.reshape(-1), [0, 2])  # of group 1 nothing is
    return Past(random_symbols(seed), known, motion, np.ones(N, np.bool_))


def grid_of(rows: NDArray[np.intp]) -> CellGrid:
    return CellGrid(rows, COLUMNS)


def beside_of(groups: NDArray[np.integer]) -> NDArray[np.int64]:
    return cell_neighbours(np.arange(N), COLUMNS, groups.reshape(-1))


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
    priced = coder.cell_bits(symbols, known, past, beside_of(GROUPS))
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
        offsets = torch.from_numpy(symbols.z[:, OFFSETS]).float().view(1, ROWS, COLUMNS, -1).permute(0, 3, 1, 2)
        flags = entropy._flags(busy, entropy._class_inputs(of, offsets, mask), torch.tensor([float(q)]), mask)
        prices = class_bits(flags)
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


@pytest.mark.parametrize("grouped", [False, True])
def test_offsets_and_their_tables_are_those_of_training(
    codec: ResidualCodec, coder: ResidualCoder, grouped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ssvc_codec.inference.offsets.OFFSET_WORTH", STEP_WORTH)
    past, q = past_of(11), 37
    assert past.other is not None
    groups = GROUPS if grouped else np.zeros_like(GROUPS)

    def picture(rows: NDArray[Any], side: int) -> torch.Tensor:
        cells = torch.from_numpy(rows.astype(np.float32)).view(ROWS, COLUMNS, side, side, -1)
        return cells.permute(4, 0, 2, 1, 3).reshape(1, -1, side * ROWS, side * COLUMNS)

    z = past.symbols.z
    before = BlockSymbols(picture(past.symbols.y, 4), picture(past.known, 1), picture(z[:, OFFSETS], 1))
    merged, motion = picture(past.other.merges() != 0, 4), picture(past.other.y, 2)
    mask, missing = BorderMask(torch.from_numpy(groups)), torch.from_numpy(smooth_noise(12))
    entropy, at = codec.offset_entropy, torch.tensor([float(q)])
    with torch.no_grad():
        found = entropy(missing, at, before, motion, merged, mask)
        inputs = entropy._inputs(before, motion, merged, mask)
        slopes = entropy._slope_inputs(inputs, found.symbols[:, LEVELS])
        index = [entropy.level_head.index(inputs, at), entropy.slope_head.index(slopes, at)]
    maps = Maps(np.full((ROWS, COLUMNS), q), at, None)
    chosen = coder.choose_offsets(missing, maps, past, beside_of(groups)).z[:, OFFSETS]
    symbols = z_rows(found.symbols)
    assert (chosen != symbols).mean() < 0.1  # escapes are cheaper than training takes them to be
    assert len(np.unique(symbols)) > 5
    tables = coder._offsets.tables(symbols, maps.q.reshape(-1), past, beside_of(groups))
    for part, expected in zip((LEVELS, SLOPES), index, strict=True):
        np.testing.assert_array_equal(tables[:, part], z_rows(expected.clamp_min(1)))
    assert len(np.unique(tables)) > 8


def smooth_noise(seed: int) -> NDArray[np.float32]:
    """(1, 6, H/2, W/2): what a level and slopes may be worth for."""
    random = np.random.default_rng(seed)
    coarse = 0.02 * random.normal(size=(1, 6, 2 * ROWS, 2 * COLUMNS)).astype(np.float32)
    return coarse.repeat(8, 2).repeat(8, 3)


def test_offsets_of_a_group_follow_from_its_own_integers(coder: ResidualCoder) -> None:
    other = GROUPS.reshape(-1) == 1
    past, q = past_of(13)._replace(known=np.ones(N, np.bool_)), np.full(N, 30)
    assert past.other is not None
    changed = past._replace(
        symbols=past.symbols._replace(z=np.where(other[:, None], 7 - past.symbols.z, past.symbols.z)),
        other=past.other._replace(y=np.where(other[:, None], past.other.y + 9, past.other.y)),
    )
    offsets = random_symbols(14).z[:, OFFSETS]
    before, after = (coder._offsets.tables(offsets, q, p, beside_of(GROUPS)) for p in (past, changed))
    np.testing.assert_array_equal(before[~other], after[~other])
    assert (before[other] != after[other]).any()


@pytest.mark.parametrize("place", [0, 8])
def test_offsets_beyond_seven_are_refused(coder: ResidualCoder, place: int) -> None:
    rows, q, past = np.arange(N), np.full(N, 30), past_of(15)
    for value, is_right in ((7, True), (-7, True), (8, False), (-300, False)):
        symbols = random_symbols(16)
        symbols.z[5, N_BLOCKS + place] = value
        data = coder.write(symbols, q, past, grid_of(rows))
        (found,) = coder.read([Substream(data, q, past, False, grid_of(rows))])
        assert isinstance(found, BitstreamError) != is_right


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


def test_flags_of_mended_cells_follow_from_the_frame_before_and_motion(coder: ResidualCoder) -> None:
    past = past_of(17)
    assert past.other is not None
    z, q = past.symbols.z, np.arange(N) * 5
    z[:2, :N_BLOCKS], z[:2, MENDED] = 0, (0, 1)
    rows = coder.mended.rows(q, past)
    for cell, row in enumerate(rows.tolist()):
        busy, moved = bool(z[cell, :N_BLOCKS].any()), int(np.abs(past.other.y[cell]).sum())
        state = 0 if not past.known[cell] else 3 if busy else 1 + int(z[cell, MENDED])
        assert row == 16 * (int(q[cell]) // 8) + 4 * state + sum(moved >= edge for edge in (1, 4, 12))
    assert len({row // 4 % 4 for row in rows.tolist()}) == 4


def test_a_cell_with_symbols_has_no_flag(coder: ResidualCoder) -> None:
    rows, q, past = np.arange(N), np.full(N, 30), past_of(18)
    symbols = random_symbols(19)
    flagged = coder.with_flags(symbols, np.ones(N, np.bool_))
    (found,) = coder.read([Substream(coder.write(flagged, q, past, grid_of(rows)), q, past, False, grid_of(rows))])
    assert not isinstance(found, BitstreamError)
    free = without_symbols(symbols.z)
    assert 0 < free.sum() < N
    np.testing.assert_array_equal(found[0].z[:, MENDED], free)


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
    own = integers(codec)
    level, slope, even, odd, first, second = own
    for heads in (
        (level, slope, even, odd, second, first),
        (level, slope, odd, even, first, second),
        (slope, level, even, odd, first, second),
    ):
        with pytest.raises(ModelError, match="sizes"):
            IntegerBlockHeads(*heads)
    for head in own:
        changed = [of | {"weight2": of["weight2"] * 10000} if of is head else of for of in own]
        with pytest.raises(ModelError, match=r"2\*\*23\.5"):
            IntegerBlockHeads(*changed)


def test_the_known_answer_changes_with_any_head(codec: ResidualCodec) -> None:
    heads = integers(codec)
    answers = {IntegerBlockHeads(*heads).known_answer()}
    for k in range(6):
        changed = [of | {"bias3": of["bias3"] + 1024} if i == k else of for i, of in enumerate(heads)]
        answers.add(IntegerBlockHeads(*changed).known_answer())
    assert len(answers) == 7


def test_flags_may_have_table_0_and_symbols_may_not(codec: ResidualCodec) -> None:
    lowest = IntegerBlockHeads(*(of | {"bias3": of["bias3"] - 2**20} for of in integers(codec)))
    q = np.full(5, 30)
    flags = ((lowest.even, 28, 0), (lowest.odd, 36, 0))
    symbols = ((lowest.level, 34, 1), (lowest.slope, 40, 1), (lowest.first, 26, 1), (lowest.second, 43, 1))
    for head, n_inputs, least in flags + symbols:
        assert (head(np.zeros((5, n_inputs), np.float32), q) == least).all()
