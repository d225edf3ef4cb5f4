from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssvc_codec.bitstream import COCO_80, ClassTable, SceneObject
from ssvc_codec.bitstream.objects import ObjectList
from ssvc_codec.frame import Frame, VideoFormat
from ssvc_codec.gop.groups import group_map
from ssvc_codec.semantics.detection import Detection
from ssvc_codec.semantics.tracker import Tracker

WIDTH, HEIGHT = 640, 480
PERSON, CAR, TRUCK = 0, 2, 7
CHROMA = np.zeros((HEIGHT // 2, WIDTH // 2), np.uint8)
FRAME = Frame(np.zeros((HEIGHT, WIDTH), np.uint8), CHROMA, CHROMA, VideoFormat(width=WIDTH, height=HEIGHT))


@dataclass
class Script:
    """A detector that gives what is written for a frame, and None elsewhere."""

    lines: Mapping[int, list[Detection]] | list[Detection]
    asked: list[int] = field(default_factory=list)
    classes: ClassTable = COCO_80
    description: str = "script"

    def detect(self, frame: Frame, number: int) -> list[Detection] | None:
        self.asked.append(number)
        return self.lines if isinstance(self.lines, list) else self.lines.get(number)


def person(x: float = 100, y: float = 100, *, score: float = 0.8, class_id: int = PERSON, **given: int) -> Detection:
    return Detection(class_id, score, x, y, 60, 120, **given)


def flow_of(dx: float = 0, dy: float = 0) -> np.ndarray:
    return np.broadcast_to(np.array([dx, dy], np.float32)[:, None, None], (2, HEIGHT // 4, WIDTH // 4))


def track(
    detector: Script,
    n_frames: int,
    *,
    flow: np.ndarray | None = None,
    keys: Sequence[int] = (0,),
    cuts: Sequence[int] = (0,),
    every: int = 8,
) -> list[tuple[SceneObject, ...]]:
    tracker = Tracker(detector, width=WIDTH, height=HEIGHT, every=every)
    moving = flow_of() if flow is None else flow
    return [
        tracker.objects(FRAME, flow=None if n in cuts else moving, is_key=n in keys or n in cuts)
        for n in range(n_frames)
    ]


def ids(objects: tuple[SceneObject, ...]) -> list[int]:
    return [item.track_id for item in objects]


def test_a_detection_becomes_an_object_of_whole_samples_around_it() -> None:
    [objects] = track(Script([Detection(PERSON, 0.8, 10.6, 20.2, 30.0, 40.9)]), 1)
    assert objects == (SceneObject(0, PERSON, 204, x=10, y=20, width=31, height=42),)


def test_the_detector_runs_on_key_frames_and_every_so_often_since() -> None:
    detector = Script([person()])
    track(detector, 20, keys=(0, 5, 14), every=4)
    assert detector.asked == [0, 4, 5, 9, 13, 14, 18]


def test_between_detections_boxes_follow_the_flow() -> None:
    frames = track(Script([person()]), 8, flow=flow_of(-4, 0))
    assert [objects[0].x for objects in frames] == [100, 104, 108, 112, 116, 120, 124, 128]
    assert all(ids(objects) == [0] for objects in frames)


def test_boxes_that_hardly_move_stay_as_they_are() -> None:
    frames = track(Script([person()]), 8, flow=flow_of(-0.3, 0))
    assert set(frames) == {frames[0]}


def test_slow_motion_adds_up_to_a_change() -> None:
    frames = track(Script([person()]), 8, flow=flow_of(-1, 0))
    assert max(abs(objects[0].x - 100 - n) for n, objects in enumerate(frames)) <= 3
    assert 2 <= len(set(frames)) <= 4


def test_a_key_frame_gives_the_box_as_it_is() -> None:
    frames = track(Script({0: [person()], 2: [person(102)]}), 3, flow=flow_of(-1, 0), keys=(0, 2))
    assert [objects[0].x for objects in frames] == [100, 100, 102]


def test_where_nothing_is_known_the_flow_goes_on_and_the_next_frame_is_asked() -> None:
    detector = Script({0: [person()], 6: [person(124)]})
    frames = track(detector, 9, flow=flow_of(-4, 0), every=4)
    assert detector.asked == [0, 4, 5, 6]
    assert [objects[0].x for objects in frames][4:7] == [116, 120, 124]


def test_identities_last_over_groups_of_pictures() -> None:
    detector = Script({n: [person(100 + 4 * n), person(400 - 4 * n, 300)] for n in range(40)})
    frames = track(detector, 40, keys=range(0, 40, 12))
    assert all(ids(objects) == [0, 1] for objects in frames)
    assert frames[36][0].x < frames[36][1].x


def test_nothing_lasts_over_a_scene_cut_and_no_id_comes_again() -> None:
    frames = track(Script([person()]), 4, cuts=(0, 2))
    assert [ids(objects) for objects in frames] == [[0], [0], [1], [1]]


def test_after_a_cut_the_detector_is_asked_until_it_answers() -> None:
    detector = Script({0: [person()], 4: [person()]})
    frames = track(detector, 6, cuts=(0, 2))
    assert detector.asked == [0, 2, 3, 4]
    assert [ids(objects) for objects in frames] == [[0], [0], [], [], [1], [1]]


def test_an_id_is_not_used_again_after_its_object_is_gone() -> None:
    frames = track(Script({0: [person()], 1: [], 2: [person()]}), 3, every=1)
    assert [ids(objects) for objects in frames] == [[0], [], [1]]


def test_two_people_who_pass_each_other_keep_their_ids() -> None:
    """They walk 80 samples apart in depth; detections come in either order."""
    lines = {}
    for n in range(0, 60, 8):
        pair = [person(100 + 4 * n, 100), person(340 - 4 * n, 180)]
        lines[n] = pair if n % 16 else pair[::-1]
    flow = np.zeros((2, HEIGHT // 4, WIDTH // 4), np.float32)
    flow[0, : 180 // 4], flow[0, 220 // 4 :] = -4, 4
    frames = track(Script(lines), 56, flow=flow)
    first = {item.y: item.track_id for item in frames[0]}
    last = {item.y: item.track_id for item in frames[-1]}
    assert abs(min(last) - 100) <= 3
    assert [first[y] for y in sorted(first)] == [last[y] for y in sorted(last)]


def test_a_low_score_starts_no_object_but_continues_one() -> None:
    low = person(score=0.3)
    assert track(Script([low]), 1) == [()]
    frames = track(Script({0: [person()], 1: [person()], 2: [low], 3: [low]}), 4, every=1)
    assert [ids(objects) for objects in frames] == [[0]] * 4


def test_a_score_below_the_least_is_as_good_as_none() -> None:
    frames = track(Script({0: [person()], **{n: [person(score=0.2)] for n in range(1, 6)}}), 6, every=1)
    assert frames[-1] == ()


def test_an_object_found_twice_outlives_two_misses_and_no_more() -> None:
    detector = Script({0: [person(score=0.9)], 1: [person(score=0.9)], 2: [], 3: [], 4: []})
    frames = track(detector, 5, every=1)
    assert [ids(objects) for objects in frames] == [[0], [0], [0], [0], []]


def test_an_object_found_once_ends_at_the_first_miss() -> None:
    frames = track(Script({0: [person()], 1: []}), 2, every=1)
    assert [ids(objects) for objects in frames] == [[0], []]


def test_an_object_at_the_border_ends_at_the_first_miss() -> None:
    leaving = Detection(PERSON, 0.9, 600, 100, 40, 120)
    frames = track(Script({0: [leaving], 1: [leaving], 2: []}), 3, every=1)
    assert [ids(objects) for objects in frames] == [[0], [0], []]


def test_of_two_boxes_of_one_class_on_one_another_the_better_stays() -> None:
    [objects] = track(Script([person(score=0.5), person(104, score=0.9)]), 1)
    assert [(item.x, item.score) for item in objects] == [(104, 230)]


def test_one_box_of_two_classes_is_one_object() -> None:
    [objects] = track(Script([person(score=0.6, class_id=TRUCK), person(score=0.9, class_id=CAR)]), 1)
    assert [item.class_id for item in objects] == [CAR]


def test_people_beside_one_another_are_two_objects() -> None:
    [objects] = track(Script([person(100), person(125)]), 1)
    assert len(objects) == 2


def test_a_class_taken_for_another_once_is_outvoted() -> None:
    lines = {n: [person(class_id=TRUCK if n == 3 else CAR)] for n in range(6)}
    frames = track(Script(lines), 6, keys=range(6))
    assert [(ids(objects), objects[0].class_id) for objects in frames] == [([0], CAR)] * 6


def test_class_and_score_change_on_key_frames_only() -> None:
    lines = {n: [person(class_id=CAR if n == 0 else TRUCK, score=0.5 + n / 20)] for n in range(8)}
    frames = [objects[0] for objects in track(Script(lines), 8, keys=(0, 6), every=1)]
    assert {(item.class_id, item.score) for item in frames[:6]} == {(CAR, 128)}
    assert frames[6].class_id == TRUCK
    assert frames[6].score > 128


def test_ids_that_come_with_detections_are_kept() -> None:
    lines = {0: [person(track_id=17)], 1: [], 2: [], 3: [], 4: [], 5: [person(300, track_id=17), person(450)]}
    frames = track(Script(lines), 6, every=1)
    assert (ids(frames[0]), ids(frames[4]), ids(frames[5])) == ([17], [], [0, 17])


def test_given_ids_are_kept_over_a_scene_cut() -> None:
    frames = track(Script([person(track_id=17)]), 2, cuts=(0, 1))
    assert [ids(objects) for objects in frames] == [[17], [17]]


def test_a_given_box_is_taken_as_it_is() -> None:
    lines = {0: [person(100, track_id=4, score=0.1)], 1: [person(180, track_id=4, score=0.1)]}
    frames = track(Script(lines), 2, every=1)
    assert [objects[0].x for objects in frames] == [100, 180]


def test_a_given_id_that_is_taken_gets_one_that_is_free() -> None:
    lines = {0: [person()], 1: [person(), person(300, track_id=0)], 2: [person(), person(300, track_id=0)]}
    frames = track(Script(lines), 3, every=1)
    assert [ids(objects) for objects in frames] == [[0], [0, 1], [0, 1]]


@pytest.mark.parametrize("given_id", [-1, 1 << 32])
def test_a_given_id_that_the_stream_cannot_hold_gets_another(given_id: int) -> None:
    [objects] = track(Script([person(track_id=given_id)]), 1)
    assert ids(objects) == [0]


def test_of_more_objects_than_the_stream_holds_the_best_stay() -> None:
    """On a 20 x 15 grid of cells no two of 300 share one: each is a group."""
    boxes = [Detection(CAR, 0.5 + n / 1000, 32 * (n % 20) + 4, 32 * (n // 20) + 4, 24, 24) for n in range(300)]
    [objects] = track(Script(boxes), 1)
    assert len(objects) == 255
    assert min(item.score for item in objects) >= round(255 * (0.5 + 44 / 1000))
    assert group_map(objects, width=WIDTH, height=HEIGHT).max() == 255


def test_boxes_that_are_no_boxes_are_left_out() -> None:
    nan, infinite = float("nan"), float("inf")
    odd = [
        replace(person(), x=nan),
        replace(person(), width=infinite),
        person(score=nan),
        person(x=-1000),
        replace(person(), width=-5.0),
        replace(person(), height=0.0),
    ]
    assert track(Script(odd), 1) == [()]


def test_an_object_leaves_the_picture() -> None:
    frames = track(Script({0: [person(500)]}), 30, flow=flow_of(-8, 0))
    assert ids(frames[10]) == [0]
    assert frames[10][0].x + frames[10][0].width == WIDTH
    assert frames[-1] == ()


def test_a_flow_of_another_size_is_refused() -> None:
    tracker = Tracker(Script([]), width=WIDTH, height=HEIGHT)
    with pytest.raises(ValueError, match="640x480 picture needs"):
        tracker.objects(FRAME, flow=np.zeros((2, 480, 640), np.float32), is_key=False)


def test_detection_at_least_every_frame() -> None:
    with pytest.raises(ValueError, match="every 0 frames"):
        Tracker(Script([]), width=WIDTH, height=HEIGHT, every=0)


sides = st.floats(-700, 700)
detections = st.builds(
    Detection,
    class_id=st.integers(0, 3),
    score=st.floats(0, 1),
    x=sides,
    y=sides,
    width=sides,
    height=sides,
    track_id=st.none() | st.integers(0, 3),
)


@given(
    lines=st.lists(st.none() | st.lists(detections, max_size=8), min_size=1, max_size=6),
    dx=sides,
    keys=st.sets(st.integers(0, 5)),
)
def test_whatever_is_detected_the_objects_fit_the_picture(
    lines: list[list[Detection] | None], dx: float, keys: set[int]
) -> None:
    detector = Script({n: line for n, line in enumerate(lines) if line is not None})
    for objects in track(detector, len(lines), flow=flow_of(dx, dx / 7), keys=tuple(keys), every=1):
        ObjectList(objects).check(width=WIDTH, height=HEIGHT, classes=COCO_80)


def test_a_box_of_most_of_the_picture_around_several_others_is_left_out() -> None:
    scene = Detection(6, 0.9, 5, 5, 600, 450)
    people = [person(50 + 120 * k) for k in range(3)]
    [objects] = track(Script([scene, *people]), 1)
    assert [item.class_id for item in objects] == [PERSON] * 3
    [objects] = track(Script([scene, *people[:2]]), 1)
    assert len(objects) == 3, "a train with two people before it may be one"


def test_one_object_over_the_whole_picture_stays() -> None:
    [objects] = track(Script([Detection(PERSON, 0.9, -20, -5, 700, 520)]), 1)
    assert objects == (SceneObject(0, PERSON, 230, 0, 0, WIDTH, HEIGHT),)
