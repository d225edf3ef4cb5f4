"""Crashes that tests/fuzz/fuzz_decode.py and fuzz_sequence.py once found stay fixed, and the targets still run."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from ssvc_codec.decoder import Decoder


def load_target(name: str) -> ModuleType:
    path = Path(__file__).parent.parent / "fuzz" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def fuzz() -> ModuleType:
    return load_target("fuzz_decode")


@pytest.fixture(scope="module")
def sequences() -> ModuleType:
    return load_target("fuzz_sequence")


def test_every_kept_packet_ends_in_a_frame_or_a_documented_error(fuzz: ModuleType) -> None:
    decoder = Decoder(device="cpu")
    for path in sorted(fuzz.VECTORS.glob("x_decode_*.bin")):
        fuzz.one_input(fuzz.restamped(path.read_bytes()), decoder)


def test_seeds_decode_and_mutations_do_not_crash(fuzz: ModuleType, tmp_path: Path) -> None:
    decoder = Decoder(device="cpu")
    assert {fuzz.one_input(data, decoder) for data in fuzz.seeds()} == {"frame"}
    endings = fuzz.run_random(seed=20, seconds=60, count=200, keep=tmp_path)
    assert endings["CRASH"] == 0
    assert endings["frame"] > 20  # it reaches the networks
    assert endings["BitstreamError"] > 20


def test_damage_with_sums_made_right_reaches_the_entropy_decoder(fuzz: ModuleType) -> None:
    data = bytearray(fuzz.seeds()[-3])
    data[-20] ^= 0x40
    assert fuzz.one_input(bytes(data), Decoder(device="cpu")) == "ChecksumError"
    assert fuzz.one_input(fuzz.fixed_up(bytes(data)), Decoder(device="cpu")) in ("frame", "BitstreamError")


def test_every_kept_sequence_ends_in_frames_or_documented_errors(sequences: ModuleType) -> None:
    decoders = sequences.Decoders()
    for path in sorted(sequences.VECTORS.glob("x_sequence_*.bin")):
        sequences.replay(path, decoders)


def test_seeds_of_p_frames_decode_and_mutations_do_not_crash(sequences: ModuleType, tmp_path: Path) -> None:
    decoders = sequences.Decoders()
    for packets in sequences.seeds():
        assert sequences.one_input(packets, decoders) == {"frame": len(packets)}
        assert sequences.from_bytes(sequences.to_bytes(packets)) == packets
    endings = sequences.run_random(seed=20, seconds=60, count=60, keep=tmp_path)
    assert endings["CRASH"] == 0
    assert endings["frame"] > 50  # it reaches the networks
    assert endings["BitstreamError"] > 20
