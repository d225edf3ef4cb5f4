"""Parts of a stream, and the chains of docs/bitstream.md 5.6 that go with what is left out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ssvc_codec.bitstream import SceneObject, SubstreamKind, drop_substreams, parse_packet
from ssvc_codec.decoder import Decoder
from ssvc_codec.editing import Extractor, GopFilter, ReadableChains, SceneReader
from ssvc_codec.errors import BitstreamError
from ssvc_codec.packet import Packet
from ssvc_codec.selection import Selection

MOTION, RESIDUAL = SubstreamKind.MOTION, SubstreamKind.RESIDUAL
PERSON = SceneObject(1, 0, 99, 0, 0, 20, 20)
CAR = SceneObject(2, 2, 99, 96, 64, 20, 20)
CAR_BESIDE = SceneObject(2, 2, 99, 24, 0, 20, 20)  # shares a cell with the person


def kept(data: bytes) -> set[bytes]:
    packet = parse_packet(data)
    return {packet.payload(entry) for entry in packet.entries}


def test_without_a_wish_a_packet_stays_as_it_is(make_packet: Callable[..., bytes]) -> None:
    extractor = Extractor()
    key = make_packet(0, [PERSON, CAR], extra=9)
    following = make_packet(1, [PERSON, CAR_BESIDE], [PERSON, CAR], extra=9)
    assert extractor.edit(key) == key
    assert extractor.edit(following) == following


def test_objects_are_kept_by_their_groups_and_boxes_stay(make_packet: Callable[..., bytes]) -> None:
    extractor = Extractor(Selection(("car",), background=False))
    data = extractor.edit(make_packet(0, [PERSON, CAR]))
    assert kept(data) == {b"I2"}
    assert parse_packet(data).objects == (PERSON, CAR)
    assert kept(extractor.edit(make_packet(1, [PERSON, CAR], [PERSON, CAR]))) == {b"M2", b"R2"}


def test_without_objects_the_background_alone_is_left(make_packet: Callable[..., bytes]) -> None:
    assert kept(Extractor(Selection((), background=True)).edit(make_packet(0, [PERSON, CAR]))) == {b"I0"}
    assert kept(Extractor(Selection(("car",), background=False)).edit(make_packet(0, []))) == set()
    assert kept(Extractor(Selection(("car",), background=True)).edit(make_packet(0, []))) == {b"I0"}


@pytest.mark.parametrize(
    ("kinds", "key", "following"),
    [
        ((MOTION,), set(), {b"M0", b"M1"}),
        ((), set(), set()),
        ((SubstreamKind.OBJECT, SubstreamKind.BACKGROUND, MOTION), {b"I0", b"I1"}, {b"M0", b"M1"}),
        ((RESIDUAL,), set(), set()),  # which needs motion
    ],
)
def test_kinds_are_kept(
    make_packet: Callable[..., bytes], kinds: tuple[SubstreamKind, ...], key: set[bytes], following: set[bytes]
) -> None:
    extractor = Extractor(kinds=kinds)
    assert kept(extractor.edit(make_packet(0, [PERSON]))) == key
    assert kept(extractor.edit(make_packet(1, [PERSON], [PERSON]))) == following


def edit_all(make_packet: Callable[..., bytes], scenes: list[list[SceneObject]], drop: dict[int, set[bytes]]) -> Any:
    """What a stream keeps, frame by frame, where some payloads are dropped by hand."""
    scene_reader, chains = SceneReader(), ReadableChains()
    result: list[set[bytes]] = []
    for number, objects in enumerate(scenes):
        data = make_packet(number, objects, scenes[number - 1] if number else None)
        scene = scene_reader.read(data)
        unwanted = drop.get(number, set())
        entries = chains.keep(scene, lambda entry: scene.packet.payload(entry) not in unwanted)  # noqa: B023
        result.append({scene.packet.payload(entry) for entry in entries})
    return result


ALL = {b"M0", b"M1", b"R0", b"R1"}


def test_a_chain_ends_with_what_is_left_out(make_packet: Callable[..., bytes]) -> None:
    frames = edit_all(make_packet, [[PERSON]] * 4, {2: {b"R1"}})
    assert frames[1:] == [ALL, ALL - {b"R1"}, ALL - {b"R1"}]


def test_residual_goes_with_the_motion_of_its_group(make_packet: Callable[..., bytes]) -> None:
    assert edit_all(make_packet, [[PERSON]] * 4, {2: {b"M0"}})[1:] == [ALL, {b"M1", b"R1"}, {b"M1", b"R1"}]


def test_a_chain_begins_anew_where_the_objects_of_a_group_change(make_packet: Callable[..., bytes]) -> None:
    scenes = [[PERSON, CAR], [PERSON, CAR], [PERSON, CAR_BESIDE], [PERSON, CAR_BESIDE]]
    frames = edit_all(make_packet, scenes, {1: {b"M1"}})
    assert frames[1] == {b"M0", b"R0", b"M2", b"R2"}
    assert frames[2] == frames[3] == ALL


def test_a_group_in_other_cells_begins_anew_under_the_same_name(make_packet: Callable[..., bytes]) -> None:
    moved = SceneObject(1, 0, 99, 64, 0, 20, 20)
    assert edit_all(make_packet, [[PERSON], [PERSON], [moved]], {1: {b"M1"}})[2] == ALL


def test_numbers_of_groups_do_not_matter_to_a_chain(make_packet: Callable[..., bytes]) -> None:
    """The car is group 2 beside a person before it in raster order, and group 1 alone."""
    frames = edit_all(make_packet, [[PERSON, CAR], [PERSON, CAR], [CAR]], {1: {b"M2"}})
    assert frames[2] == {b"M0", b"R0"}


def test_what_the_chains_take_away_was_dead_weight(stripes: list[Packet]) -> None:
    """A decoder shows the same with and without it."""
    selection = Selection(("person",), background=False)
    extractor = Extractor(selection)
    scenes = SceneReader()
    lean, full = Decoder(device="cpu", threads=1), Decoder(device="cpu", threads=1)
    n_saved = 0
    for number, packet in enumerate(stripes):
        scene = scenes.read(packet.data)
        wanted = selection.resolve(scene.sequence_header.classes).groups(scene.objects, scene.groups)
        lacks = (RESIDUAL, 0) if number == 1 else (MOTION, 1) if number == 3 else (0, 0)
        cut = drop_substreams(packet.data, lambda e: (e.kind, e.group) == lacks)  # noqa: B023
        simple = drop_substreams(cut, lambda e: e.group not in wanted)  # noqa: B023
        data = extractor.edit(cut)
        n_saved += len(simple) - len(data)
        a, b = (
            decoder.send(Packet(one, number, packet.is_keyframe))[0] for decoder, one in ((lean, data), (full, simple))
        )
        assert np.array_equal(a.y, b.y), number
    assert n_saved > 0


def test_an_unknown_class_is_refused_where_the_first_objects_are(make_packet: Callable[..., bytes]) -> None:
    extractor = Extractor(Selection(("preson",)))
    extractor.edit(make_packet(0, []))
    with pytest.raises(ValueError, match="person"):
        extractor.edit(make_packet(0, [CAR]))


def test_packets_after_a_damaged_one_are_refused_until_the_next_key_frame(make_packet: Callable[..., bytes]) -> None:
    extractor = Extractor()
    extractor.edit(make_packet(0, [CAR]))
    with pytest.raises(BitstreamError):
        extractor.edit(make_packet(1, [CAR], [CAR])[:-1])
    with pytest.raises(BitstreamError, match="without the frame it refers to"):
        extractor.edit(make_packet(2, [CAR], [CAR]))
    extractor.edit(make_packet(0, [CAR]))


def test_a_p_frame_must_follow_its_reference(make_packet: Callable[..., bytes]) -> None:
    scenes = SceneReader()
    scenes.read(make_packet(0, [CAR]))
    with pytest.raises(BitstreamError, match="needs frame 1"):
        scenes.read(make_packet(2, [CAR], [CAR]))


def is_key(number: int) -> bool:
    return number % 3 == 0


@pytest.mark.parametrize(
    ("options", "numbers"),
    [
        ({}, list(range(10))),
        ({"keyframes_only": True}, [0, 3, 6, 9]),
        ({"every": 2}, [0, 1, 2, 6, 7, 8]),
        ({"every": 2, "keyframes_only": True}, [0, 6]),
    ],
)
def test_frames_are_chosen_by_groups_of_pictures(options: dict[str, Any], numbers: list[int]) -> None:
    gops = GopFilter(**options)
    assert [n for n in range(10) if gops.wants(Packet(b"", n, is_key(n)))] == numbers
