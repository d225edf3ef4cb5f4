"""Trained networks to a model folder and back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import Tensor

from ..entropy import IntegerScaleHead, gaussian_tables
from ..entropy.tables import N_TABLES, SCALE_MIN
from ..nets.blocks import GainTable
from ..nets.intra import IntraConfig, IntraNet
from ..nets.scale_head import SCALE_STEP, WEIGHT_BITS, ScaleHead
from ..weights import Model

__all__ = ["export_intra", "import_intra"]

EXACT = ("log_gain",)  # parameters kept in float32


def _network_tensors(net: torch.nn.Module, prefix: str) -> dict[str, np.ndarray]:
    result: dict[str, np.ndarray] = {}
    for name, value in net.state_dict().items():
        if name.startswith("scale_head."):
            continue
        exact = name.endswith(EXACT) or name.endswith("linear.weight")
        result[f"{prefix}.{name}"] = (value.float() if exact else value.half()).cpu().numpy()
    return result


def _integer_tensors(head: ScaleHead, z_gain: GainTable, z_scale: GainTable) -> dict[str, np.ndarray]:
    tensors = {name: value.numpy() for name, value in head.export(1 / z_gain.table()).items()}
    for name in ("weight1", "weight2", "weight3"):
        tensors[name] = tensors[name].astype(np.int16)
    index = ((z_scale.table() / SCALE_MIN).log() / SCALE_STEP).round().clamp(0, N_TABLES - 1)
    tensors["z_index"] = index.to(torch.uint8).cpu().numpy()
    return tensors


def export_intra(net: IntraNet, folder: Path, *, name: str, about: dict[str, object]) -> IntegerScaleHead:
    """Writes config.json and weights.safetensors: floats in half precision, integers as they are.

    about: recipe and numbers for the card, kept in config.json. Returns the integer head written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    integers = _integer_tensors(net.scale_head, net.z_gain, net.z_scale)
    tables = gaussian_tables()
    tensors = _network_tensors(net, "intra")
    tensors |= {f"intra.head.{key}": value for key, value in integers.items()}
    tensors["tables.sizes"] = np.array([table.size for table in tables], dtype=np.int32)
    tensors["tables.frequencies"] = np.concatenate(tables)
    head = IntegerScaleHead({key: np.asarray(value) for key, value in integers.items()})
    config = {
        "name": name,
        "intra": net.config.to_dict(),
        "known_answer": {"intra": head.known_answer()},
        "about": about,
    }
    save_file({key: np.ascontiguousarray(value) for key, value in tensors.items()}, folder / "weights.safetensors")
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    return head


def import_intra(model: Model) -> IntraNet:
    """The networks of a model, ready to be trained further.

    The scale head comes back from its integers, exactly; biases per q_index are
    read at the anchors.
    """
    net = IntraNet(IntraConfig(**model.config["intra"]))  # type: ignore[arg-type]
    state = dict(net.state_dict())
    for key, value in model.group("intra").items():
        if key in state:
            state[key] = torch.from_numpy(np.asarray(value).astype(np.float32))
    head = {key: torch.from_numpy(np.asarray(v).astype(np.float32)) for key, v in model.group("intra.head").items()}
    state |= _scale_head_state(head, net.config.n_y)
    net.load_state_dict(state)
    return net


def _scale_head_state(head: dict[str, Tensor], n_y: int) -> dict[str, Tensor]:
    anchors = torch.arange(0, 64, 9)
    unit = [2.0 ** (4 + bits) for bits in WEIGHT_BITS]
    bias1 = (head["bias1"][anchors] - 2.0**7) / unit[0]
    bias3 = (head["bias3"][anchors] - 2.0**9) / unit[2]
    offset = bias3.view(8, 4, n_y).mean(1)
    state = {f"scale_head.weights.{k}": head[f"weight{k + 1}"] / 2.0 ** WEIGHT_BITS[k] for k in range(3)}
    state["scale_head.biases.0"] = torch.zeros_like(bias1[0])
    state["scale_head.biases.1"] = (head["bias2"] - 2.0**7) / unit[1]
    state["scale_head.biases.2"] = (bias3 - offset.repeat(1, 4)).mean(0)
    state["scale_head.q_bias.log_gain"] = bias1
    state["scale_head.offset.log_gain"] = offset * SCALE_STEP
    return state
