from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest

from ssvc_codec.bitstream import FrameType
from ssvc_codec.frame import Frame, VideoFormat
from ssvc_codec.gop import FramePlan, GopPlanner
from ssvc_codec.gop.planner import HIERARCHIES, Hierarchy, q_offset

FORMAT = VideoFormat(width=96, height=64)
I, P = FrameType.I, FrameType.P  # noqa: E741


def make_frame(scene: int) -> Frame:
    """A picture of soft detail; another scene is another picture."""
    coarse = np.random.default_rng(scene).integers(16, 236, (16, 24), dtype=np.uint8)
    chroma = np.full((32, 48), 128, np.uint8)
    return Frame(coarse.repeat(4, 0).repeat(4, 1), chroma, chroma, FORMAT)


def plan(planner: GopPlanner, scenes: list[int], force_at: tuple[int, ...] = ()) -> list[FramePlan]:
    return [planner.plan(make_frame(scene), force_key=place in force_at) for place, scene in enumerate(scenes)]


def key_places(plans: list[FramePlan]) -> list[int]:
    return [place for place, frame in enumerate(plans) if frame.frame_type is I]


def test_key_frames_come_every_keyint_frames() -> None:
    plans = plan(GopPlanner(q_index=35, keyint=4), [0] * 10)
    assert [frame.frame_type for frame in plans] == [I, P, P, P, I, P, P, P, I, P]
    assert [frame.frame_number for frame in plans] == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1]


def test_a_p_frame_refers_to_the_frame_before_it() -> None:
    plans = plan(GopPlanner(q_index=35, keyint=4), [0] * 9)
    for before, frame in pairwise(plans):
        assert frame.reference == (None if frame.frame_type is I else before.frame_number)


def test_keyint_1_is_all_intra_at_the_q_asked_for() -> None:
    plans = plan(GopPlanner(q_index=35, keyint=1), [0, 0, 1])
    assert plans == [FramePlan(I, 0, 35)] * 3


def test_q_follows_the_hierarchy_within_its_limits() -> None:
    offsets = [q_offset(distance, keyint=20, hierarchy=HIERARCHIES["psnr"]) for distance in range(20)]
    plans = plan(GopPlanner(q_index=30, keyint=20), [0] * 20)
    assert [frame.q_index for frame in plans] == [30 + offset for offset in offsets]
    coarse = plan(GopPlanner(q_index=1, keyint=20), [0] * 20)
    assert coarse[-1].q_index == 0


def test_at_the_finest_q_every_frame_has_it() -> None:
    assert {frame.q_index for frame in plan(GopPlanner(q_index=63, keyint=12), [0] * 12)} == {63}
    assert min(frame.q_index for frame in plan(GopPlanner(q_index=61, keyint=12), [0] * 12)) == 59


def p_offsets(keyint: int, heritage: float) -> list[int]:
    planner = GopPlanner(q_index=30, keyint=keyint, hierarchy=Hierarchy(10, heritage))
    return [frame.q_offset for frame in plan(planner, [0] * keyint)[1:]]


@pytest.mark.parametrize("keyint", [2, 3, 10, 12, 16])
def test_p_frames_are_coarser_the_fewer_inherit_them_and_at_q_on_the_mean(keyint: int) -> None:
    assert set(p_offsets(keyint, 0.0)) == {0}
    offsets = p_offsets(keyint, 6.0)
    assert offsets == sorted(offsets, reverse=True)
    assert abs(np.mean(offsets)) < 0.5
    assert (offsets[-1] < offsets[0] - 8) == (keyint >= 10)


@pytest.mark.parametrize("heritage", [0.0, 6.0])
def test_every_eighth_p_frame_refreshes_but_not_for_the_sake_of_a_few(heritage: float) -> None:
    for keyint, expected in ((12, []), (16, []), (17, [8]), (24, [8]), (25, [8, 16]), (50, [8, 16, 24, 32, 40])):
        offsets = p_offsets(keyint, heritage)
        assert [k + 2 for k, (a, b) in enumerate(pairwise(offsets)) if b > a + 4] == expected


def test_the_end_of_a_long_group_does_not_sink() -> None:
    assert min(p_offsets(60, 6.0)) == p_offsets(60, 6.0)[-1] == -8


def test_far_from_its_end_a_group_knows_no_end() -> None:
    for keyint in (250, 1 << 20):
        assert {q_offset(k, keyint=keyint, hierarchy=Hierarchy(10, 6.0)) for k in range(1, 8)} == {0}


def test_a_scene_cut_starts_a_group() -> None:
    plans = plan(GopPlanner(q_index=35, keyint=20, min_keyint=2), [0] * 5 + [1] * 4)
    assert key_places(plans) == [0, 5]
    assert [place for place, frame in enumerate(plans) if frame.is_scene_cut] == [5]


def test_a_scene_cut_too_soon_is_a_p_frame_that_says_so() -> None:
    plans = plan(GopPlanner(q_index=35, keyint=20, min_keyint=4), [0] * 3 + [1] * 9)
    assert key_places(plans) == [0]
    assert [(frame.frame_type, frame.is_scene_cut) for frame in plans[2:5]] == [(P, False), (P, True), (P, False)]


def test_a_flickering_clip_has_no_more_key_frames_than_min_keyint_allows() -> None:
    assert key_places(plan(GopPlanner(q_index=35, keyint=50), [0, 1] * 10)) == [0, 5, 10, 15]


def test_without_scenecut_only_distance_counts() -> None:
    plans = plan(GopPlanner(q_index=35, keyint=6, scenecut=False), [0, 0, 1, 2, 3, 4, 5])
    assert key_places(plans) == [0, 6]
    assert not any(frame.is_scene_cut for frame in plans)


def test_a_forced_key_frame_ignores_min_keyint_and_restarts_the_count() -> None:
    plans = plan(GopPlanner(q_index=35, keyint=5, min_keyint=5), [0] * 12, force_at=(2,))
    assert key_places(plans) == [0, 2, 7]


def test_a_cut_is_measured_from_the_frame_before_even_where_that_was_forced() -> None:
    plans = plan(GopPlanner(q_index=35, keyint=20, min_keyint=1), [0, 0, 0, 1, 1, 1], force_at=(2, 4))
    assert key_places(plans) == [0, 2, 3, 4]


@pytest.mark.parametrize(("keyint", "min_keyint"), [(1, 1), (9, 1), (50, 5), (250, 25)])
def test_min_keyint_is_a_tenth_of_keyint(keyint: int, min_keyint: int) -> None:
    assert GopPlanner(q_index=0, keyint=keyint).min_keyint == min_keyint


def test_frame_numbers_wrap_at_16_bits() -> None:
    planner = GopPlanner(q_index=35, keyint=1 << 20, scenecut=False)
    frame = make_frame(0)
    for _ in range(0xFFFF):
        planner.plan(frame)
    last, wrapped = planner.plan(frame), planner.plan(frame)
    assert (last.frame_number, wrapped.frame_type, wrapped.frame_number, wrapped.reference) == (65535, P, 0, 65535)


@pytest.mark.parametrize(
    ("q_index", "keyint", "min_keyint"), [(-1, 10, None), (64, 10, None), (0, 0, None), (0, 10, 0), (0, 10, 11)]
)
def test_values_out_of_range_are_the_callers_fault(q_index: int, keyint: int, min_keyint: int | None) -> None:
    with pytest.raises(ValueError, match=r"q_index|keyint"):
        GopPlanner(q_index=q_index, keyint=keyint, min_keyint=min_keyint)


def test_planning_loads_no_torch() -> None:
    code = "import sys, ssvc_codec.gop; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
