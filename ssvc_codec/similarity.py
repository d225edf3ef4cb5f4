"""Constants of MS-SSIM (Wang, Simoncelli and Bovik 2003), which is measured in numpy and trained for in torch."""

from __future__ import annotations

__all__ = ["K1", "K2", "SCALE_WEIGHTS", "WINDOW_SIGMA", "WINDOW_SIZE"]

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang 2003, sec. 3.2
WINDOW_SIZE = 11
WINDOW_SIGMA = 1.5
K1, K2 = 0.01, 0.03
