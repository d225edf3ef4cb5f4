"""Time spent by phase of coding."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["Phases"]


class Phases:
    """Adds up seconds under names."""

    def __init__(self, device: str) -> None:
        self._device = device
        self.seconds: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Times what happens inside the with block."""
        start = time.perf_counter()
        yield
        if self._device == "cuda":
            torch.cuda.synchronize()
        self.seconds[name] += time.perf_counter() - start
