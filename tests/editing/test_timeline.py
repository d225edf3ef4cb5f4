from __future__ import annotations

from fractions import Fraction

from ssvc_codec.editing import edited
from ssvc_codec.packet import Packet

TIME_BASE = Fraction(1, 1000)


def packets(times: list[int], durations: list[int]) -> list[Packet]:
    return [Packet(b"%d" % pts, pts, True, n, TIME_BASE) for pts, n in zip(times, durations, strict=True)]


def test_a_packet_lasts_until_the_next_that_is_kept() -> None:
    kept = {0, 70}
    result = edited(packets([0, 30, 70, 80], [30, 40, 10, 20]), lambda p: p.data if p.pts in kept else None)
    assert [(p.pts, p.duration, p.data) for p in result] == [(0, 70, b"0"), (70, 30, b"70")]


def test_where_nothing_is_left_out_unknown_durations_stay_unknown() -> None:
    result = edited(packets([0, 30], [0, 0]), lambda p: p.data * 2)
    assert [(p.pts, p.duration, p.data) for p in result] == [(0, 0, b"00"), (30, 0, b"3030")]


def test_what_comes_before_the_first_kept_packet_is_gone() -> None:
    result = edited(packets([0, 30, 60], [30, 30, 30]), lambda p: p.data if p.pts == 60 else None)
    assert [(p.pts, p.duration) for p in result] == [(60, 30)]


def test_nothing_gives_nothing() -> None:
    assert list(edited([], lambda p: p.data)) == []
    assert list(edited(packets([0], [1]), lambda p: None)) == []
