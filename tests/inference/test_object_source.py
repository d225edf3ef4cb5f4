"""An encoder that asks where the objects are, frame by frame."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from ssvc_codec.bitstream import COCO_80, ClassTable, SceneObject, parse_packet
from ssvc_codec.encoder import Encoder
from ssvc_codec.frame import Frame, VideoFormat

VIDEO = VideoFormat(128, 96)
PERSON, DOG = SceneObject(1, 0, 200, 2, 3, 20, 40), SceneObject(4, 16, 150, 100, 60, 20, 20)


class Script:
    """Gives what it was told, and remembers what it was given."""

    classes: ClassTable = COCO_80

    def __init__(self, *objects: tuple[SceneObject, ...]) -> None:
        self.script = list(objects)
        self.given: list[tuple[bool, NDArray[np.float32] | None]] = []

    def objects(self, frame: Frame, *, flow: NDArray[np.float32] | None, is_key: bool) -> tuple[SceneObject, ...]:
        self.given.append((is_key, flow))
        return self.script.pop(0)


def pictures(n: int, *, shift: int = 0) -> list[Frame]:
    """A texture whose content moves right by `shift` samples a frame."""
    grain = np.random.default_rng(5).normal(size=(VIDEO.height, VIDEO.width + 64))
    smooth = sum(np.roll(grain, (a, b), (0, 1)) for a in range(5) for b in range(5))
    chroma = np.full((VIDEO.height // 2, VIDEO.width // 2), 128, np.uint8)
    frames = []
    for k in range(n):
        start = 32 - shift * k
        luma = np.clip(128 + 8 * np.asarray(smooth)[:, start : start + VIDEO.width], 0, 255).astype(np.uint8)
        frames.append(Frame(luma, chroma, chroma, VIDEO, k, 1, Fraction(1, 25)))
    return frames


def encoder(source: Script | None, **options: object) -> Encoder:
    return Encoder(VIDEO, time_base=Fraction(1, 25), object_source=source, device="cpu", scenecut=False, **options)  # type: ignore[arg-type]


def test_the_source_is_asked_once_a_frame_and_what_it_says_is_in_the_stream():
    source = Script((PERSON,), (PERSON, DOG), ())
    coder = encoder(source, keyint=8)
    heads = [parse_packet(coder.send(frame)[0].data) for frame in pictures(3)]
    assert [is_key for is_key, _ in source.given] == [True, False, False]
    assert heads[0].objects == (PERSON,)
    assert heads[0].sequence_header is not None
    now = heads[1].objects_after(heads[0].objects, heads[0].sequence_header)
    assert now == (PERSON, DOG)
    assert heads[2].objects_after(now, heads[0].sequence_header) == ()
    assert coder.objects == ()


def test_flow_says_where_things_were_in_the_frame_before():
    source = Script((), (), ())
    coder = encoder(source, keyint=2, crf=10)
    for frame in pictures(3, shift=6):
        coder.send(frame)
    assert source.given[0][1] is None
    for is_key, flow in source.given[1:]:  # the third frame is a key frame: tracks go on across groups
        assert flow is not None
        assert flow.shape == (2, 24, 32)
        inner = np.median(flow[:, 4:-4, 8:-8], axis=(1, 2))
        assert inner == pytest.approx([-6, 0], abs=0.3), is_key


def test_without_p_frames_things_are_taken_to_stand_still():
    source = Script((), ())
    coder = encoder(source, keyint=1)
    for frame in pictures(2):
        coder.send(frame)
    assert source.given[0][1] is None
    flow = source.given[1][1]
    assert flow is not None
    assert flow.shape == (2, 24, 32)
    assert not flow.any()


def test_nothing_connects_the_two_sides_of_a_scene_cut():
    source = Script((), (), ())
    coder = Encoder(VIDEO, time_base=Fraction(1, 25), object_source=source, device="cpu", keyint=8, min_keyint=1)
    first, second = pictures(2)
    other = Frame(np.subtract(255, first.y[::-1]).astype(np.uint8), first.u, first.v, VIDEO, 2, 1, Fraction(1, 25))
    for frame in (first, second, other):
        coder.send(frame)
    assert coder.statistics is not None
    assert coder.statistics.is_keyframe
    assert [flow is None for _, flow in source.given] == [True, False, True]


def test_classes_and_background_get_a_quality_of_their_own():
    coder = encoder(Script((PERSON, DOG)), object_quality={"person": 6, "background": -5}, keyint=1, crf=30)
    head = parse_packet(coder.send(pictures(1)[0])[0].data)
    assert head.q_offsets == (-5, 6)  # group 2, the dog, has none
    assert [head.q_of(group) for group in range(3)] == [28, 39, 33]


def test_objects_of_one_group_take_the_finest_quality_among_them():
    near = SceneObject(2, 16, 100, 10, 10, 20, 20)
    coder = encoder(Script((PERSON, near)), object_quality={"person": 4, "dog": -9}, keyint=1)
    assert parse_packet(coder.send(pictures(1)[0])[0].data).q_offsets == (0, 4)


def test_a_class_that_is_none_is_refused_with_what_is_near():
    with pytest.raises(ValueError, match="no class 'persn'; did you mean person"):
        encoder(None, object_quality={"persn": 3})
    with pytest.raises(ValueError, match="-63 to \\+63"):
        encoder(None, object_quality={"person": 64})


def test_the_source_says_what_class_ids_mean():
    coder = encoder(Script(()), keyint=1)
    head = parse_packet(coder.send(pictures(1)[0])[0].data)
    assert head.sequence_header is not None
    assert head.sequence_header.classes == COCO_80
