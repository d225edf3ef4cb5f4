"""Trained networks to a model folder and back."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import Tensor

from ..entropy import IntegerBlockHeads, IntegerScaleHead
from ..entropy.block_heads import BLOCK_HEADS
from ..entropy.class_flags import flag_frequencies
from ..entropy.key_heads import KEY_HEADS, IntegerKeyHeads
from ..entropy.plain_tables import plain_frequencies
from ..entropy.tables import LAPLACE_MIN, N_TABLES, SCALE_MIN, laplace_tables
from ..entropy.vector_head import IntegerVectorHead
from ..inference.loading import load_tables
from ..nets.blocks import GainTable
from ..nets.inter import InterConfig, InterNet
from ..nets.intra import IntraConfig, IntraNet
from ..nets.key_blocks import KeyBlocks
from ..nets.laplace import LAPLACE_STEP
from ..nets.residual import ResidualCodec
from ..nets.scale_head import SCALE_STEP, WEIGHT_BITS, ScaleHead
from ..weights import Model

__all__ = ["export_intra", "export_model", "import_inter", "import_intra"]

GAUSSIAN, LAPLACE = (SCALE_MIN, SCALE_STEP), (LAPLACE_MIN, LAPLACE_STEP)
# Likelihood that a group is in blocks, by q >> 3: fine ones are.
CODING_START = 2.0 ** -np.array([6.0, 5, 4, 3, 2, 1, 1, 1])
EXACT = ("log_gain", "linear.weight", "linear_back.weight")  # parameters kept in float32


def _network_tensors(net: torch.nn.Module, prefix: str) -> dict[str, np.ndarray]:
    result: dict[str, np.ndarray] = {}
    for name, value in net.state_dict().items():
        if any(part in name for part in ("scale_head.", "entropy.", "_tables.")):
            continue
        exact = name.endswith(EXACT)
        result[f"{prefix}.{name}"] = (value.float() if exact else value.half()).cpu().numpy()
    return result


def _integer_tensors(
    head: ScaleHead, z_gain: GainTable, z_scale: GainTable, *, spacing: tuple[float, float] = GAUSSIAN
) -> dict[str, np.ndarray]:
    """spacing: scale of table 0, and step of the logarithm from one to the next."""
    tensors = {name: value.numpy() for name, value in head.export(1 / z_gain.table()).items()}
    for name in ("weight1", "weight2", "weight3"):
        tensors[name] = tensors[name].astype(np.int16)
    index = ((z_scale.table() / spacing[0]).log() / spacing[1]).round().clamp(0, N_TABLES - 1)
    tensors["z_index"] = index.to(torch.uint8).cpu().numpy()
    return tensors


def _table_tensors(prefix: str, tables: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    return {
        f"{prefix}.sizes": np.array([table.size for table in tables], dtype=np.int32),
        f"{prefix}.frequencies": np.concatenate(tables),
    }


def _block_heads(residual: ResidualCodec) -> list[tuple[str, ScaleHead]]:
    """With the names that their tensors have."""
    heads = dict(residual.offset_entropy.named_children()) | dict(residual.entropy.named_children())
    found: list[tuple[str, ScaleHead]] = []
    for part in BLOCK_HEADS:
        head = heads[f"{part}_head"]
        assert isinstance(head, ScaleHead)
        found.append((part, head))
    return found


def _head_tensors(head: ScaleHead, prefix: str) -> dict[str, np.ndarray]:
    tensors = {name: value.numpy() for name, value in head.export().items()}
    for name in ("weight1", "weight2", "weight3"):
        tensors[name] = tensors[name].astype(np.int16)
    return {f"{prefix}.{name}": value for name, value in tensors.items()}


def _parts(tensors: Mapping[str, np.ndarray], prefix: str, parts: Collection[str]) -> dict[str, dict[str, np.ndarray]]:
    """Tensors of each head of a prefix."""
    return {
        part: {
            name.removeprefix(f"{prefix}.{part}."): value
            for name, value in tensors.items()
            if name.startswith(f"{prefix}.{part}.")
        }
        for part in parts
    }


def _key_tensors(blocks: KeyBlocks) -> dict[str, np.ndarray]:
    """Integer heads of I frames in blocks, tables of flags of their classes."""
    coding = plain_frequencies(np.stack([1 - CODING_START, CODING_START], axis=1))
    tensors: dict[str, np.ndarray] = {"blocks.flags": flag_frequencies(), "blocks.coding": coding}
    for part in KEY_HEADS:
        tensors |= _head_tensors(blocks.head(part), f"blocks.{part}")
    return tensors


def _block_tensors(residual: ResidualCodec) -> dict[str, np.ndarray]:
    """Integer heads of RESIDUAL, its tables, those of flags of classes."""
    mended = residual.mended_tables.state_dict()["rows"].cpu().numpy().astype(np.uint32)
    tensors: dict[str, np.ndarray] = {"residual.flags": flag_frequencies(), "residual.mended": mended}
    for part, head in _block_heads(residual):
        tensors |= _head_tensors(head, f"residual.{part}")
    return tensors


def export_intra(net: IntraNet, folder: Path, *, name: str, about: dict[str, object]) -> None:
    """As export_model, of a model that codes I frames alone."""
    export_model(net, None, folder, name=name, about=about)


def export_model(intra: IntraNet, inter: InterNet | None, folder: Path, *, name: str, about: dict[str, object]) -> None:
    """Writes config.json and weights.safetensors: floats in half precision, integers as they are.

    about: recipe and numbers for the card, kept in config.json.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = _network_tensors(intra, "intra")
    if intra.blocks is not None:
        tensors |= _key_tensors(intra.blocks)
    heads = {"intra": _integer_tensors(intra.scale_head, intra.z_gain, intra.z_scale)}
    config: dict[str, object] = {"name": name, "intra": intra.config.to_dict()}
    if inter is not None:
        tensors |= _network_tensors(inter, "inter")
        config["inter"] = inter.config.to_dict()
        if inter.merge_tables is not None:
            values = inter.merge_tables.state_dict().items()
            tensors |= {f"merge.{key}": value.cpu().numpy().astype(np.uint32) for key, value in values}
        latents = inter.motion.latents
        heads["motion"] = _integer_tensors(latents.scale_head, latents.z_gain, latents.z_scale, spacing=LAPLACE)
        tensors |= _block_tensors(inter.residual)
    for kind, integers in heads.items():
        tensors |= {f"{kind}.head.{key}": value for key, value in integers.items()}
    if inter is not None or intra.blocks is not None:
        tensors |= _table_tensors("laplace", laplace_tables())
    tensors |= _table_tensors("tables", intra.symbol_tables.tables())
    kinds = {"intra": IntegerScaleHead, "motion": IntegerVectorHead}
    answers = {kind: kinds[kind](head).known_answer() for kind, head in heads.items()}
    if inter is not None:
        answers["residual"] = IntegerBlockHeads(*_parts(tensors, "residual", BLOCK_HEADS).values()).known_answer()
    if intra.blocks is not None:
        answers["blocks"] = IntegerKeyHeads(_parts(tensors, "blocks", KEY_HEADS)).known_answer()
    config |= {"known_answer": answers, "about": about}
    save_file({key: np.ascontiguousarray(value) for key, value in tensors.items()}, folder / "weights.safetensors")
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def import_inter(model: Model) -> InterNet:
    """The P-frame networks of a model, ready to be trained further; fresh ones where it has none."""
    if "inter" not in model.config:
        return InterNet()
    net = InterNet(InterConfig.of(model.config["inter"]))
    state = dict(net.state_dict())
    if net.merge_tables is not None:
        state |= {f"merge_tables.{k}": torch.from_numpy(v.astype(np.int64)) for k, v in model.group("merge").items()}
    mended = model.group("residual").get("mended")
    if mended is not None:
        state["residual.mended_tables.rows"] = torch.from_numpy(mended.astype(np.int64))
    for key, value in model.group("inter").items():
        if key in state:
            state[key] = torch.from_numpy(np.asarray(value).astype(np.float32))
    head = {k: torch.from_numpy(np.asarray(v).astype(np.float32)) for k, v in model.group("motion.head").items()}
    values = _scale_head_state(head, net.motion.latents.n_y, positions=1)
    state |= {f"motion.latents.{name}": value for name, value in values.items()}
    for part, module in _block_heads(net.residual):
        stored = model.group(f"residual.{part}").items()
        head = {k: torch.from_numpy(np.asarray(v).astype(np.float32)) for k, v in stored}
        values = _scale_head_state(head, module.n_y, positions=1)
        within = "offset_entropy" if part in ("level", "slope") else "entropy"
        state |= {f"residual.{within}.{name.replace('scale_head', f'{part}_head')}": v for name, v in values.items()}
    net.load_state_dict(state)
    return net


