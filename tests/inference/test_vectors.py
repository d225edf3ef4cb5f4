"""Coded streams of tests/vectors: heads as written down, and every symbol, whoever reads it."""

from __future__ import annotations

import importlib.util
import json
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

import ssvc_codec.errors
from ssvc_codec.bitstream import SubstreamKind, drop_substreams, parse_packet
from ssvc_codec.weights import load_model

FOLDER = Path(__file__).parent.parent / "vectors"
FACTS: dict[str, Any] = json.loads((FOLDER / "streams.json").read_text("utf-8"))
NAMES = list(FACTS["streams"])
SITUATIONS: dict[str, dict[str, Any]] = {
    "as users do": {"device": "cpu"},
    "float32": {"device": "cpu", "reduced_precision": False},
    "two threads": {"device": "cpu", "threads": 2},
    "cuda": {"device": "cuda"},
}


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_vectors", FOLDER / "make_vectors.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SCRIPT = load_script()
STREAMS: dict[str, list[bytes]] = {name: SCRIPT.read_packets((FOLDER / f"{name}.bin").read_bytes()) for name in NAMES}


@pytest.fixture(scope="module")
def of_these_weights() -> None:
    """Fails where the vectors were coded with other weights than the installed ones."""
    for name in NAMES:
        model, coded_with = FACTS["streams"][name]["model"], FACTS["streams"][name]["weights_hash"]
        installed = load_model(model).fingerprint.hex()
        if coded_with != installed:
            pytest.fail(
                f"tests/vectors/{name}.bin was coded with weights {coded_with}, models/{model} holds {installed}: "
                "make the vectors anew with `python tests/vectors/make_vectors.py`"
            )


@pytest.fixture
def keep_threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def expected_symbols(name: str) -> list[dict[tuple[int, int], str]]:
    """By kind and group, for each packet."""
    return [
        {(kind, group): symbols for (kind, group, _), symbols in zip(row["substreams"], row["symbols"], strict=True)}
        for row in FACTS["streams"][name]["packets"]
    ]


@pytest.mark.parametrize("name", NAMES)
def test_heads_are_as_written_down(name: str) -> None:
    facts = FACTS["streams"][name]
    header = parse_packet(STREAMS[name][0]).sequence_header
    assert header is not None
    assert (header.model, header.weights_hash.hex()) == (facts["model"], facts["weights_hash"])
    video = header.format
    assert (video.width, video.height, video.bit_depth) == (facts["width"], facts["height"], facts["bit_depth"])
    expected = [{key: value for key, value in row.items() if key != "symbols"} for row in facts["packets"]]
    assert SCRIPT.heads(STREAMS[name]) == expected
    assert [row["frame_type"] for row in expected] == ["I", "P", "P", "P", "P"]


def test_the_streams_cover_what_a_p_frame_can_hold() -> None:
    plain, objects = (FACTS["streams"][name]["packets"] for name in ("p_plain", "p_objects"))
    assert {len(row["substreams"]) for row in plain[1:]} == {2}
    assert any(row["objects"] != before["objects"] for before, row in pairwise(objects))
    assert all(any(row["q_offsets"]) for row in objects)
    assert {kind for row in plain + objects for kind, _, _ in row["substreams"]} == {1, 2, 3, 4}
    symbols = [symbols for row in plain + objects for symbols in row["symbols"]]
    assert len(set(symbols)) > len(symbols) * 0.8  # and not zeros everywhere


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.usefixtures("of_these_weights", "keep_threads")
def test_every_decoder_reads_these_symbols(name: str, situation: str) -> None:
    if situation == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    reader = SCRIPT.SymbolReader(**SITUATIONS[situation])
    assert [reader.send(data) for data in STREAMS[name]] == expected_symbols(name)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.usefixtures("of_these_weights")
def test_motion_alone_reads_the_symbols_of_motion(name: str) -> None:
    reader = SCRIPT.SymbolReader(parts={"motion"}, device="cpu")
    motion = [
        {key: symbols for key, symbols in row.items() if key[0] == SubstreamKind.MOTION}
        for row in expected_symbols(name)
    ]
    assert [reader.send(data) for data in STREAMS[name]] == motion


@pytest.mark.usefixtures("of_these_weights")
def test_the_symbols_of_a_group_do_not_need_the_other_groups() -> None:
    """Group 1 and its chain alone, as long as it is the group of the same object."""
    reader = SCRIPT.SymbolReader(device="cpu")
    for data, expected in zip(STREAMS["p_objects"][:3], expected_symbols("p_objects"), strict=False):
        alone = drop_substreams(data, lambda entry: entry.group != 1)
        assert reader.send(alone) == {key: symbols for key, symbols in expected.items() if key[1] == 1}


@pytest.mark.parametrize("row", FACTS["must_fail"], ids=[row["what"] for row in FACTS["must_fail"]])
@pytest.mark.usefixtures("of_these_weights")
def test_a_packet_that_must_fail_fails_in_its_place(row: dict[str, Any]) -> None:
    reader = SCRIPT.SymbolReader(device="cpu")
    for data in STREAMS[row["stream"]][: row["packet"]]:
        reader.send(data)
    with pytest.raises(ssvc_codec.errors.SsvcError) as caught:
        reader.send(bytes.fromhex(row["hex"]))
    assert caught.type is getattr(ssvc_codec.errors, row["error"])
    with pytest.raises(ssvc_codec.errors.BitstreamError, match="without the frame it refers to"):
        reader.send(STREAMS[row["stream"]][row["packet"]])
