"""I frames in blocks: docs/bitstream.md, section 5.9."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ssvc_codec.entropy.blocks import EVEN, IS_EVEN, N_BLOCKS, N_CHANNELS, ODD, block_neighbours
from ssvc_codec.entropy.key_blocks import BROAD, FINE, FIRST, MEANS, SECOND, broad_inputs, fine_inputs, key_class
from ssvc_codec.entropy.key_heads import KEY_HEADS, IntegerKeyHeads
from ssvc_codec.entropy.tables import LAPLACE_MIN
from ssvc_codec.errors import BitstreamError, ModelError
from ssvc_codec.frame import Frame, VideoFormat
from ssvc_codec.inference import intra
from ssvc_codec.inference.block_rows import blocks_to_rows
from ssvc_codec.inference.intra import IntraCoder
from ssvc_codec.inference.key_blocks import KeyBlockCoder, KeySymbols, load_key_blocks
from ssvc_codec.inference.merge_coding import CellGrid
from ssvc_codec.inference.planes import frame_to_tensor
from ssvc_codec.nets.intra import IntraConfig, IntraNet
from ssvc_codec.nets.laplace import LAPLACE_STEP
from ssvc_codec.training.export import export_intra, import_intra
from ssvc_codec.weights import load_model

ROWS, COLUMNS = 3, 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, small_intra: IntraConfig) -> Path:
    """A model with fresh networks, whose heads are no constants."""
    torch.manual_seed(5)
    net = IntraNet(replace(small_intra, blocks=16))
    assert net.blocks is not None
    with torch.no_grad():
        for part in KEY_HEADS:
            head = net.blocks.head(part)
            head.weights[0].normal_(std=0.3)
            head.weights[2].normal_(std=1.0)
    path = tmp_path_factory.mktemp("blocks") / "m"
    export_intra(net, path, name="small", about={})
    return path


@pytest.fixture
def coder(folder: Path) -> KeyBlockCoder:
    model = load_model(str(folder))
    net = import_intra(model).blocks
    assert net is not None
    return load_key_blocks(net.eval().requires_grad_(False), model, "cpu")


def some_symbols(n: int, seed: int, *, scale: float = 6.0) -> KeySymbols:
    random = np.random.default_rng(seed)
    y = np.rint(random.laplace(0, scale, (n * N_BLOCKS, N_CHANNELS)) * random.random((n * N_BLOCKS, 1)) ** 4)
    y = y.astype(np.int32)
    size = np.abs(y)
    classes = key_class(size.sum(axis=1) - size[:, MEANS].sum(axis=1)).astype(np.int32)
    return KeySymbols(classes.reshape(n, -1), y.reshape(n, -1))


def groups() -> NDArray[np.uint16]:
    found = np.zeros((ROWS, COLUMNS), np.uint16)
    found[0, 1:3], found[2, 0] = 1, 2
    return found


def test_groups_in_blocks_come_back(coder: KeyBlockCoder) -> None:
    symbols, flat = some_symbols(ROWS * COLUMNS, 1), groups().reshape(-1)
    for group in range(3):
        rows = np.flatnonzero(flat == group)
        own, q, grid = KeySymbols(*symbols.take(rows)), np.full(rows.size, 17 + group), CellGrid(rows, COLUMNS)
        data = coder.write(own, q, grid)
        decoder = coder.coder.decoder(data)
        assert coder.is_in_blocks(decoder, q)
        again = coder.read(decoder, q, grid)
        np.testing.assert_array_equal(again.z, own.z)
        np.testing.assert_array_equal(again.y, own.y)


def test_tables_of_blocks_are_those_of_training(folder: Path, coder: KeyBlockCoder) -> None:
    net = import_intra(load_model(str(folder))).blocks
    assert net is not None
    symbols = some_symbols(ROWS * COLUMNS, 2)
    y = symbols.y.reshape(ROWS, COLUMNS, 4, 4, N_CHANNELS).transpose(4, 0, 2, 1, 3).reshape(N_CHANNELS, 4 * ROWS, -1)
    with torch.no_grad():
        scales, flags = net._scales(torch.from_numpy(y.copy()).float()[None], torch.tensor([36.0]), None)
    index = ((scales / LAPLACE_MIN).log() / LAPLACE_STEP).round()
    found, found_flags = blocks_to_rows(index), in_cells(flags)
    rows, q = np.flatnonzero(symbols.z.reshape(-1)), np.full(16 * ROWS * COLUMNS, 36)
    assert set(IS_EVEN[rows % N_BLOCKS]) == {True, False}
    beside = block_neighbours(np.arange(ROWS * COLUMNS), COLUMNS)
    expected = coder._all_tables(symbols.y.reshape(-1, N_CHANNELS), q, beside)
    for part in (FIRST, SECOND):
        np.testing.assert_array_equal(found[np.ix_(rows, part)], expected[np.ix_(rows, part)])
    np.testing.assert_array_equal(found_flags[:, EVEN], coder._even(q).reshape(-1, 8, 7))
    odd = coder._odd(symbols.z.reshape(-1).astype(np.int64), q, beside)
    np.testing.assert_array_equal(found_flags[:, ODD], odd.reshape(-1, 8, 7))
    means = symbols.y.reshape(-1, N_BLOCKS, N_CHANNELS)[:, :, MEANS].copy()
    means[1:, 0] -= means[:-1, 0].copy()
    broad = means[:, BROAD].reshape(means.shape[0], -1)
    of_means = found.reshape(-1, N_BLOCKS, N_CHANNELS)[:, :, MEANS]
    for part, inputs in (("broad", broad_inputs(symbols.z)), ("fine", fine_inputs(symbols.z, broad))):
        tables = coder.heads(part, inputs, np.full(means.shape[0], 36))
        components = BROAD if part == "broad" else FINE
        np.testing.assert_array_equal(of_means[:, components].reshape(tables.shape), tables)


def in_cells(x: torch.Tensor) -> NDArray[np.float32]:
    """(1, C, H/8, W/8) to (n, 16, C)."""
    channels = x.shape[1]
    cells = x[0].view(channels, ROWS, 4, COLUMNS, 4).permute(1, 3, 2, 4, 0)
    return cells.reshape(-1, N_BLOCKS, channels).numpy()


def test_a_level_beyond_16_bits_is_refused(coder: KeyBlockCoder) -> None:
    symbols = some_symbols(2, 3)
    symbols.y.reshape(2, N_BLOCKS, N_CHANNELS)[:, 0, 0] = (30000, 60000)
    q, grid = np.full(2, 40), CellGrid(np.arange(2), COLUMNS)
    decoder = coder.coder.decoder(coder.write(symbols, q, grid))
    assert coder.is_in_blocks(decoder, q)
    with pytest.raises(BitstreamError, match="level"):
        coder.read(decoder, q, grid)


def test_a_string_of_blocks_with_words_left_over_is_refused(coder: KeyBlockCoder) -> None:
    q, grid = np.full(2, 40), CellGrid(np.arange(2), COLUMNS)
    decoder = coder.coder.decoder(b"\x07\x00\x00\x00" + coder.write(some_symbols(2, 4), q, grid))
    if coder.is_in_blocks(decoder, q):
        with pytest.raises(BitstreamError, match="end"):
            coder.read(decoder, q, grid)


def test_heads_of_blocks_of_other_sizes_are_refused(folder: Path) -> None:
    model = load_model(str(folder))
    tensors = {
        part: dict(model.group(f"blocks.{part}")) for part in ("even", "odd", "broad", "fine", "first", "second")
    }
    IntegerKeyHeads(tensors)
    with pytest.raises(ModelError, match=r"blocks\.even"):
        IntegerKeyHeads(tensors | {"even": tensors["odd"]})


def test_a_model_without_blocks_has_no_symbol_for_them(tmp_path: Path, small_intra: IntraConfig) -> None:
    torch.manual_seed(5)
    export_intra(IntraNet(replace(small_intra, blocks=0)), tmp_path / "m", name="small", about={})
    model = load_model(str(tmp_path / "m"))
    assert not model.group("blocks")
    coder = IntraCoder(model, device="cpu", optimise=True)
    q, map_ = np.full((ROWS, COLUMNS), 40), groups()
    symbols = coder.encode(noise(), q, map_).symbols
    assert not any(isinstance(own, KeySymbols) for own in symbols.values())
    parts = symbols[1].z, symbols[1].y
    rows = np.flatnonzero(map_ == 1)
    tables = coder.head.z_indexes(q.reshape(-1)[rows]), coder.head.y_indexes(parts[0], q.reshape(-1)[rows])
    plain = coder.coder.encode([*zip(parts, tables, strict=True)])
    assert coder.write_groups(symbols, q, map_)[1] == plain


def noise() -> Frame:
    random = np.random.default_rng(9)
    height, width = 32 * ROWS, 32 * COLUMNS
    y, u, v = (
        random.integers(0, 256, s).astype(np.uint8) for s in ((height, width), *((height // 2, width // 2),) * 2)
    )
    return Frame(y, u, v, VideoFormat(width, height), pts=0, duration=1)


def test_a_group_without_cells_is_not_in_blocks(coder: KeyBlockCoder) -> None:
    nothing = np.empty(0, np.int64)
    assert not coder.is_in_blocks(coder.coder.decoder(b"\x01\x02\x03\x04"), nothing)
    assert coder.coder.encode([], head=coder.no_blocks(nothing)) == b""


def test_symbols_that_are_chosen_say_their_classes(coder: KeyBlockCoder) -> None:
    q = np.full((ROWS, COLUMNS), 50)
    found = coder.choose(frame_to_tensor(noise(), "cpu"), q, groups(), torch.tensor([50]))
    size = np.abs(found.y.reshape(-1, N_CHANNELS))
    total = size.sum(axis=1) - size[:, MEANS].sum(axis=1)
    np.testing.assert_array_equal(found.z.reshape(-1), key_class(total))


def test_a_group_in_blocks_is_decoded_by_itself_and_beside_latents(folder: Path) -> None:
    coder = IntraCoder(load_model(str(folder)), device="cpu", reduced_precision=False, optimise=True)
    q, map_ = np.full((ROWS, COLUMNS), 55), groups()
    frame = noise()
    latents = coder.latent_symbols(frame, q, map_)
    assert coder._blocks is not None
    found = coder._blocks.choose(frame_to_tensor(frame, "cpu"), q, map_, torch.tensor([55]))
    mixed = latents | {1: KeySymbols(*found.take(np.flatnonzero(map_ == 1)))}
    strings = coder.write_groups(mixed, q, map_)
    read = {
        group: coder.read(data, np.full(rows.size, 55), CellGrid(rows, COLUMNS))
        for group, data in strings.items()
        for rows in [np.flatnonzero(map_ == group)]
    }
    assert [isinstance(read[group], KeySymbols) for group in range(3)] == [False, True, False]
    whole, alone = coder.reconstruct(read, q, map_), coder.reconstruct({1: read[1]}, q, map_)
    inside = torch.from_numpy(map_ == 1).repeat_interleave(16, 0).repeat_interleave(16, 1)
    torch.testing.assert_close(whole[:, :, inside], alone[:, :, inside], atol=1e-5, rtol=0)
    assert float(alone[:, :, ~inside].abs().max()) == 0
    others = coder.reconstruct({k: v for k, v in read.items() if k != 1}, q, map_)
    torch.testing.assert_close(whole[:, :, ~inside], others[:, :, ~inside], atol=1e-5, rtol=0)
    values = coder.latents({1: read[1]}, q, map_)
    at16 = torch.from_numpy(map_ == 1).repeat_interleave(2, 0).repeat_interleave(2, 1)
    assert torch.isfinite(values[:, :, at16]).all()
    assert torch.isnan(values[:, :, ~at16]).all()


@pytest.mark.parametrize("n_groups", [1, 3])
def test_what_coding_has_made_is_what_its_symbols_make(
    folder: Path, n_groups: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intra, "MOST_BITS", np.inf)  # so that both ways are compared, of any networks
    coder = IntraCoder(load_model(str(folder)), device="cpu", optimise=True)
    q, map_ = np.full((ROWS, COLUMNS), 55), np.minimum(groups(), n_groups - 1)
    coded = coder.encode(noise(), q, map_)
    assert coded.strings == coder.write_groups(coded.symbols, q, map_)
    assert (coded.picture is not None) == (len({type(own) for own in coded.symbols.values()}) == 1)
    if coded.picture is not None:
        assert torch.equal(coded.picture, coder.reconstruct(coded.symbols, q, map_))
