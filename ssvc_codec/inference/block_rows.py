"""Latents of blocks of 8x8 to rows, one a block in the order of cells, and back (docs/bitstream.md, section 5.8)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..entropy.blocks import N_BLOCKS, N_CHANNELS

__all__ = ["blocks_to_rows", "rows_of", "rows_to_blocks"]


def blocks_to_rows(x: Tensor) -> NDArray[np.float32]:
    """(1, 96, H/8, W/8) to (16 n, 96), blocks in the order of cells."""
    _, channels, height, width = x.shape
    cells = x[0].view(channels, height // 4, 4, width // 4, 4).permute(1, 3, 2, 4, 0)
    return cells.reshape(-1, channels).cpu().numpy()


def rows_to_blocks(y: Tensor, cells: tuple[int, ...]) -> Tensor:
    """(n, 16 x 96) to (1, 96, H/8, W/8). cells: (rows, columns) of the n cells."""
    rows, columns = cells
    grid = y.view(rows, columns, 4, 4, N_CHANNELS).permute(4, 0, 2, 1, 3)
    return grid.reshape(1, N_CHANNELS, 4 * rows, 4 * columns)


def rows_of(rows: NDArray[Any], part: NDArray[np.integer]) -> NDArray[Any]:
    """Rows of the even or the odd blocks, (8 n, ..) of (16 n, ..)."""
    return rows.reshape(-1, N_BLOCKS, *rows.shape[1:])[:, part].reshape(-1, *rows.shape[1:])
