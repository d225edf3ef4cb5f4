"""Sections 3.2 and 3.3: the object list and its changes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssvc_codec.bitstream import (
    COCO_80,
    ObjectChanges,
    SceneObject,
    SequenceHeader,
    build_packet,
    parse_packet,
)
from ssvc_codec.errors import BitstreamError, LimitError
from ssvc_codec.frame import VideoFormat

Build = Callable[..., bytes]
HEADER = SequenceHeader(VideoFormat(96, 64), "base", bytes(8), COCO_80)


@st.composite
def scene_objects(draw: st.DrawFn) -> SceneObject:
    x, y = draw(st.integers(0, 95)), draw(st.integers(0, 63))
    return SceneObject(
        track_id=draw(st.one_of(st.integers(0, 12), st.integers(0, 2**32 - 1))),
        class_id=draw(st.integers(0, 79)),
        score=draw(st.integers(0, 255)),
        x=x,
        y=y,
        width=draw(st.integers(1, 96 - x)),
        height=draw(st.integers(1, 64 - y)),
    )


object_lists = st.lists(scene_objects(), max_size=20, unique_by=lambda item: item.track_id)


@given(object_lists)
def test_every_object_list_comes_back_sorted_by_track_id(objects: list[SceneObject]) -> None:
    packet = parse_packet(build_packet({}, q_index=0, sequence_header=HEADER, objects=objects))
    assert packet.objects == tuple(sorted(objects, key=lambda item: item.track_id))
    assert packet.header.has_objects == bool(objects)


@given(object_lists, object_lists)
def test_changes_between_two_lists_turn_one_into_the_other(old: list[SceneObject], new: list[SceneObject]) -> None:
    changes = ObjectChanges.between(old, new)
    packet = parse_packet(build_packet({}, q_index=0, frame_number=1, changes=changes))
    assert packet.changes == changes
    assert packet.objects_after(old, HEADER) == tuple(sorted(new, key=lambda item: item.track_id))


@given(object_lists)
def test_nothing_is_coded_when_nothing_changes(objects: list[SceneObject]) -> None:
    changes = ObjectChanges.between(objects, objects)
    assert not changes
    assert build_packet({}, q_index=0, frame_number=1, changes=changes)[:4].hex() == "01000100"


def test_more_than_256_objects_are_refused(signed_packet: Build) -> None:
    row = "00 00 00 00 00 01 01"
    assert len(parse_packet(signed_packet("0c1e00", "8002" + row * 256 + "00")).objects) == 256
    with pytest.raises(LimitError, match=r"object list, byte \d+: 257 objects"):
        parse_packet(signed_packet("0c1e00", "8102" + row * 257 + "00"))
    with pytest.raises(LimitError, match=r"object changes, byte \d+: 257 removed objects"):
        parse_packet(signed_packet("091e01", "8102"))
    with pytest.raises(LimitError, match=r"object changes, byte \d+: 257 changed objects"):
        parse_packet(signed_packet("091e01", "00 8102"))


def test_changes_that_leave_more_than_256_objects_are_refused() -> None:
    old = [SceneObject(i, 0, 0, 0, 0, 1, 1) for i in range(256)]
    packet = parse_packet(
        build_packet({}, q_index=0, frame_number=1, changes=ObjectChanges(added=(SceneObject(256, 0, 0, 0, 0, 1, 1),)))
    )
    with pytest.raises(LimitError, match="257 objects"):
        packet.objects_after(old, HEADER)


def test_an_empty_object_list_is_refused(signed_packet: Build) -> None:
    with pytest.raises(BitstreamError, match="empty list must be omitted"):
        parse_packet(signed_packet("0c1e00", "00 00"))


@pytest.mark.parametrize(
    "rows", ["02 ffffffff0f 00 00 00 00 01 01  00 00 00 00 00 01 01", "01 00 808004 00 00 00 01 01"]
)
def test_an_object_out_of_range_is_refused(rows: str, signed_packet: Build) -> None:
    with pytest.raises(BitstreamError, match=r"object list, byte \d+: .*out of range"):
        parse_packet(signed_packet("0c1e00", rows + "00"))


@pytest.mark.parametrize(
    "box",
    ["00 00 00 01", "00 00 01 00", "00 00 61 01", "00 00 01 41", "60 00 01 01", "00 40 01 01", "5f 00 02 01",
     "808001 00 01 01", "00 00 ffffffff0f 01"],
)  # fmt: skip
def test_a_box_outside_the_picture_is_refused(box: str, signed_packet: Build) -> None:
    with pytest.raises(BitstreamError, match=r"object list, byte \d+: box"):
        parse_packet(signed_packet("0c1e00", "01 00 00 00" + box + "00"))


def test_a_class_that_the_table_lacks_is_refused(signed_packet: Build) -> None:
    assert parse_packet(signed_packet("0c1e00", "01 00 4f 00 00 00 01 01 00")).objects[0].class_id == 79
    with pytest.raises(BitstreamError, match="class 80 of object 0 is not in the class table"):
        parse_packet(signed_packet("0c1e00", "01 00 50 00 00 00 01 01 00"))


@pytest.mark.parametrize("changes", ["00 00 00", "00 01 00 00000000 00"])
def test_object_changes_that_change_nothing_are_refused(changes: str, signed_packet: Build) -> None:
    with pytest.raises(BitstreamError, match=r"omitted|all 0"):
        parse_packet(signed_packet("091e01", changes + "00"))


@pytest.mark.parametrize(
    "changes",
    [
        "01 04 00 00",
        "00 01 04 02000000 00",
        "00 00 01 05 00 00 00 00 01 01",
        "00 01 05 01000000 00",
        "00 01 05 00000100 00",
        "00 01 05 0000c00100 00",
        "00 01 05 c0bb01000000 00",
        "00 00 01 06 50 00 00 00 01 01",
        "00 00 01 06 00 00 00 00 61 01",
    ],
)
def test_object_changes_that_do_not_fit_are_refused(changes: str, signed_packet: Build) -> None:
    """The list before is one object of track 5, 1 x 64 at (0, 0), in a picture of 96 x 64."""
    old = [SceneObject(5, 0, 0, 0, 0, 1, 64)]
    packet = parse_packet(signed_packet("091e01", changes + "00"))
    header = parse_packet(signed_packet("041e00")).sequence_header
    assert header is not None
    with pytest.raises(BitstreamError, match=r"object changes.*3\.3"):
        packet.objects_after(old, header)


def test_a_class_changes_by_removing_and_adding() -> None:
    old = [SceneObject(5, 0, 10, 0, 0, 8, 8)]
    new = [SceneObject(5, 1, 10, 0, 0, 8, 8)]
    assert ObjectChanges.between(old, new) == ObjectChanges(removed=(5,), added=(new[0],))


def test_objects_and_changes_do_not_swap_frames() -> None:
    item = SceneObject(5, 0, 0, 0, 0, 1, 1)
    with pytest.raises(ValueError, match="I frames have objects"):
        build_packet({}, q_index=0, objects=[item])
    with pytest.raises(ValueError, match="P frames have changes"):
        build_packet({}, q_index=0, sequence_header=HEADER, changes=ObjectChanges(added=(item,)))
    with pytest.raises(ValueError, match="none twice"):
        build_packet({}, q_index=0, sequence_header=HEADER, objects=[item, item])


def test_an_object_that_does_not_fit_the_stream_is_not_written() -> None:
    for item in (SceneObject(5, 0, 0, 95, 0, 2, 1), SceneObject(5, 80, 0, 0, 0, 1, 1)):
        with pytest.raises(ValueError, match=r"leaves the 96x64 picture|not in the class table"):
            build_packet({}, q_index=0, sequence_header=HEADER, objects=[item])
