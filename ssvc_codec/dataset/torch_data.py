"""The torch side: a map-style data set with its sampler, an iterable one, and how samples become batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Unpack

import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, Sampler, get_worker_info

from .clip_set import ClipSet
from .clips import PathName
from .order import EpochOrder
from .request import Request, RequestOptions
from .sample import Boxes, Sample
from .source import SsvFile

__all__ = ["Batch", "GopSampler", "SsvDataset", "SsvIterable", "collate"]

Transform = Callable[[Sample[Tensor]], Any]


class SsvDataset(Dataset[Any]):
    """Clips of .ssv files by number. Take a GopSampler for shuffling: it leaves clips of a GoP together.

    data[i] is a Sample of tensors, or what transform makes of it; None, with a DamageWarning, where the clip is
    damaged and strict is not set: `collate` leaves these out.
    """

    def __init__(
        self,
        paths: PathName | Iterable[PathName],
        *,
        labels: Sequence[int] | None = None,
        transform: Transform | None = None,
        strict: bool = False,
        model: str | None = None,
        device: str = "cpu",
        **options: Unpack[RequestOptions],
    ) -> None:
        """options: the fields of Request. labels: one for each path. model: folder of weights that are not installed.

        Reads the index of every file, no frame. Raises ValueError; MediaError where strict.
        """
        self._clips = ClipSet(paths, Request(**options), labels=labels, strict=strict, model=model, device=device)
        self._transform = transform

    @property
    def files(self) -> Sequence[SsvFile]:
        """Those that can be read."""
        return self._clips.files

    @property
    def gops(self) -> Tensor:
        """(n,) int64: the GoP of each clip, counted over all files, ascending."""
        return torch.from_numpy(self._clips.clips.gops)

    @property
    def n_skipped(self) -> int:
        """Clips that this process found damaged."""
        return self._clips.n_skipped

    def __len__(self) -> int:
        return len(self._clips.clips)

    def __getitem__(self, index: int) -> Any:
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return self._transformed(self._clips.read(index % len(self)))

    def __getitems__(self, indexes: Sequence[int]) -> list[Any]:
        """A batch at once, as a DataLoader asks for it: faster than one by one."""
        if any(not -len(self) <= index < len(self) for index in indexes):
            raise IndexError(f"{indexes} of {len(self)}")
        numbers = [index % len(self) for index in indexes]
        return [self._transformed(sample) for _, sample in self._clips.read_all(numbers)]

    def _transformed(self, sample: Sample[Any] | None) -> Any:
        if sample is None:
            return None
        return sample.to_torch() if self._transform is None else self._transform(sample.to_torch())


class GopSampler(Sampler[int]):
    """Numbers of clips for an SsvDataset, GoP by GoP; resumes as SsvIterable does."""

    def __init__(
        self,
        data: SsvDataset,
        *,
        shuffle: bool = True,
        seed: int = 0,
        rank: int | None = None,
        world_size: int | None = None,
        even: bool = True,
    ) -> None:
        """rank, world_size: of torch.distributed if None. even: see EpochOrder."""
        self.order = _order(data._clips, shuffle, seed, rank, world_size, even)
        self._passes = _Passes(self.order)

    def __len__(self) -> int:
        return len(self.order.remaining())

    def __iter__(self) -> Iterator[int]:
        self._passes.begin()
        yield from self.order.remaining().tolist()

    def set_epoch(self, epoch: int) -> None:
        """The epoch of the next pass."""
        self._passes.set_epoch(epoch)

    def mark(self, indexes: Sequence[int] | Tensor) -> None:
        """Clips that were trained on: `batch.index`. They do not come back after load_state_dict."""
        self.order.mark(torch.as_tensor(indexes).reshape(-1).tolist())

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers: the epoch and what of it is done."""
        return self.order.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The next pass gives what was not done. Raises ValueError for a state of other data."""
        self._passes.load(state)


class SsvIterable(IterableDataset[Any]):
    """Clips of .ssv files in a stream, split over ranks and over the workers of a DataLoader. Damaged ones are skipped.

    Each pass is an epoch with an order of its own. To resume with workers, tell mark() what was trained on.
    """

    def __init__(
        self,
        paths: PathName | Iterable[PathName],
        *,
        labels: Sequence[int] | None = None,
        transform: Transform | None = None,
        shuffle: bool = False,
        seed: int = 0,
        rank: int | None = None,
        world_size: int | None = None,
        even: bool = True,
        strict: bool = False,
        model: str | None = None,
        device: str = "cpu",
        **options: Unpack[RequestOptions],
    ) -> None:
        """As SsvDataset and GopSampler."""
        self._clips = ClipSet(paths, Request(**options), labels=labels, strict=strict, model=model, device=device)
        self._transform = transform
        self.order = _order(self._clips, shuffle, seed, rank, world_size, even)
        self._passes = _Passes(self.order)

    @property
    def files(self) -> Sequence[SsvFile]:
        """Those that can be read."""
        return self._clips.files

    @property
    def n_clips(self) -> int:
        """Of this rank in an epoch."""
        return len(self.order)

    @property
    def n_skipped(self) -> int:
        """Clips that this process found damaged."""
        return self._clips.n_skipped

    def __iter__(self) -> Iterator[Any]:
        self._passes.begin()
        info = get_worker_info()
        part = (info.id, info.num_workers) if info is not None else (0, 1)
        for index, sample in self._clips.read_all(self.order.remaining(*part).tolist()):
            self.order.mark([index])
            if sample is not None:
                yield sample.to_torch() if self._transform is None else self._transform(sample.to_torch())

    def set_epoch(self, epoch: int) -> None:
        """The epoch of the next pass."""
        self._passes.set_epoch(epoch)

    def mark(self, indexes: Sequence[int] | Tensor) -> None:
        """Clips that were trained on: `batch.index`. Without workers this is known already."""
        self.order.mark(torch.as_tensor(indexes).reshape(-1).tolist())

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers: the epoch and what of it is done."""
        return self.order.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The next pass gives what was not done, over any number of workers. Raises ValueError for other data."""
        self._passes.load(state)


class _Passes:
    """Which epoch a pass is: the one that was set or loaded, else the one after the last."""

    def __init__(self, order: EpochOrder) -> None:
        self._order = order
        self._is_fresh = True  # no pass has begun since the epoch was set

    def begin(self) -> None:
        if not self._is_fresh:
            self._order.set_epoch(self._order.epoch + 1)
        self._is_fresh = False

    def set_epoch(self, epoch: int) -> None:
        if epoch != self._order.epoch or not self._is_fresh:
            is_same = epoch == self._order.epoch
            self._order.set_epoch(epoch)
            if is_same:
                self._order.restart()
        self._is_fresh = True

    def load(self, state: Mapping[str, Any]) -> None:
        self._order.load_state_dict(state)
        self._is_fresh = True


def _order(
    clips: ClipSet, shuffle: bool, seed: int, rank: int | None, world_size: int | None, even: bool
) -> EpochOrder:
    if (rank is None) != (world_size is None):
        raise ValueError("rank and world_size go together")
    if rank is None or world_size is None:
        joined = torch.distributed.is_available() and torch.distributed.is_initialized()
        rank = torch.distributed.get_rank() if joined else 0
        world_size = torch.distributed.get_world_size() if joined else 1
    return EpochOrder(clips.clips.gops, shuffle=shuffle, seed=seed, rank=rank, world_size=world_size, even=even)


_ABSENT: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """B samples; the fields are those of Sample: (B, ...) where all have one shape, else a list of tensors."""

    index: Tensor  # (B,) int64
    file: list[str]
    label: Tensor  # (B,) int64
    gop: Tensor  # (B,) int64
    frame_numbers: Any
    seconds: Any
    width: Tensor  # (B,) int64
    height: Tensor  # (B,) int64
    keyframe: Any = None
    frames: Any = None
    flow: Any = None
    boxes: list[Boxes[Tensor]] = _ABSENT
    crops: Any = None
    crop_boxes: list[Boxes[Tensor]] = _ABSENT
    latents: Any = None


def collate(samples: Sequence[Sample[Tensor] | None]) -> Batch | None:
    """For DataLoader(collate_fn=collate): stacks what has one shape. None where every sample was damaged."""
    found = [sample for sample in samples if sample is not None]
    if not found:
        return None
    values: dict[str, Any] = {}
    for name in Batch.__slots__:
        column = [getattr(sample, name) for sample in found]
        if isinstance(column[0], int):
            values[name] = torch.tensor(column)
        elif isinstance(column[0], Tensor):
            values[name] = torch.stack(column) if len({part.shape for part in column}) == 1 else column
        else:
            values[name] = None if column[0] is None else column
    return Batch(**values)
