"""Samples in a plain loop. Boxes alone load no torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Unpack

from numpy.typing import NDArray

from .clip_set import ClipSet
from .clips import PathName
from .order import EpochOrder
from .request import Request, RequestOptions
from .sample import Sample

__all__ = ["iter_samples"]


def iter_samples(
    paths: PathName | Iterable[PathName],
    *,
    labels: Sequence[int] | None = None,
    shuffle: bool = False,
    seed: int = 0,
    epoch: int = 0,
    strict: bool = False,
    model: str | None = None,
    device: str = "cpu",
    **options: Unpack[RequestOptions],
) -> Iterator[Sample[NDArray[Any]]]:
    """Every clip of some .ssv files as numpy arrays.

    options: the fields of Request. shuffle: GoPs in the order that seed and epoch give. strict: raise for what is
    damaged instead of leaving it out with a DamageWarning. Raises ValueError, MediaError, ModelError.
    """
    clips = ClipSet(paths, Request(**options), labels=labels, strict=strict, model=model, device=device)
    order = EpochOrder(clips.clips.gops, shuffle=shuffle, seed=seed)
    order.set_epoch(epoch)
    return (sample for _, sample in clips.read_all(order.remaining().tolist()) if sample is not None)