def import_intra(model: Model) -> IntraNet:
    """The networks of a model, ready to be trained further.

    The scale head comes back from its integers, exactly; biases per q_index are
    read at the anchors.
    """
    net = IntraNet(IntraConfig.of(model.config["intra"]))
    state = dict(net.state_dict())
    for key, value in model.group("intra").items():
        if key in state:
            state[key] = torch.from_numpy(np.asarray(value).astype(np.float32))
    head = {key: torch.from_numpy(np.asarray(v).astype(np.float32)) for key, v in model.group("intra.head").items()}
    state |= _scale_head_state(head, net.config.n_y)
    if net.blocks is not None:
        for part, n in KEY_HEADS.items():
            stored = model.group(f"blocks.{part}").items()
            head = {k: torch.from_numpy(np.asarray(v).astype(np.float32)) for k, v in stored}
            values = _scale_head_state(head, n, positions=1)
            state |= {f"blocks.entropy.{name.replace('scale_head', part)}": v for name, v in values.items()}
    net.load_state_dict(state)
    net.symbol_tables.put(load_tables(model))
    return net


def _scale_head_state(head: dict[str, Tensor], n_y: int, positions: int = 4) -> dict[str, Tensor]:
    anchors = torch.arange(0, 64, 9)
    unit = [2.0 ** (4 + bits) for bits in WEIGHT_BITS]
    bias1 = (head["bias1"][anchors] - 2.0**7) / unit[0]
    bias3 = (head["bias3"][anchors] - 2.0**9) / unit[2]
    offset = bias3.view(8, positions, n_y).mean(1)
    state = {f"scale_head.weights.{k}": head[f"weight{k + 1}"] / 2.0 ** WEIGHT_BITS[k] for k in range(3)}
    state["scale_head.biases.0"] = torch.zeros_like(bias1[0])
    state["scale_head.biases.1"] = (head["bias2"] - 2.0**7) / unit[1]
    state["scale_head.biases.2"] = (bias3 - offset.repeat(1, positions)).mean(0)
    state["scale_head.q_bias.log_gain"] = bias1
    state["scale_head.offset.log_gain"] = offset * SCALE_STEP
    return state
