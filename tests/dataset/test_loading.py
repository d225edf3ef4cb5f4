"""The torch data sets in a DataLoader: workers, batches, resuming, damaged files."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from ssvc_codec.dataset import (
    Batch,
    DamageWarning,
    GopSampler,
    Sample,
    SsvDataset,
    SsvFile,
    SsvIterable,
    collate,
    iter_samples,
)
from ssvc_codec.errors import BitstreamError, MediaError

from .conftest import HEIGHT, WIDTH, write_ssv

few_cpus = pytest.mark.filterwarnings("ignore:This DataLoader will create 2 worker")  # a machine with one
FLOW: dict[str, Any] = {"parts": {"flow", "boxes"}, "n_frames": 2, "flow_size": (6, 8)}


def facts(sample: Sample[torch.Tensor]) -> tuple[int, int, int, float]:
    """What a worker sends of a sample: its clip, the threads and the label, and its flow."""
    assert sample.flow is not None
    return sample.index, torch.get_num_threads(), sample.label, float(sample.flow.double().sum())


def expected(files: list[Path]) -> dict[int, float]:
    """Flow by clip."""
    found = list(iter_samples(files, **FLOW))
    return {sample.index: float(sample.flow.astype(float).sum()) for sample in found}


@few_cpus
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_two_workers_give_every_clip_once_on_one_thread_each(files: list[Path], method: str) -> None:
    data = SsvIterable(files, transform=facts, shuffle=True, seed=3, labels=[5, 6, 7], **FLOW)
    next(iter(data))  # an open decoder must not reach the workers
    data.set_epoch(0)
    loader = DataLoader(data, batch_size=None, num_workers=2, multiprocessing_context=method)
    rows = list(loader)
    sums = expected(files)
    assert sorted(row[0] for row in rows) == sorted(sums)
    assert all(total == pytest.approx(sums[index], abs=1e-3) for index, _, _, total in rows)
    assert {threads for _, threads, _, _ in rows} == {1}
    assert {label for _, _, label, _ in rows} == {5, 6, 7}


@few_cpus
def test_a_map_style_data_set_works_with_a_sampler_and_workers(files: list[Path]) -> None:
    data = SsvDataset(files, **FLOW)
    sampler = GopSampler(data, seed=1)
    loader = DataLoader(data, batch_size=4, sampler=sampler, num_workers=2, collate_fn=collate)
    batches = [batch for batch in loader if isinstance(batch, Batch)]
    indexes = torch.cat([batch.index for batch in batches]).tolist()
    assert sorted(indexes) == list(range(len(data))) == list(range(13))
    assert batches[0].flow.shape == (4, 1, 2, 6, 8)
    assert batches[0].flow.dtype == torch.float32
    assert len(batches[0].boxes) == 4
    sampler.mark(batches[0].index)
    again = GopSampler(data, seed=1)
    again.load_state_dict(sampler.state_dict())
    assert list(again) == indexes[4:]


def test_the_order_does_not_depend_on_what_is_read(files: list[Path]) -> None:
    def indexes(**options: Any) -> list[int]:
        return [sample.index for sample in SsvIterable(files, n_frames=2, shuffle=True, seed=9, **options)]

    assert indexes(parts={"boxes"}) == indexes(parts={"flow"})
    plain = iter_samples(files, n_frames=2, parts={"boxes"}, shuffle=True, seed=9)
    assert [sample.index for sample in plain] == indexes(parts={"boxes"})


def test_each_pass_is_an_epoch(files: list[Path]) -> None:
    data = SsvIterable(files, parts={"boxes"}, n_frames=1, shuffle=True, seed=2)
    passes = [[sample.index for sample in data] for _ in range(2)]
    assert passes[0] != passes[1]
    data.set_epoch(0)
    assert [sample.index for sample in data] == passes[0]


def test_a_stopped_pass_goes_on_where_it_was(files: list[Path]) -> None:
    options: dict[str, Any] = {"parts": {"boxes"}, "n_frames": 1, "shuffle": True, "seed": 4}
    data = SsvIterable(files, **options)
    data.set_epoch(2)
    whole = [sample.index for sample in data]
    data.set_epoch(2)
    stream = iter(data)
    begun = [next(stream).index for _ in range(9)]
    later = SsvIterable(files, **options)
    later.load_state_dict(data.state_dict())
    later.set_epoch(2)  # as a loop over epochs does: no change
    assert begun + [sample.index for sample in later] == whole
    assert len(list(later)) == later.n_clips  # the next epoch is whole


@few_cpus
def test_what_workers_gave_is_told_by_mark(files: list[Path]) -> None:
    options: dict[str, Any] = {"parts": {"boxes"}, "n_frames": 1, "shuffle": True, "seed": 4}
    data = SsvIterable(files, **options)
    loader = DataLoader(data, batch_size=5, num_workers=2, collate_fn=collate)
    stream = iter(loader)
    used: list[int] = []
    for _ in range(2):  # the workers are ahead by then
        batch = next(stream)
        data.mark(batch.index)
        used += batch.index.tolist()
    del stream
    later = SsvIterable(files, **options)
    later.load_state_dict(data.state_dict())
    rest = [
        index for b in DataLoader(later, batch_size=3, num_workers=2, collate_fn=collate) for index in b.index.tolist()
    ]
    assert sorted(used + rest) == list(range(data.n_clips))


def test_a_data_set_pickles_without_what_is_open(files: list[Path]) -> None:
    data = SsvDataset(files[0], **FLOW)
    before = data[1]
    copy = pickle.loads(pickle.dumps(data))
    assert len(pickle.dumps(data)) < 50_000
    assert torch.equal(copy[1].flow, before.flow)
    assert torch.equal(copy[1].boxes.xywh, before.boxes.xywh)


def test_batches_stack_what_has_one_shape(files: list[Path]) -> None:
    data = SsvDataset(files, parts={"keyframes", "flow"}, size=(20, 30))
    samples = [data[k] for k in range(len(data))]
    batch = collate([*samples, None])
    assert batch is not None
    assert batch.keyframe.shape == (7, 3, 20, 30)
    assert batch.keyframe.dtype == torch.uint8
    assert [part.shape[0] for part in batch.flow] == [3, 3, 3, 3, 3, 3, 1]  # the last GoP is shorter
    assert batch.boxes is None
    assert batch.width.tolist() == [WIDTH] * 7
    assert collate([None]) is None


def test_files_of_other_sizes_go_together(first: Path, tmp_path: Path) -> None:
    other = write_ssv(tmp_path / "other.ssv", 2, width=192, height=128)
    samples = list(SsvIterable([first, other], parts={"keyframes", "flow"}, scale=4, size=(16, 16), flow_size=(4, 4)))
    assert {(s.width, s.height) for s in samples} == {(WIDTH, HEIGHT), (192, 128)}
    assert {tuple(s.keyframe.shape) for s in samples} == {(3, 16, 16)}


def test_damaged_clips_are_left_out_with_a_warning(damaged: Path, first: Path) -> None:
    data = SsvIterable([first, damaged], **FLOW)
    with pytest.warns(DamageWarning, match=r"1 so far.*frames 6 to 7"):
        indexes = [sample.index for sample in data]
    assert indexes == [0, 1, 2, 3, 4, 5, 6]
    assert data.n_skipped == 1
    listed = SsvDataset([damaged], **FLOW)
    with pytest.warns(DamageWarning):
        assert listed[3] is None
    assert listed[2] is not None
    with pytest.raises(BitstreamError):
        list(SsvIterable([damaged], strict=True, **FLOW))


def test_after_damage_the_next_clips_are_right(damaged: Path, first: Path) -> None:
    data = SsvDataset([damaged, first], parts={"frames"}, n_frames=2, strict=True)
    good = data[4].frames
    with pytest.raises(BitstreamError):
        data[3]
    assert torch.equal(data[4].frames, good)
    assert torch.equal(data[0].frames, good)


def test_files_that_are_none_are_left_out_or_refused(first: Path, tmp_path: Path) -> None:
    empty, other, missing = tmp_path / "empty.ssv", tmp_path / "text.ssv", tmp_path / "missing.ssv"
    empty.write_bytes(b"")
    other.write_text("no video at all, but longer than the head of one\n")
    with pytest.warns(DamageWarning, match="left out") as warned:
        data = SsvDataset([empty, first, other, missing], labels=[1, 2, 3, 4], parts={"boxes"})
    assert len(warned) == 3
    assert [data[k].label for k in range(len(data))] == [2, 2]
    for path in (empty, other, missing):
        with pytest.raises(MediaError, match=path.name):
            SsvFile(path)
    with pytest.raises(MediaError):
        SsvDataset([missing], parts={"boxes"}, strict=True)


def test_every_truncation_is_told_or_shorter(first: Path, tmp_path: Path) -> None:
    whole = first.read_bytes()
    path = tmp_path / "cut.ssv"
    for n_bytes in range(0, len(whole), 97):
        path.write_bytes(whole[:n_bytes])
        try:
            file = SsvFile(path)
        except MediaError:
            continue
        assert 0 < file.n_frames <= 8
        assert len(list(iter_samples(path, parts={"boxes"}, strict=True))) <= 2


def test_flipped_bytes_never_give_wrong_boxes_without_a_word(first: Path, tmp_path: Path) -> None:
    whole = first.read_bytes()
    right = {tuple(s.boxes.xywh.reshape(-1).tolist()) for s in iter_samples(first, parts={"boxes"})}
    random = np.random.default_rng(0)
    path = tmp_path / "flipped.ssv"
    for place in random.integers(int(SsvFile(first).starts[0]), len(whole), 60).tolist():
        data = bytearray(whole)
        data[place] ^= 1 << int(random.integers(8))
        path.write_bytes(data)
        try:
            for sample in iter_samples(path, parts={"boxes"}, strict=True):
                found = tuple(sample.boxes.xywh.reshape(-1).tolist())
                assert any(found == boxes[: len(found)] for boxes in right)  # a lost packet ends a GoP early
        except (BitstreamError, MediaError):
            continue
