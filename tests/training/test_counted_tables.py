"""Tables of P frames that are counted over clips, and kept by what is trained from them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ssvc_codec.entropy.plain_tables import MERGE_SHAPES
from ssvc_codec.inference.inter import InterCoder
from ssvc_codec.nets.inter import InterConfig, InterNet
from ssvc_codec.nets.intra import IntraNet
from ssvc_codec.training.counted_tables import COUNTED_SHAPES, counted_frequencies, fit_tables, start_tables
from ssvc_codec.training.export import export_model, import_inter, import_intra
from ssvc_codec.training.shards import read_shards
from ssvc_codec.weights import load_model


def test_tables_follow_counts_and_take_what_they_lack_from_other_bands() -> None:
    counts = {name: np.zeros(shape) for name, shape in COUNTED_SHAPES.items()}
    counts["merge.first"][0] = 3000, 1000  # band 0, not known
    counts["merge.first"][1] = 100, 900  # band 0, 0 before
    tables = counted_frequencies(counts)
    likelihood = tables["merge.first"] / 2**24
    assert likelihood[0, 1] == pytest.approx(0.25, abs=0.01)
    assert likelihood[1, 1] == pytest.approx(0.9, abs=0.02)
    assert likelihood[3, 1] == pytest.approx(0.25, abs=0.02)  # the same row of band 1, of which nothing is known
    assert np.array_equal(tables["merge.index"][0], tables["merge.index"][7])
    assert all((rows.sum(axis=1) == 2**24).all() for rows in tables.values())


def test_fitted_tables_are_counted_over_real_encodes(data: Path, tmp_path: Path, model: str) -> None:
    clips = list(read_shards(data))[:1]
    counts = fit_tables(Path(model), clips, tmp_path / "fitted", rounds=1, device="cpu")
    assert counts["merge.cell"].sum() == 8 * 5 * 6  # every cell of five P frames at 8 levels of q
    fitted = load_model(str(tmp_path / "fitted"))
    expected = counted_frequencies(counts)
    assert counts["residual.mended"].sum() > 0
    for name, rows in expected.items():
        kind, part = name.split(".")
        assert np.array_equal(fitted.group(kind)[part], rows)
    assert InterCoder(fitted, device="cpu").motion.merge is not None


def test_tables_are_kept_by_a_model_that_is_trained_on(tmp_path: Path, model: str) -> None:
    start_tables(Path(model), tmp_path / "start")
    start = load_model(str(tmp_path / "start"))
    export_model(import_intra(start), import_inter(start), tmp_path / "again", name="again", about={})
    again = load_model(str(tmp_path / "again"))
    assert set(again.group("merge")) == set(MERGE_SHAPES)
    for name in COUNTED_SHAPES:
        kind, part = name.split(".")
        assert np.array_equal(again.group(kind)[part], start.group(kind)[part])
        assert again.group(kind)[part].dtype == start.group(kind)[part].dtype


def test_a_model_from_before_merging_is_trained_on_without_it(tmp_path: Path, small: Any) -> None:
    old = InterConfig(**{**small.inter.to_dict(), "merge": 0})
    export_model(IntraNet(small.intra), InterNet(old), tmp_path / "old", name="old", about={})
    model = load_model(str(tmp_path / "old"))
    assert not model.group("merge")
    assert isinstance(model.config["inter"], dict)
    model.config["inter"].pop("merge")  # as such models are
    net = import_inter(model)
    assert net.merge_tables is None
    assert InterCoder(model, device="cpu").motion.merge is None
