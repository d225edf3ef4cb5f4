from __future__ import annotations

import json
import subprocess
import sys
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import ffmpeg_bridge  # noqa: F401 (whole, before the fakes take the place of its modules)
from ssvc_codec.bitstream import (
    COCO_80,
    BoxChange,
    ObjectChanges,
    SceneObject,
    SequenceHeader,
    SubstreamKind,
    build_packet,
)
from ssvc_codec.frame import VideoFormat
from ssvc_codec.packet import Packet

if TYPE_CHECKING:
    from collections.abc import Callable

    from .conftest import Fakes, Result

    Ssvc = Callable[..., Result]

HEADER = SequenceHeader(VideoFormat(width=128, height=96), "base", bytes(range(8)))


def key_packet(number: int) -> Packet:
    """An I packet with one object of 5 bytes and a background of 11."""
    data = build_packet(
        {(SubstreamKind.BACKGROUND, 0): b"b" * 11, (SubstreamKind.OBJECT, 1): b"o" * 5},
        q_index=30 + number,
        sequence_header=HEADER,
        objects=[SceneObject(track_id=1, class_id=0, score=255, x=0, y=0, width=20, height=20)],
    )
    return Packet(data, number, True, 1, Fraction(1, 25))


def motion_packet(number: int) -> Packet:
    """A P packet with 3 bytes of motion and 7 of residual."""
    substreams: dict[tuple[int, int], bytes] = {
        (SubstreamKind.MOTION, 0): b"m" * 3,
        (SubstreamKind.RESIDUAL, 0): b"r" * 7,
    }
    data = build_packet(substreams, q_index=20, frame_number=number)
    return Packet(data, number, False, 1, Fraction(1, 25))


def prepare(fakes: Fakes) -> int:
    """Five packets, one of them damaged. Returns their size in bytes."""
    damaged = bytearray(motion_packet(3).data)
    damaged[1] ^= 1
    fakes.inputs = [
        key_packet(0),
        motion_packet(1),
        motion_packet(2),
        Packet(bytes(damaged), 3, False, 1, Fraction(1, 25)),
        key_packet(4),
    ]
    fakes.sequence_header = HEADER.to_bytes()
    return sum(len(packet.data) for packet in fakes.inputs)


def test_json_says_where_every_byte_went(ssvc: Ssvc, fakes: Fakes) -> None:
    n_bytes = prepare(fakes)
    result = ssvc("info", "-", "--json")
    facts = json.loads(result.stdout)
    assert result.code == 3
    assert facts["frames"] == {"total": 5, "I": 2, "P": 2, "damaged": 1}
    assert facts["gop_length"] == {"count": 2, "shortest": 1, "mean": 2.5, "longest": 4}
    assert facts["q_index"] == {"lowest": 20, "mean": 26.0, "highest": 34}
    assert facts["duration_seconds"] == 0.2
    assert facts["bitrate_kbps"] == round(n_bytes * 8 / 1000 / 0.2, 3)
    parts = facts["bytes"]
    assert (parts["object"], parts["background"], parts["motion"], parts["residual"]) == (10, 22, 6, 14)
    assert parts["damaged"] == len(fakes.inputs[3].data)
    assert sum(value for name, value in parts.items() if name != "total") == parts["total"] == n_bytes


def test_damage_inside_a_substream_is_found(ssvc: Ssvc, fakes: Fakes) -> None:
    packet = key_packet(0)
    fakes.inputs = [key_packet(0), Packet(packet.data[:-1] + b"?", 1, True, 1, Fraction(1, 25))]
    result = ssvc("info", "-", "--json")
    assert (result.code, json.loads(result.stdout)["frames"]["damaged"]) == (3, 1)
    assert "1 of 2 packets are damaged: substream kind 1 group 1" in result.stderr


def test_json_describes_video_and_header(ssvc: Ssvc, fakes: Fakes) -> None:
    prepare(fakes)
    facts = json.loads(ssvc("info", "-", "--json").stdout)
    assert {"width": 128, "height": 96, "bit_depth": 8, "average_rate": "25/1"}.items() <= facts["video"].items()
    assert facts["sequence_header"]["model"] == "base"
    assert facts["sequence_header"]["weights_hash"] == "0001020304050607"
    assert "frame_list" not in facts


