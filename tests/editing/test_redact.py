"""What is left of an object after it was redacted. Two clips that differ in it alone must become the same file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ssvc_codec.bitstream import ParsedPacket, SceneObject, SubstreamKind, parse_packet
from ssvc_codec.decoder import Decoder
from ssvc_codec.editing import Redactor, SceneReader
from ssvc_codec.errors import BitstreamError
from ssvc_codec.packet import Packet
from ssvc_codec.selection import Selection

N_CLEAN = (0, 1, 8, 9)  # frames before the person comes, and from the next key frame on
PERSON = Selection(("person",))


def redacted(packets: list[Packet], **options: Any) -> list[bytes]:
    redactor = Redactor(PERSON, **options)
    return [redactor.edit(packet.data) for packet in packets]


def luma(data: list[bytes], template: list[Packet], **options: Any) -> list[np.ndarray]:
    decoder = Decoder(device="cpu", threads=1, **options)
    sent = (Packet(one, p.pts, p.is_keyframe, p.duration, p.time_base) for one, p in zip(data, template, strict=True))
    return [frame.y.astype(int) for packet in sent for frame in decoder.send(packet)]


def payloads(packet: ParsedPacket, *, without: SubstreamKind) -> dict[tuple[int, int], bytes]:
    return {(e.kind, e.group): packet.payload(e) for e in packet.entries if e.kind != without}


def test_the_clips_differ_before_they_are_redacted(stripes: list[Packet], noise: list[Packet]) -> None:
    changed = [a.data != b.data for a, b in zip(stripes, noise, strict=True)]
    assert changed == [number in range(2, 8) for number in range(10)]


def test_only_motion_of_other_groups_still_depends_on_the_object(stripes: list[Packet], noise: list[Packet]) -> None:
    for number, pair in enumerate(zip(redacted(stripes), redacted(noise), strict=True)):
        a, b = map(parse_packet, pair)
        assert payloads(a, without=SubstreamKind.MOTION) == payloads(b, without=SubstreamKind.MOTION), number
        assert bytes(a.data[: a.directory_offset]) == bytes(b.data[: b.directory_offset]), number
        if number in (0, 1, 4, 8, 9):  # key frames and clean ones
            assert pair[0] == pair[1], number


def test_without_motion_not_a_byte_depends_on_the_object(stripes: list[Packet], noise: list[Packet]) -> None:
    assert redacted(stripes, motion="none") == redacted(noise, motion="none")
    cells: dict[str, Any] = {"motion": "none", "boxes": "cells"}
    assert redacted(stripes, **cells) == redacted(noise, **cells)


def detail(picture: np.ndarray) -> float:
    """Mean step from row to row where the person was; the background's is at most 50 / 7 levels, its mean below 5."""
    return float(np.abs(np.diff(picture[:64, :64], axis=0)).mean())


def test_the_texture_is_seen_before_it_is_redacted(stripes: list[Packet], noise: list[Packet]) -> None:
    for packets in (stripes, noise):
        assert max(map(detail, luma([packet.data for packet in packets], packets))) > 10


@pytest.mark.parametrize("options", [{}, {"motion": "none"}, {"boxes": "cells"}, {"motion": "all"}])
def test_nothing_of_the_texture_is_in_any_picture(stripes: list[Packet], options: dict[str, Any]) -> None:
    assert max(map(detail, luma(redacted(stripes, **options), stripes))) < 5


@pytest.mark.parametrize(
    ("select", "fill"),
    [
        (PERSON, "gray"),
        (Selection(("person",), background=False), "blur"),
        (Selection((), background=True), "hold"),
        (Selection((), background=True), "black"),
    ],
)
def test_no_part_that_is_decoded_alone_shows_the_texture(stripes: list[Packet], select: Selection, fill: str) -> None:
    assert max(map(detail, luma(redacted(stripes), stripes, select=select, fill=fill))) < 5


def test_pictures_tell_the_clips_apart_by_how_the_background_is_moved_at_most(
    stripes: list[Packet], noise: list[Packet]
) -> None:
    a, b = luma(redacted(stripes), stripes), luma(redacted(noise), noise)
    worst = [float(np.abs(one - other).mean()) for one, other in zip(a, b, strict=True)]
    assert worst[4] == 0
    assert max(worst[:6]) < 0.5  # what stands beside the object
    assert max(worst) < 3.0  # what fills its cells once it has gone


def test_without_motion_pictures_are_the_same(stripes: list[Packet], noise: list[Packet]) -> None:
    a, b = (luma(redacted(packets, motion="none"), packets) for packets in (stripes, noise))
    assert all(np.array_equal(one, other) for one, other in zip(a, b, strict=True))


def test_the_flow_alone_tells_nothing_without_motion(stripes: list[Packet], noise: list[Packet]) -> None:
    fields: list[list[np.ndarray]] = []
    for packets in (stripes, noise):
        decoder = Decoder(parts={"motion"}, device="cpu", threads=1)
        data = redacted(packets, motion="none")
        sent = [Packet(one, p.pts, p.is_keyframe, 1, p.time_base) for one, p in zip(data, packets, strict=True)]
        fields.append([field.values for packet in sent for field in decoder.send(packet)])
    assert all(np.array_equal(a, b) for a, b in zip(*fields, strict=True))


