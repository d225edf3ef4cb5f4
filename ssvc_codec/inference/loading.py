"""Weights of a model into networks, integer heads and tables."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ..entropy import IntegerScaleHead
from ..errors import ModelError
from ..weights import Model

__all__ = ["load_head", "load_tables", "load_weights"]


def load_head(model: Model, kind: str) -> IntegerScaleHead:
    """The integer head of a kind of substream, tested. Raises ModelError."""
    head = IntegerScaleHead(model.group(f"{kind}.head"))
    known = model.config.get("known_answer", {})
    if not isinstance(known, Mapping) or known.get(kind) != head.known_answer():
        raise ModelError(f"model {model.name}: the integer scale head fails its known-answer test on this machine")
    return head


def load_tables(model: Model) -> list[NDArray[np.uint32]]:
    """The probability tables. Raises ModelError where there are none."""
    group = model.group("tables")
    if "sizes" not in group or "frequencies" not in group:
        raise ModelError(f"model {model.name}: no probability tables")
    ends = np.cumsum(group["sizes"].astype(np.int64))
    return np.split(group["frequencies"].astype(np.uint32), ends[:-1].tolist())


def load_weights(net: nn.Module, model: Model, prefix: str) -> None:
    """Fills a network, scale heads excepted, and readies it for inference. Raises ModelError."""
    values = {k: torch.from_numpy(np.array(v)).float() for k, v in model.group(prefix).items()}
    values = {k: v for k, v in values.items() if not k.startswith("head.") or prefix != "intra"}
    try:
        missing, unexpected = net.load_state_dict(values, strict=False)
    except RuntimeError as error:
        raise ModelError(f"model {model.name}: weights do not fit its config: {error}") from error
    if unexpected or any("scale_head." not in name and "merge_tables." not in name for name in missing):
        raise ModelError(f"model {model.name}: weights do not fit its config: {missing + unexpected}")
    net.eval().requires_grad_(False)
    net.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
