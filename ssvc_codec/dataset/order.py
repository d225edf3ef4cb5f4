"""In which order clips are taken, by whom, and which are left: shuffling, sharding and resuming."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["EpochOrder"]

Indexes = NDArray[np.int64]


class EpochOrder:
    """The clips of one rank in the order of one epoch. Clips of a GoP stay together, so that it is decoded once.

    The order follows from seed and epoch alone, on every machine.
    """

    def __init__(
        self,
        gops: Indexes,
        *,
        shuffle: bool = False,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        even: bool = True,
    ) -> None:
        """gops: (n,) GoP of each clip, ascending from 0. rank, world_size: which share of the clips is taken.

        even: all ranks take equally many, and up to world_size - 1 clips are left out, others in each epoch.
        """
        if not 0 <= rank < world_size:
            raise ValueError(f"rank {rank} of {world_size}")
        self._gops, self._shuffle, self._seed = gops, shuffle, seed
        self._rank, self._world_size, self._even = rank, world_size, even
        self._epoch = 0
        self._order = self._make()
        self._skipped = np.zeros(len(gops), np.bool_)  # done before the state that was loaded
        self._done = np.zeros(len(gops), np.bool_)

    @property
    def epoch(self) -> int:
        """From 0."""
        return self._epoch

    def set_epoch(self, epoch: int) -> None:
        """Goes to an epoch, of which nothing is done yet. Nothing changes where it is the current one."""
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = self._make()
            self.restart()

    def restart(self) -> None:
        """Nothing of this epoch counts as done."""
        self._done[:] = self._skipped[:] = False

    def _make(self) -> Indexes:
        n_clips = len(self._gops)
        order = np.arange(n_clips)
        if self._shuffle and n_clips:
            random = np.random.default_rng([self._seed, self._epoch])
            place = random.permutation(int(self._gops[-1]) + 1)
            order = np.argsort(place[self._gops], kind="stable")
        if self._even:
            share = n_clips // self._world_size
            return order[self._rank * share : (self._rank + 1) * share]
        return np.array_split(order, self._world_size)[self._rank]

    def __len__(self) -> int:
        return len(self._order)

    def remaining(self, worker: int = 0, n_workers: int = 1) -> Indexes:
        """The clips of a pass, in order: all, or what a loaded state left. Each worker takes whole GoPs in turn."""
        left = self._order[~self._skipped[self._order]]
        if n_workers == 1 or not len(left):
            return left
        gop = self._gops[left]
        run = np.concatenate([[0], np.cumsum(np.diff(gop) != 0)])
        return left[run % n_workers == worker]

    def mark(self, indexes: Iterable[int]) -> None:
        """These clips are done: state_dict says so."""
        self._done[np.fromiter((int(index) for index in indexes), np.int64)] = True

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers, for JSON or torch.save."""
        done = np.flatnonzero(np.diff(np.concatenate([[False], self._done[self._order], [False]]).astype(np.int8)))
        return self._identity() | {"epoch": self._epoch, "done": done.reshape(-1, 2).tolist()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes back to a state: what was not done then is what remains. Raises ValueError for one of other data."""
        own = self._identity()
        different = [name for name, value in own.items() if state.get(name) != value]
        if different:
            told = ", ".join(f"{name} {state.get(name)} (here {own[name]})" for name in different)
            raise ValueError(f"this state belongs to other data or another split: {told}")
        self._epoch = int(state["epoch"])
        self._order = self._make()
        self.restart()
        for start, stop in state["done"]:
            self._skipped[self._order[start:stop]] = True
        self._done |= self._skipped

    def _identity(self) -> dict[str, Any]:
        return {
            "n_clips": len(self._gops),
            "shuffle": self._shuffle,
            "seed": self._seed,
            "rank": self._rank,
            "world_size": self._world_size,
            "even": self._even,
        }
