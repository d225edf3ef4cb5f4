"""Shuffling, sharding and resuming lose no clip and give none twice."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ssvc_codec.dataset import EpochOrder

sizes = st.lists(st.integers(1, 5), max_size=12)  # clips of each GoP
seeds = st.integers(0, 2**32)


def gops_of(counts: list[int]) -> NDArray[np.int64]:
    return np.repeat(np.arange(len(counts)), counts)


def order_of(counts: list[int], **options: object) -> EpochOrder:
    return EpochOrder(gops_of(counts), **options)  # type: ignore[arg-type]


@given(sizes, seeds, st.integers(0, 5))
def test_an_epoch_has_every_clip_once_and_gops_in_a_row(counts: list[int], seed: int, epoch: int) -> None:
    order = order_of(counts, shuffle=True, seed=seed)
    order.set_epoch(epoch)
    clips = order.remaining()
    assert sorted(clips.tolist()) == list(range(sum(counts)))
    gops = gops_of(counts)[clips]
    assert np.count_nonzero(np.diff(gops)) == max(len(counts) - 1, 0)
    assert all((np.diff(clips)[np.diff(gops) == 0] == 1).tolist())  # ascending within a GoP: decoded in one go


@given(sizes, seeds, st.integers(1, 4), st.booleans())
def test_ranks_share_the_clips(counts: list[int], seed: int, world_size: int, even: bool) -> None:
    shares = [
        order_of(counts, shuffle=True, seed=seed, rank=rank, world_size=world_size, even=even).remaining().tolist()
        for rank in range(world_size)
    ]
    taken = [clip for share in shares for clip in share]
    assert len(set(taken)) == len(taken)
    left_out = sum(counts) - len(taken)
    assert left_out == (sum(counts) % world_size if even else 0)
    assert not even or len({len(share) for share in shares}) == 1


@given(sizes, seeds, st.integers(1, 4))
def test_workers_share_the_clips_by_gop(counts: list[int], seed: int, n_workers: int) -> None:
    order = order_of(counts, shuffle=True, seed=seed)
    shares = [order.remaining(worker, n_workers).tolist() for worker in range(n_workers)]
    assert sorted(clip for share in shares for clip in share) == list(range(sum(counts)))
    homes = [{int(gop) for gop in gops_of(counts)[share]} for share in shares]
    assert sum(map(len, homes)) == len(counts)


@given(sizes, seeds, st.data())
def test_a_state_gives_exactly_what_is_left(counts: list[int], seed: int, data: st.DataObject) -> None:
    order = order_of(counts, shuffle=True, seed=seed)
    order.set_epoch(3)
    clips = order.remaining().tolist()
    done = data.draw(st.sets(st.sampled_from(clips))) if clips else set()
    order.mark(done)
    state = json.loads(json.dumps(order.state_dict()))
    later = order_of(counts, shuffle=True, seed=seed)
    later.load_state_dict(state)
    assert later.epoch == 3
    assert later.remaining().tolist() == [clip for clip in clips if clip not in done]
    assert later.state_dict() == order.state_dict()
    later.set_epoch(4)
    assert len(later.remaining()) == sum(counts)


def test_epochs_and_seeds_differ_and_come_back() -> None:
    def clips(seed: int, epoch: int) -> list[int]:
        order = order_of([1] * 50, shuffle=True, seed=seed)
        order.set_epoch(epoch)
        return order.remaining().tolist()

    assert clips(1, 0) == clips(1, 0)
    assert len({tuple(clips(seed, epoch)) for seed in (1, 2) for epoch in (0, 1)}) == 4
    assert order_of([1] * 50).remaining().tolist() == list(range(50))


def test_a_state_of_other_data_is_refused() -> None:
    state = order_of([2, 2], shuffle=True, seed=1).state_dict()
    with pytest.raises(ValueError, match="seed 1"):
        order_of([2, 2], shuffle=True, seed=2).load_state_dict(state)
    with pytest.raises(ValueError, match="n_clips 4"):
        order_of([2, 3], shuffle=True, seed=1).load_state_dict(state)
    with pytest.raises(ValueError, match="rank 2 of 2"):
        order_of([2], rank=2, world_size=2)
