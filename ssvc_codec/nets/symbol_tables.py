"""The tables that symbols of I frames are coded by, kept beside the networks while these train."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..entropy.tables import gaussian_tables

__all__ = ["SymbolTables"]


class SymbolTables(nn.Module):
    """Tables of docs/bitstream.md, section 5.3: Gaussian ones, or counted ones. Nothing here is learned."""

    sizes: Tensor  # (64,) int64
    frequencies: Tensor  # (sum of sizes,) int64

    def __init__(self) -> None:
        super().__init__()
        for name in ("sizes", "frequencies"):
            self.register_buffer(name, torch.zeros(0, dtype=torch.int64))
        self.put(gaussian_tables())

    def put(self, tables: Sequence[NDArray[np.uint32]]) -> None:
        """Takes these tables instead."""
        joined = np.concatenate(tables).astype(np.int64)
        self.sizes = torch.tensor([table.size for table in tables], device=self.sizes.device)
        self.frequencies = torch.from_numpy(joined).to(self.frequencies.device)

    def tables(self) -> list[NDArray[np.uint32]]:
        """As gaussian_tables gives them."""
        ends = self.sizes.cumsum(0)[:-1].tolist()
        return np.split(self.frequencies.cpu().numpy().astype(np.uint32), ends)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        """Tables of any sizes. A state from before there were such tables leaves them as they are."""
        for name in ("sizes", "frequencies"):
            own = getattr(self, name)
            setattr(self, name, state_dict.get(prefix + name, own).to(own.device, torch.int64, copy=True))
