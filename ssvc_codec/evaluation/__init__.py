"""Quality measures, rate comparison and raw clips: what the benchmarks and the training reports share."""

from __future__ import annotations

from ssvc_codec.evaluation.bd_rate import BdRate, RatePoint, bd_rate
from ssvc_codec.evaluation.clip import Clip, read_y4m
from ssvc_codec.evaluation.ms_ssim import ms_ssim, ms_ssim_db
from ssvc_codec.evaluation.psnr import PSNR_CAP_DB, Psnr, frame_psnr, mean_psnr

__all__ = [
    "PSNR_CAP_DB",
    "BdRate",
    "Clip",
    "Psnr",
    "RatePoint",
    "bd_rate",
    "frame_psnr",
    "mean_psnr",
    "ms_ssim",
    "ms_ssim_db",
    "read_y4m",
]