def test_every_frame_is_listed_on_request(ssvc: Ssvc, fakes: Fakes) -> None:
    prepare(fakes)
    rows = json.loads(ssvc("info", "-", "--json", "--frames").stdout)["frame_list"]
    assert [row["type"] for row in rows] == ["I", "P", "P", None, "I"]
    assert [row["frame_number"] for row in rows] == [0, 1, 2, None, 0]
    assert rows[0]["n_payload_bytes"] == {"BACKGROUND": 11, "OBJECT 1": 5}
    assert rows[2]["n_payload_bytes"] == {"MOTION": 3, "RESIDUAL": 7}
    assert rows[2]["n_header_bytes"] == len(fakes.inputs[2].data) - 10
    assert rows[4]["time_seconds"] == 0.16


def test_the_text_has_the_same_numbers(ssvc: Ssvc, fakes: Fakes) -> None:
    prepare(fakes)
    text = ssvc("info", "-", "--frames").stdout
    assert "SSV1, 128x96, 8 bits, 25 fps" in text
    assert "Frames: 5 (2 I, 2 P, 1 damaged)" in text
    assert "GoP length: 1 to 4 frames, mean 2.5" in text
    assert "I q 30" in text
    n_bytes = len(fakes.inputs[2].data)
    row = f"frame 2 0.080 s P q 20 I+2 {n_bytes} bytes: header {n_bytes - 10}, MOTION 3, RESIDUAL 7"
    assert row in " ".join(text.split())


def test_p_frames_before_the_first_key_frame_are_in_no_gop(ssvc: Ssvc, fakes: Fakes) -> None:
    fakes.inputs = [motion_packet(7), motion_packet(8)]
    facts = json.loads(ssvc("info", "-", "--json").stdout)
    assert (facts["frames"]["P"], facts["gop_length"]) == (2, None)
    fakes.inputs.append(key_packet(9))
    assert json.loads(ssvc("info", "-", "--json").stdout)["gop_length"]["longest"] == 1


def test_a_damaged_header_is_taken_from_the_first_key_frame(ssvc: Ssvc, fakes: Fakes) -> None:
    prepare(fakes)
    fakes.sequence_header = b"SSV1 damaged"
    assert json.loads(ssvc("info", "-", "--json").stdout)["sequence_header"]["model"] == "base"


def test_a_stream_without_frames_is_an_error(ssvc: Ssvc, fakes: Fakes) -> None:
    result = ssvc("info", "-")
    assert (result.code, result.stdout, result.stderr) == (1, "", "ssvc: error: -: no video frames\n")


