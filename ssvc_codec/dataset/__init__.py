"""Training on .ssv files: key frames, object crops, flow, boxes and latents, without decoding the rest.

    for sample in iter_samples(["a.ssv", "b.ssv"], parts={"boxes"}):    # plain Python, loads no torch
        print(sample.file, sample.boxes.class_ids)

    data = SsvIterable(paths, parts={"keyframes", "flow"}, n_frames=11, scale=4, shuffle=True, seed=1)
    loader = DataLoader(data, batch_size=8, num_workers=2, collate_fn=collate)

Names load on first use. docs/dataset.md has shapes, units, and what each part costs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .clips import DamageWarning
    from .order import EpochOrder
    from .plain import iter_samples
    from .request import PARTS, Request
    from .sample import Boxes, Sample
    from .source import SsvFile
    from .torch_data import Batch, GopSampler, SsvDataset, SsvIterable, collate

__all__ = [
    "PARTS",
    "Batch",
    "Boxes",
    "DamageWarning",
    "EpochOrder",
    "GopSampler",
    "Request",
    "Sample",
    "SsvDataset",
    "SsvFile",
    "SsvIterable",
    "collate",
    "iter_samples",
]

_HOME_OF_NAME = {
    "PARTS": "request",
    "Boxes": "sample",
    "DamageWarning": "clips",
    "EpochOrder": "order",
    "Request": "request",
    "Sample": "sample",
    "SsvFile": "source",
    "iter_samples": "plain",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME_OF_NAME.get(name, 'torch_data')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
