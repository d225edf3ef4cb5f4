"""What the heads of packets say about objects, without a network."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from ffmpeg_bridge import SsvWriter
from ssvc_codec.bitstream import (
    COCO_80,
    ObjectChanges,
    SceneObject,
    SequenceHeader,
    SubstreamKind,
    build_codec_private,
    build_packet,
)
from ssvc_codec.errors import ChecksumError, MediaError
from ssvc_codec.frame import VideoFormat
from ssvc_codec.packet import Packet
from ssvc_codec.selection import Selection

HEADER = SequenceHeader(VideoFormat(96, 64), "base", bytes(8), classes=COCO_80)
PERSON = SceneObject(track_id=5, class_id=0, score=255, x=2, y=4, width=16, height=58)
DOG = SceneObject(track_id=7, class_id=16, score=51, x=66, y=30, width=20, height=10)
MOVED_DOG = SceneObject(track_id=7, class_id=16, score=51, x=68, y=28, width=20, height=10)
CAT = SceneObject(track_id=8, class_id=15, score=102, x=0, y=0, width=1, height=1)

# Two GoPs: the person goes, the dog moves, a cat comes.
SCENES: list[tuple[SceneObject, ...]] = [(PERSON, DOG), (MOVED_DOG,), (MOVED_DOG,), (CAT,), (CAT, MOVED_DOG)]
KEYS = (0, 3)


def _packets() -> list[Packet]:
    packets: list[Packet] = []
    for number, objects in enumerate(SCENES):
        if number in KEYS:
            parts: dict[tuple[int, int], bytes] = {(SubstreamKind.BACKGROUND, 0): b"b" * 1000}
            data = build_packet(parts, q_index=30, sequence_header=HEADER, objects=objects)
        else:
            changes = ObjectChanges.between(SCENES[number - 1], objects)
            place = number - max(key for key in KEYS if key < number)
            data = build_packet(
                {(SubstreamKind.MOTION, 0): b"m" * 100}, q_index=30, frame_number=place, changes=changes
            )
        packets.append(Packet(data, number, number in KEYS, 1, Fraction(1, 25)))
    return packets


def _damage(packet: Packet, *, at: int = 1) -> Packet:
    data = bytearray(packet.data)
    data[at] ^= 1
    return Packet(bytes(data), packet.pts, packet.is_keyframe, packet.duration, packet.time_base)


def _write(path: Path, packets: list[Packet]) -> Path:
    private = build_codec_private(HEADER)
    with SsvWriter(
        path, format=HEADER.format, time_base=Fraction(1, 25), average_rate=Fraction(25), codec_private=private
    ) as writer:
        for packet in packets:
            writer.write(packet)
    return path


@pytest.fixture
def stream(tmp_path: Path) -> Path:
    return _write(tmp_path / "in.ssv", _packets())


Decode = Callable[..., int]


@pytest.fixture
def decode() -> Decode:
    function = import_module("ssvc_codec.cli.decode_headers").decode_headers

    def call(source: Path, target: Path | str, **options: Any) -> int:
        return function(str(source), str(target), **options)

    return call


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def _boxes(path: Path) -> dict[int, list[tuple[int, list[int]]]]:
    return {line["frame"]: [(item["track_id"], item["bbox"]) for item in line["objects"]] for line in _lines(path)}


def test_objects_are_followed_over_p_frames(decode: Decode, stream: Path, tmp_path: Path) -> None:
    assert decode(stream, tmp_path / "out.jsonl") == 0
    dog = (7, [68, 28, 20, 10])
    assert _boxes(tmp_path / "out.jsonl") == {
        0: [(5, [2, 4, 16, 58]), (7, [66, 30, 20, 10])],
        1: [dog],
        2: [dog],
        3: [(8, [0, 0, 1, 1])],
        4: [dog, (8, [0, 0, 1, 1])],
    }
    assert [line["time_seconds"] for line in _lines(tmp_path / "out.jsonl")] == [0.0, 0.04, 0.08, 0.12, 0.16]


def test_standard_output_gets_json_lines_alone(
    decode: Decode, stream: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert decode(stream, "-") == 0
    output = capfdbinary.readouterr()
    assert [json.loads(line)["frame"] for line in output.out.splitlines()] == [0, 1, 2, 3, 4]


def test_it_says_how_little_was_read(decode: Decode, stream: Path, tmp_path: Path, capsys: Any) -> None:
    decode(stream, tmp_path / "out.jsonl")
    sizes = [len(packet.data) for packet in _packets()]
    n_payload = 2 * (1000 + 2) + 3 * (100 + 2)  # CRC-16s belong to the payloads
    assert f"heads are {sum(sizes) - n_payload} of {sum(sizes)} bytes of video" in capsys.readouterr().err
    decode(stream, tmp_path / "quiet.jsonl", quiet=True)
    assert capsys.readouterr().err == ""


def test_selection_is_by_class_and_track(decode: Decode, stream: Path, tmp_path: Path) -> None:
    for number, (select, expected) in enumerate(
        [
            (Selection(("person",)), {0: [5], 1: [], 2: [], 3: [], 4: []}),
            (Selection(("16", "#8")), {0: [7], 1: [7], 2: [7], 3: [8], 4: [7, 8]}),
            (Selection(exclude=("dog",)), {0: [5], 1: [], 2: [], 3: [8], 4: [8]}),
        ]
    ):
        target = tmp_path / f"{number}.jsonl"
        assert decode(stream, target, select=select) == 0
        assert {frame: [track for track, _ in items] for frame, items in _boxes(target).items()} == expected


def test_an_unknown_class_leaves_no_file(decode: Decode, stream: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="person"):
        decode(stream, tmp_path / "out.jsonl", select=Selection(("persn",)))
    assert [path.name for path in tmp_path.iterdir()] == ["in.ssv"]


def test_key_frames_and_gops_keep_their_numbers(decode: Decode, stream: Path, tmp_path: Path) -> None:
    assert decode(stream, tmp_path / "keys.jsonl", keyframes_only=True) == 0
    assert list(_boxes(tmp_path / "keys.jsonl")) == [0, 3]
    assert decode(stream, tmp_path / "gops.jsonl", every=2) == 0
    assert list(_boxes(tmp_path / "gops.jsonl")) == [0, 1, 2]


def test_a_start_inside_a_gop_knows_its_objects(decode: Decode, stream: Path, tmp_path: Path) -> None:
    assert decode(stream, tmp_path / "out.jsonl", start=0.08, frames=2) == 0
    assert _boxes(tmp_path / "out.jsonl") == {0: [(7, [68, 28, 20, 10])], 1: [(8, [0, 0, 1, 1])]}


def test_frames_after_a_damaged_one_are_left_out_until_the_next_key_frame(
    decode: Decode, tmp_path: Path, capsys: Any
) -> None:
    packets = _packets()
    packets[1] = _damage(packets[1])
    stream = _write(tmp_path / "in.ssv", packets)
    assert decode(stream, tmp_path / "out.jsonl") == 3
    assert list(_boxes(tmp_path / "out.jsonl")) == [0, 3, 4]
    error = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert len(error) == 1
    assert "2 of 5 frames were damaged or refer to one that was, and are left out; the first: " in error[0]


def test_a_packet_that_is_gone_is_noticed(decode: Decode, tmp_path: Path, capsys: Any) -> None:
    packets = _packets()
    del packets[1]
    assert decode(_write(tmp_path / "in.ssv", packets), tmp_path / "out.jsonl") == 3
    assert [len(boxes) for boxes in _boxes(tmp_path / "out.jsonl").values()] == [2, 1, 2]
    assert "P frame 2 needs frame 1, frame 0 came before" in capsys.readouterr().err


def test_damage_inside_a_payload_does_not_matter(decode: Decode, tmp_path: Path) -> None:
    packets = [_damage(packet, at=-5) for packet in _packets()]
    assert decode(_write(tmp_path / "in.ssv", packets), tmp_path / "out.jsonl") == 0


def test_strict_stops_at_the_first_damaged_head(decode: Decode, tmp_path: Path) -> None:
    stream = _write(tmp_path / "in.ssv", [_damage(packet) for packet in _packets()])
    with pytest.raises(ChecksumError):
        decode(stream, tmp_path / "out.jsonl", strict=True)
    with pytest.raises(ChecksumError):  # as does a stream of which nothing can be read
        decode(stream, tmp_path / "out.jsonl")
    assert [path.name for path in tmp_path.iterdir()] == ["in.ssv"]


def test_an_output_that_is_there_is_kept(decode: Decode, stream: Path, tmp_path: Path) -> None:
    (tmp_path / "out.csv").write_text("mine")
    with pytest.raises(MediaError, match="-y overwrites it"):
        decode(stream, tmp_path / "out.csv")
    assert decode(stream, tmp_path / "out.csv", overwrite=True) == 0
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 1 + sum(map(len, SCENES))


def test_a_truncated_file_gives_what_is_there(decode: Decode, stream: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.ssv"
    cut.write_bytes(stream.read_bytes()[:-1200])
    assert decode(cut, tmp_path / "out.jsonl") == 3
    assert list(_boxes(tmp_path / "out.jsonl"))[:1] == [0]


def test_no_torch_is_loaded(stream: Path, tmp_path: Path) -> None:
    code = (
        "import sys\nfrom ssvc_codec.cli.decode_headers import decode_headers\n"
        "from ssvc_codec.selection import Selection\n"
        f"code = decode_headers({str(stream)!r}, {str(tmp_path / 'out.json')!r}, select=Selection(('dog',)))\n"
        "print(code, 'torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "0 False"
    assert len(json.loads((tmp_path / "out.json").read_text())["annotations"]) == 4