def test_info_loads_no_torch(repository: Path) -> None:
    code = (
        "import sys\nfrom ssvc_codec.cli.main import run\n"
        f"code = run(['info', {str(repository / 'README.md')!r}])\n"
        "print(code, 'torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "1 False"


def test_the_fields_of_the_json_are_the_documented_ones(ssvc: Ssvc, fakes: Fakes) -> None:
    prepare(fakes)
    documented = import_module("ssvc_codec.cli.info").__doc__ or ""
    facts = json.loads(ssvc("info", "-", "--json", "--frames", "--objects").stdout)
    assert [line.split()[0] for line in documented.splitlines() if line.startswith("    ") and line[4] != " "] == list(
        facts
    )
    for group in ("video", "sequence_header", "gop_length", "q_index", "bytes", "frames"):
        assert [name for name in facts[group] if name not in documented] == []


def object_packets() -> list[Packet]:
    """The examples of docs/bitstream.md, section 10: two objects; then one goes, and the other moves and is alone."""
    header = SequenceHeader(VideoFormat(96, 64), "base", bytes(8), classes=COCO_80)
    person = SceneObject(track_id=5, class_id=0, score=255, x=2, y=4, width=16, height=58)
    dog = SceneObject(track_id=7, class_id=16, score=51, x=66, y=30, width=20, height=10)
    first = build_packet(
        {(SubstreamKind.OBJECT, 1): b"123", (SubstreamKind.OBJECT, 2): b"1234", (SubstreamKind.BACKGROUND, 0): b"12"},
        q_index=30,
        sequence_header=header,
        objects=[person, dog],
    )
    changes = ObjectChanges(removed=(5,), changed=(BoxChange(7, 2, -2, 0, 0),))
    second = build_packet(
        {(SubstreamKind.MOTION, 0): b"", (SubstreamKind.MOTION, 1): b"12345", (SubstreamKind.RESIDUAL, 1): b"1"},
        q_index=30,
        frame_number=1,
        changes=changes,
    )
    third = build_packet({(SubstreamKind.RESIDUAL, 1): b"12"}, q_index=30, frame_number=2)
    packets = [first, second, third]
    return [Packet(data, number, number == 0, 1, Fraction(1, 25)) for number, data in enumerate(packets)]


def test_objects_are_counted_on_p_frames_too(ssvc: Ssvc, fakes: Fakes) -> None:
    fakes.inputs = object_packets()
    rows = json.loads(ssvc("info", "-", "--json", "--frames").stdout)["frame_list"]
    assert [row["n_objects"] for row in rows] == [2, 1, 1]


def test_nothing_is_said_about_objects_after_a_lost_packet(ssvc: Ssvc, fakes: Fakes) -> None:
    fakes.inputs = [*object_packets(), *object_packets()]
    damaged = bytearray(fakes.inputs[1].data)
    damaged[1] ^= 1
    fakes.inputs[1] = Packet(bytes(damaged), 1, False, 1, Fraction(1, 25))
    rows = json.loads(ssvc("info", "-", "--json", "--frames").stdout)["frame_list"]
    assert [row["n_objects"] for row in rows] == [2, None, None, 2, 1, 1]
    assert [row["type"] for row in rows] == ["I", None, "P", "I", "P", "P"]


def test_every_track_is_listed_on_request(ssvc: Ssvc, fakes: Fakes) -> None:
    fakes.inputs = object_packets()
    tracks = json.loads(ssvc("info", "-", "--json", "--objects").stdout)["object_list"]
    assert tracks == [
        {
            "track_id": 5,
            "class_id": 0,
            "class": "person",
            "first_seconds": 0.0,
            "last_seconds": 0.0,
            "n_frames": 1,
            "n_frames_alone": 1,
            "mean_score": 1.0,
            "mean_box": [2.0, 4.0, 16.0, 58.0],
            "n_group_bytes": 3,
        },
        {
            "track_id": 7,
            "class_id": 16,
            "class": "dog",
            "first_seconds": 0.0,
            "last_seconds": 0.08,
            "n_frames": 3,
            "n_frames_alone": 3,
            "mean_score": 0.2,
            "mean_box": [67.3, 28.7, 20.0, 10.0],
            "n_group_bytes": 4 + 5 + 1 + 2,
        },
    ]
    text = " ".join(ssvc("info", "-", "--objects").stdout.split())
    assert "Objects: 2 track class from to frames mean box score group bytes" in text
    assert "#7 dog 0.000 s 0.080 s 3 20x10+67+29 0.20 12" in text


def test_groups_that_are_shared_are_said_to_be(ssvc: Ssvc, fakes: Fakes) -> None:
    boxes = [SceneObject(track_id=track, class_id=300, score=0, x=9, y=9, width=4, height=4) for track in (1, 2)]
    header = SequenceHeader(VideoFormat(96, 64), "base", bytes(8))
    data = build_packet({(SubstreamKind.OBJECT, 1): b"123"}, q_index=30, sequence_header=header, objects=boxes)
    fakes.inputs = [Packet(data, 0, True, 1, Fraction(1, 25))]
    tracks = json.loads(ssvc("info", "-", "--json", "--objects").stdout)["object_list"]
    assert [(track["n_group_bytes"], track["n_frames_alone"], track["class"]) for track in tracks] == [(3, 0, None)] * 2
    assert "#2 300 0.000 s 0.000 s 1 4x4+9+9 0.00 3 (shared)" in " ".join(ssvc("info", "-", "--objects").stdout.split())


def test_a_stream_without_objects_says_so(ssvc: Ssvc, fakes: Fakes) -> None:
    fakes.inputs = [motion_packet(7)]
    assert ssvc("info", "-", "--objects").stdout.splitlines()[-1] == "  Objects: none"
