"""Weights of a model into networks, integer heads and tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ..entropy import IntegerBlockHeads, IntegerScaleHead
from ..entropy.block_heads import BLOCK_HEADS
from ..entropy.key_heads import KEY_HEADS, IntegerKeyHeads
from ..entropy.plain_tables import PlainTables
from ..entropy.vector_head import IntegerVectorHead
from ..errors import ModelError
from ..weights import Model

__all__ = [
    "load_block_heads",
    "load_head",
    "load_key_heads",
    "load_plain_tables",
    "load_tables",
    "load_vector_head",
    "load_weights",
]

Head = TypeVar("Head", IntegerScaleHead, IntegerVectorHead, IntegerBlockHeads, IntegerKeyHeads)

# Parts of networks whose integers lie elsewhere in a model.
STORED_APART = ("scale_head.", "residual.entropy.", "residual.offset_entropy.", "blocks.entropy.", "_tables.")


def load_head(model: Model) -> IntegerScaleHead:
    """The integer head of I frames, tested. Raises ModelError."""
    return _tested(IntegerScaleHead(model.group("intra.head")), model, "intra")


def load_vector_head(model: Model) -> IntegerVectorHead:
    """The integer head of MOTION, tested. Raises ModelError."""
    return _tested(IntegerVectorHead(model.group("motion.head")), model, "motion")


def load_block_heads(model: Model) -> IntegerBlockHeads:
    """The integer heads of RESIDUAL, tested. Raises ModelError."""
    heads = IntegerBlockHeads(*(model.group(f"residual.{part}") for part in BLOCK_HEADS))
    return _tested(heads, model, "residual")


def _tested(head: Head, model: Model, kind: str) -> Head:
    known = model.config.get("known_answer", {})
    if not isinstance(known, Mapping) or known.get(kind) != head.known_answer():
        raise ModelError(f"model {model.name}: the integer scale head fails its known-answer test on this machine")
    return head


def load_key_heads(model: Model) -> IntegerKeyHeads:
    """The integer heads of I frames in blocks, tested. Raises ModelError."""
    return _tested(IntegerKeyHeads({part: model.group(f"blocks.{part}") for part in KEY_HEADS}), model, "blocks")


def load_plain_tables(model: Model, name: str, shape: tuple[int, int]) -> PlainTables:
    """Tables of a tensor and a shape, as `residual.flags`. Raises ModelError."""
    prefix, _, rest = name.rpartition(".")
    frequencies = model.group(prefix).get(rest)
    if frequencies is None or frequencies.shape != shape:
        raise ModelError(f"model {model.name}: no tables {name} (docs/bitstream.md, section 5)")
    return PlainTables(frequencies, name=f"model {model.name}: {name}")


def load_tables(model: Model, prefix: str = "tables") -> list[NDArray[np.uint32]]:
    """The probability tables of a name. Raises ModelError where there are none."""
    group = model.group(prefix)
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
    if unexpected or any(not any(part in name for part in STORED_APART) for name in missing):
        raise ModelError(f"model {model.name}: weights do not fit its config: {missing + unexpected}")
    net.eval().requires_grad_(False)
    net.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
