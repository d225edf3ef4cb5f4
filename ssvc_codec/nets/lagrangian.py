"""What a bit is worth at each q_index."""

from __future__ import annotations

from torch import Tensor

__all__ = [
    "CELL_WORTH",
    "KNEE",
    "LAMBDA_FIRST",
    "LAMBDA_LAST",
    "PLANE_WEIGHTS",
    "SYMBOL_WORTH",
    "VECTOR_WORTH",
    "lambda_of",
]

PLANE_WEIGHTS = (0.75, 0.5, 0.5)  # of the squared errors of Y, U and V: near the gradient of 6:1:1 PSNR
LAMBDA_FIRST = 0.0009  # bits per luma sample for one unit of squared error (0..255), at q_index 0
LAMBDA_LAST = 0.4  # at q_index 63
# Bits per luma sample from which on an error of the warp is worth the logarithm: the residual will take it away.
KNEE = 0.3
# What an error of a P frame costs against what lambda says, as the pictures after it inherit it: each was measured.
CELL_WORTH = 2.0  # of a cell that may go without symbols
SYMBOL_WORTH = 1.5  # of a symbol that may be smaller
VECTOR_WORTH = 1.5  # of a block that may have a vector of its own


def lambda_of(q: Tensor) -> Tensor:
    """Lagrangian of R + lambda D for a q_index: R in bits per pixel, D in squared 8-bit code values."""
    return LAMBDA_FIRST * (LAMBDA_LAST / LAMBDA_FIRST) ** (q / 63)