def test_residual_that_is_kept_shows_a_ghost(stripes: list[Packet]) -> None:
    """Why it goes by default: the prediction read the object's pixels, so the residual takes them away again."""
    assert max(map(detail, luma(redacted(stripes, keep_residual=True), stripes))) > 8


def test_key_frames_keep_all_but_the_object(stripes: list[Packet]) -> None:
    key = parse_packet(redacted(stripes)[4])
    assert {(e.kind, e.group) for e in key.entries} == {(SubstreamKind.OBJECT, 2), (SubstreamKind.BACKGROUND, 0)}


def test_frames_that_never_saw_the_object_stay_as_they_are(stripes: list[Packet]) -> None:
    data = redacted(stripes)
    assert [data[number] == stripes[number].data for number in range(10)] == [n in N_CLEAN for n in range(10)]


def test_no_residual_is_left_from_the_first_frame_with_the_object_to_the_next_key_frame(stripes: list[Packet]) -> None:
    for number, data in enumerate(redacted(stripes)):
        kinds = {entry.kind for entry in parse_packet(data).entries}
        assert (SubstreamKind.RESIDUAL in kinds) == (number in (1, 9)), number


def test_coarse_boxes_keep_the_groups(stripes: list[Packet]) -> None:
    exact, coarse = SceneReader(), SceneReader()
    for packet, data in zip(stripes, redacted(stripes, boxes="cells"), strict=True):
        a, b = exact.read(packet.data), coarse.read(data)
        assert np.array_equal(a.groups, b.groups)
        assert a.members == b.members
        for before, after in zip(a.objects, b.objects, strict=True):
            if before.class_id == 0:
                assert after.score == 0
                assert (after.x % 32, after.y % 32, after.width % 32, after.height % 32) == (0, 0, 0, 0)
            else:
                assert after == before


def test_coarse_boxes_change_only_when_the_cells_do(stripes: list[Packet]) -> None:
    packets = [parse_packet(data) for data in redacted(stripes, boxes="cells")]
    assert [bool(packet.changes) for packet in packets] == [n in (2, 3, 6) for n in range(10)]


def test_a_coarse_box_at_the_edge_ends_with_the_picture(make_packet: Callable[..., bytes]) -> None:
    person = SceneObject(1, 0, 99, 127, 95, 1, 1)
    data = Redactor(PERSON, boxes="cells").edit(make_packet(0, [person]))
    assert parse_packet(data).objects == (SceneObject(1, 0, 0, 96, 64, 32, 32),)


def test_whoever_shares_the_group_goes_too(make_packet: Callable[..., bytes]) -> None:
    person, dog = SceneObject(1, 0, 99, 0, 0, 20, 20), SceneObject(2, 16, 99, 24, 0, 20, 20)
    packet = parse_packet(Redactor(PERSON).edit(make_packet(0, [person, dog])))
    assert [(entry.kind, entry.group) for entry in packet.entries] == [(SubstreamKind.BACKGROUND, 0)]
    assert packet.objects == (person, dog)


def test_kinds_of_later_versions_go_while_an_object_is_redacted(make_packet: Callable[..., bytes]) -> None:
    person = [SceneObject(1, 0, 99, 0, 0, 20, 20)]
    assert b"picture" in Redactor(PERSON).edit(make_packet(0, [], extra=9))
    assert b"picture" not in Redactor(PERSON).edit(make_packet(0, person, extra=9))


def test_motion_of_all_can_be_kept(make_packet: Callable[..., bytes]) -> None:
    person = [SceneObject(1, 0, 99, 0, 0, 20, 20)]
    redactor = Redactor(PERSON, motion="all")
    redactor.edit(make_packet(0, person))
    kept = parse_packet(redactor.edit(make_packet(1, person, person))).entries
    assert [(entry.kind, entry.group) for entry in kept] == [(SubstreamKind.MOTION, 0), (SubstreamKind.MOTION, 1)]


def test_a_packet_that_cannot_be_understood_is_never_passed_on(make_packet: Callable[..., bytes]) -> None:
    person = [SceneObject(1, 0, 99, 0, 0, 20, 20)]
    redactor = Redactor(PERSON)
    redactor.edit(make_packet(0, person))
    damaged = bytearray(make_packet(1, [], person))
    damaged[4] ^= 1
    with pytest.raises(BitstreamError):
        redactor.edit(bytes(damaged))
    with pytest.raises(BitstreamError, match="without the frame it refers to"):
        redactor.edit(make_packet(2, person, person))  # whose objects are unknown now
    redactor.edit(make_packet(0, person))


def test_damage_inside_a_payload_stays_damage(make_packet: Callable[..., bytes]) -> None:
    person = [SceneObject(1, 0, 99, 0, 0, 20, 20)]
    data = make_packet(0, person)
    place = data.index(b"I0")
    damaged = data[:place] + b"X" + data[place + 1 :]
    packet = parse_packet(Redactor(PERSON).edit(damaged))
    with pytest.raises(BitstreamError, match="CRC-16"):
        packet.payload(packet.entries[0])


def test_frames_are_counted(stripes: list[Packet]) -> None:
    redactor = Redactor(PERSON)
    for packet in stripes:
        redactor.edit(packet.data)
    assert (redactor.n_frames, redactor.n_key_frames) == (4, 1)


def test_an_unknown_class_is_refused(stripes: list[Packet]) -> None:
    with pytest.raises(ValueError, match="person"):
        Redactor(Selection(("preson",))).edit(stripes[0].data)
