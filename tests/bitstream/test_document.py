"""docs/bitstream.md is held to its word: its examples parse, its tests exist, its annex is the code's."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

import ssvc_codec.errors
from ssvc_codec.bitstream import COCO_80, ParsedPacket, SceneObject, SequenceHeader, build_packet, parse_packet
from ssvc_codec.bitstream.objects import BoxChange, ObjectChanges
from ssvc_codec.entropy.activity import activity_table, band_edges
from ssvc_codec.gop.groups import group_map

ROOT = Path(__file__).parent.parent.parent
DOCUMENT = (ROOT / "docs" / "bitstream.md").read_text("utf-8")
EXAMPLES = {
    name: bytes.fromhex("".join(line.split("  ")[0] for line in block.splitlines()))
    for name, block in re.findall(r"^```hex (\w+)\n(.*?)^```$", DOCUMENT, re.S | re.M)
}


def fields_of(header: SequenceHeader) -> dict[str, Any]:
    video, color = header.format, header.format.color
    fields: dict[str, Any] = {
        "width": video.width,
        "height": video.height,
        "bit_depth": video.bit_depth,
        "primaries": color.primaries,
        "transfer": color.transfer,
        "matrix": color.matrix,
        "full_range": color.full_range,
        "chroma_location": color.chroma_location,
        "rotation": video.rotation,
        "sample_aspect_ratio": str(Fraction(video.sample_aspect_ratio)),
        "class_table": int(header.classes.table_id),
        "model": header.model,
        "weights_hash": header.weights_hash.hex(),
    }
    if header.classes.table_id == 2:
        fields["inline_classes"] = [list(row) for row in header.classes.names]
    return fields


def expect_packet(packet: ParsedPacket, expected: dict[str, Any]) -> None:
    header = packet.header
    assert [header.frame_type, header.q_index, header.frame_number] == [
        expected["frame_type"],
        expected["q_index"],
        expected["frame_number"],
    ]
    assert packet.objects == tuple(SceneObject(*row) for row in expected["objects"])
    assert packet.q_offsets == tuple(expected["q_offsets"])
    assert [(e.kind, e.group, packet.payload(e).hex()) for e in packet.entries] == [
        tuple(row) for row in expected["substreams"]
    ]
    assert packet.changes == changes_of(expected)
    if packet.sequence_header is not None:
        size = packet.sequence_header.format.width, packet.sequence_header.format.height
        assert size == (expected["width"], expected["height"])


def changes_of(expected: dict[str, Any]) -> ObjectChanges:
    rows = expected["changes"] or {"removed": [], "changed": [], "added": []}
    return ObjectChanges(
        tuple(rows["removed"]),
        tuple(BoxChange(*row) for row in rows["changed"]),
        tuple(SceneObject(*row) for row in rows["added"]),
    )


def test_the_vectors_are_the_examples_of_the_document(vectors: dict[str, Any]) -> None:
    assert vectors.keys() == EXAMPLES.keys()
    for name, vector in vectors.items():
        if "hex" in vector:
            assert EXAMPLES[name].hex() == vector["hex"].replace(" ", ""), name


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name.startswith("sequence_header")])
def test_a_sequence_header_of_the_document_reads_and_writes_back(name: str, vectors: dict[str, Any]) -> None:
    header = SequenceHeader.from_bytes(EXAMPLES[name])
    assert fields_of(header) == vectors[name]["sequence_header"]
    assert header.to_bytes() == EXAMPLES[name]


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name.startswith("packet")])
def test_a_packet_of_the_document_reads_and_writes_back(name: str, vectors: dict[str, Any]) -> None:
    packet = parse_packet(EXAMPLES[name])
    expected = vectors[name]["packet"]
    expect_packet(packet, expected)
    rebuilt = build_packet(
        {(kind, group): bytes.fromhex(payload) for kind, group, payload in expected["substreams"]},
        q_index=expected["q_index"],
        frame_number=expected["frame_number"],
        sequence_header=packet.sequence_header,
        objects=[SceneObject(*row) for row in expected["objects"]],
        changes=changes_of(expected),
        q_offsets=expected["q_offsets"],
    )
    assert rebuilt == EXAMPLES[name]


def test_the_p_packet_of_the_document_follows_its_i_packet() -> None:
    i_packet, p_packet = parse_packet(EXAMPLES["packet_objects"]), parse_packet(EXAMPLES["packet_p"])
    assert i_packet.sequence_header is not None
    p_packet.header.check_follows(i_packet.header.frame_number)
    objects = p_packet.objects_after(i_packet.objects, i_packet.sequence_header)
    assert objects == (SceneObject(7, 16, 128, 68, 28, 20, 10),)
    assert group_map(i_packet.objects, width=96, height=64).tolist() == [[1, 0, 2], [1, 0, 2]]
    assert group_map(objects, width=96, height=64).tolist() == [[0, 0, 1], [0, 0, 1]]
    assert [i_packet.q_of(group) for group in range(3)] == [28, 30, 38]


def test_every_rule_of_the_document_has_its_test_and_its_error() -> None:
    rows = re.findall(r"^\| [\d., ]+ \| .+ \| (\w+) \| `(test_\w+)` \|$", DOCUMENT, re.M)
    assert len(rows) > 40
    tests = "".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for _, name in rows if f"def {name}(" not in tests] == []
    errors = {error for error, _ in rows}
    assert errors <= {"none", *ssvc_codec.errors.__all__}


def test_annex_a_is_the_class_table_of_the_code() -> None:
    annex = DOCUMENT.split("## Annex A")[1].split("## Annex B")[0]
    rows = sorted((int(number), name) for number, name in re.findall(r"(?<=\| )(\d+) \| ([a-z ]+)(?= \|)", annex))
    assert tuple(rows) == COCO_80.names
    assert [number for number, _ in rows] == list(range(80))


def test_annex_b_is_the_logarithm_in_integers_and_the_table_of_the_code() -> None:
    annex = DOCUMENT.split("## Annex B")[1]
    levels = [int(number) for line in re.findall(r"^    ([\d ]+)$", annex, re.M) for number in line.split()]
    exact = [max(level for level in range(128) if (1 + s) ** 32 * 2 >= 4**level) for s in range(256)]
    assert levels == exact
    assert activity_table().tolist() == levels


def test_the_bands_of_the_document_are_those_of_the_code() -> None:
    lists = re.findall(r"((?:\d+, )+\d+) for C_y = (\d+)", DOCUMENT)
    assert [n_y for _, n_y in lists] == ["32"]
    for edges, n_y in lists:
        assert ", ".join(map(str, band_edges(int(n_y)))) == edges
