"""Tables of I frames that are counted over pictures, and kept by what is trained from them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ssvc_codec.entropy import SymbolCoder, gaussian_tables
from ssvc_codec.frame import Frame, VideoFormat
from ssvc_codec.inference.intra import IntraCoder
from ssvc_codec.inference.loading import load_tables
from ssvc_codec.inference.merge_coding import CellGrid
from ssvc_codec.nets.intra import IntraConfig, IntraNet
from ssvc_codec.training.export import export_intra, export_model, import_inter, import_intra
from ssvc_codec.training.intra import IntraTrainer, TrainOptions
from ssvc_codec.training.intra_tables import coded_bits_of, counted_tables, fit_intra_tables
from ssvc_codec.training.shards import Clip, read_shards, split_pictures
from ssvc_codec.weights import load_model

Tables = list[NDArray[np.uint32]]


def heavy_counts(n: int = 20000) -> NDArray[np.float64]:
    """Magnitudes of Laplace symbols, whose tails are heavier than the Gaussian ones: (64, 1024)."""
    random = np.random.default_rng(0)
    scales = 0.11 * (64 / 0.11) ** (np.arange(64) / 63)
    counts = [
        np.bincount(np.abs(np.round(random.laplace(scale=s / 2**0.5, size=n))).astype(int), minlength=1024)
        for s in scales
    ]
    return np.array([row[:1024] for row in counts], dtype=np.float64)


def assert_valid(tables: Tables) -> None:
    assert len(tables) == 64
    SymbolCoder(tables)  # refuses sums and frequencies that are wrong
    for table in tables:
        assert table.dtype == np.uint32
        assert np.array_equal(table[1:-1:2], table[2:-1:2])  # of -v and v


def assert_same(some: Tables, others: Tables) -> None:
    assert all(np.array_equal(a, b) for a, b in zip(some, others, strict=True))


@pytest.fixture(scope="module")
def counted() -> Tables:
    return counted_tables(heavy_counts())


@pytest.fixture
def fitted(tmp_path: Path, counted: Tables, model: str) -> str:
    """A folder with small networks for I and P frames, and counted tables."""
    start = load_model(model)
    intra = import_intra(start)
    intra.symbol_tables.put(counted)
    export_model(intra, import_inter(start), tmp_path / "fitted", name="fitted", about={})
    return str(tmp_path / "fitted")


def test_counted_tables_are_valid_and_reach_further(counted: Tables) -> None:
    assert_valid(counted)
    assert all(table.size > gaussian.size for table, gaussian in zip(counted, gaussian_tables(), strict=True))


def test_counted_tables_cost_less_than_gaussian_ones(counted: Tables) -> None:
    random = np.random.default_rng(1)
    counts = heavy_counts()
    assert coded_bits_of(counts, counted) < 0.98 * coded_bits_of(counts, gaussian_tables())
    symbols = np.round(random.laplace(scale=2, size=5000)).astype(np.int32)
    index = np.full(5000, 31, np.uint8)  # a standard deviation of 2.5
    narrow, wide = (len(SymbolCoder(tables).encode([(symbols, index)])) for tables in (gaussian_tables(), counted))
    assert wide < narrow
    row = np.zeros((64, 1024))
    row[31, :200] = np.bincount(np.abs(symbols), minlength=200)
    assert coded_bits_of(row, counted) / 8 == pytest.approx(wide, abs=8)


def test_rows_of_few_counts_stay_near_the_gaussian() -> None:
    counts = np.zeros((64, 1024))
    counts[20, 5] = 3
    for number, (table, gaussian) in enumerate(zip(counted_tables(counts), gaussian_tables(), strict=True)):
        half = gaussian.size // 2
        assert_valid([table] * 64)
        assert table[: gaussian.size - 1] == pytest.approx(gaussian[:-1].astype(float), rel=0.01, abs=2**17)
        if number != 20:
            assert table[:half] == pytest.approx(gaussian[:half].astype(float), rel=1e-3, abs=16)


def test_a_rare_large_magnitude_is_no_escape() -> None:
    counts = np.zeros((64, 1024))
    counts[5, [0, 3, 900]] = 1e6, 50, 4
    table = counted_tables(counts)[5]
    assert gaussian_tables()[5].size == 4
    assert table.size == 8
    assert table[5] == table[6] == pytest.approx(25e-6 * 2**24, rel=0.02)
    assert table[-1] == pytest.approx(4e-6 * 2**24, rel=0.1)


def test_tables_fitted_to_a_model_code_its_pictures_in_fewer_bytes(data: Path, tmp_path: Path, model: str) -> None:
    clips = list(read_shards(data))[:2]
    counts, tables = fit_intra_tables(Path(model), clips, tmp_path / "out", rounds=1)
    assert counts.sum() == 2 * 8 * 6 * (4 + 4 * 24)  # pictures, levels of q, cells, symbols of z and y
    assert_valid(list(tables))
    again = load_model(str(tmp_path / "out"))
    assert_same(load_tables(again), list(tables))
    assert all(np.array_equal(v, again.group("intra")[k]) for k, v in load_model(model).group("intra").items())

    frame, groups = first_frame(clips[0]), np.array([[0, 0, 1], [0, 1, 1]])
    q = np.full(groups.shape, 60)
    sizes = []
    for folder in (model, str(tmp_path / "out")):
        coder = IntraCoder(load_model(folder), device="cpu", reduced_precision=False)
        symbols = coder.latent_symbols(frame, q, groups)
        strings = coder.write_groups(symbols, q, groups)
        for group, string in strings.items():
            rows = np.flatnonzero(groups.reshape(-1) == group)
            read = coder.read(string, q.reshape(-1)[rows], CellGrid(rows, groups.shape[1]))
            assert np.array_equal(read.z, symbols[group].z)
            assert np.array_equal(read.y, symbols[group].y)
        sizes.append(sum(len(string) for string in strings.values()))
    assert sizes[1] < sizes[0]


def first_frame(clip: Clip) -> Frame:
    height, width = clip.y.shape[1:]
    y, u, v = (plane[0].numpy() for plane in clip[:3])
    return Frame(y, u, v, VideoFormat(width, height))


def test_a_model_may_be_fitted_in_place(data: Path, model: str) -> None:
    clips = list(read_shards(data))[:1]
    _, tables = fit_intra_tables(Path(model), clips, Path(model), rounds=1)
    assert_same(load_tables(load_model(model)), list(tables))
    assert load_model(model).config["name"] == "small"


@pytest.mark.parametrize("with_p", [True, False])
def test_counted_tables_are_kept_by_a_model_that_is_trained_on(
    tmp_path: Path, fitted: str, counted: Tables, with_p: bool
) -> None:
    start = load_model(fitted)
    inter = import_inter(start) if with_p else None
    export_model(import_intra(start), inter, tmp_path / "again", name="again", about={})
    again = load_model(str(tmp_path / "again"))
    assert_same(load_tables(again), counted)
    for name, values in start.group("tables").items():
        assert again.group("tables")[name].dtype == values.dtype


def test_training_of_i_frames_keeps_counted_tables_when_it_goes_on(
    tmp_path: Path, data: Path, fitted: str, counted: Tables
) -> None:
    values = {"data": data, "out": tmp_path / "run", "crop": 32, "batch": 2, "device": "cpu"}
    trainer = IntraTrainer(TrainOptions(**values, init=fitted))  # type: ignore[arg-type]
    trainer.step(0.1)
    trainer.validate()
    assert_same(load_tables(load_model(str(tmp_path / "run" / "model"))), counted)
    trainer.save()
    resumed = IntraTrainer(TrainOptions(**values, resume=True), config=trainer.net.config)  # type: ignore[arg-type]
    assert_same(resumed.net.symbol_tables.tables(), counted)


def test_a_state_from_before_there_were_such_tables_is_loaded() -> None:
    config = IntraConfig(width8=16, width16=24, n_y=24, n_z=4, blocks=8)
    old = {k: v for k, v in IntraNet(config).state_dict().items() if "symbol_tables" not in k}
    net = IntraNet(config)
    net.load_state_dict(old)
    assert_same(net.symbol_tables.tables(), gaussian_tables())


def test_fresh_networks_have_gaussian_tables(tmp_path: Path) -> None:
    torch.manual_seed(0)
    export_intra(IntraNet(IntraConfig(n_y=24, n_z=4)), tmp_path / "m", name="small", about={})
    assert_same(load_tables(load_model(str(tmp_path / "m"))), gaussian_tables())


def test_held_out_stills_are_those_that_training_does_not_see() -> None:
    plane = torch.zeros(1, 2, 2)
    clips = [Clip(plane, plane, plane, f"{n}" if n % 3 else f"video@{n}") for n in range(36)]
    held_out, training, videos = split_pictures(clips)
    assert [clip.source for clip in held_out] == ["1", "16", "31"]
    assert len(training) == 21
    assert len(videos) == 12
