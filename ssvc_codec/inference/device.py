"""Which device and number type to run on."""

from __future__ import annotations

import torch

from ..errors import ModelError

__all__ = ["fast_dtype", "pick_device"]


def pick_device(name: str) -> str:
    """'auto' is CUDA where there is one. Raises ModelError for CUDA where there is none."""
    if name not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device {name!r}: auto, cpu and cuda are supported")
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise ModelError("device cuda was asked for, but this torch finds none")
    return "cuda" if available and name != "cpu" else "cpu"


def fast_dtype(device: str) -> torch.dtype:
    """bfloat16 where the hardware multiplies it faster than float32."""
    if device == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    probe = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return torch.bfloat16 if probe is not None and probe() else torch.float32
