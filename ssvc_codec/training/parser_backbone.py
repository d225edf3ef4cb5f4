"""Starts the object parser's backbone from the published weights of an HGNetV2 "femto".

The weights come out of a detector in ONNX (DEIMv2, Apache-2.0), its batch norms folded.
There each ReLU is followed by a learnt scale and shift of all its channels; here these
go into the convolutions that read them. That is exact but for the cells along the edge
of a picture, where zero padding stands for the shifted zero.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import ModelError
from ..nets.parser import AggregatedStage, ConvUnit, LightUnit, ParserNet

__all__ = ["load_backbone"]

BACKBONE = "/model/backbone/"


class _Affine(NamedTuple):
    """What a map must be multiplied by and have added, channel by channel."""

    scale: Tensor
    shift: Tensor


class _Source:
    """Convolutions of an ONNX graph, by the name of their node."""

    def __init__(self, path: Path) -> None:
        try:
            import onnx
            from onnx import numpy_helper
        except ImportError as error:
            raise ModelError(f"{path}: reading ONNX weights needs the package onnx") from error
        try:
            graph = onnx.load(str(path)).graph
        except Exception as error:
            raise ModelError(f"{path}: not an ONNX model ({error})") from error
        self._path = path
        self._tensors = {t.name: torch.from_numpy(numpy_helper.to_array(t).copy()) for t in graph.initializer}
        self._inputs = {node.name: list(node.input) for node in graph.node}

    def _values(self, name: str) -> list[Tensor]:
        if BACKBONE + name not in self._inputs:
            raise ModelError(f"{self._path}: no node {BACKBONE + name}; this is not an HGNetV2 detector")
        return [self._tensors[key] for key in self._inputs[BACKBONE + name] if key in self._tensors]

    def fill(self, unit: ConvUnit, name: str, before: _Affine) -> _Affine:
        """Sets a unit to a convolution; gives what is left to do to its output."""
        weight, bias = self._values(f"{name}/conv/Conv")
        if weight.shape != unit.conv.weight.shape or unit.conv.bias is None:
            raise ModelError(f"{self._path}: {name} is {tuple(weight.shape)}, not {tuple(unit.conv.weight.shape)}")
        depthwise = unit.conv.groups > 1
        shape = (-1, 1, 1, 1) if depthwise else (1, -1, 1, 1)
        moved = (weight * before.shift.view(shape)).sum((1, 2, 3))
        unit.conv.weight.data.copy_(weight * before.scale.view(shape))
        unit.conv.bias.data.copy_(bias + moved)
        n = len(bias)
        if not unit.act:
            return _Affine(torch.ones(n), torch.zeros(n))
        scale, shift = self._values(f"{name}/lab/Mul")[0], self._values(f"{name}/lab/Add")[0]
        return _Affine(scale.expand(n), shift.expand(n))


def _joined(parts: list[_Affine]) -> _Affine:
    return _Affine(torch.cat([p.scale for p in parts]), torch.cat([p.shift for p in parts]))


def _fill_stage(source: _Source, stage: AggregatedStage, number: int, before: _Affine) -> _Affine:
    name = f"stages.{number}"
    if isinstance(stage.down, ConvUnit):
        before = source.fill(stage.down, f"{name}/downsample", before)
    parts = [before]
    for position, layer in enumerate(stage.layers):
        at = f"{name}/blocks/blocks.0/layers.{position}"
        if isinstance(layer, LightUnit):
            middle = source.fill(layer.conv1, f"{at}/conv1", parts[-1])
            parts.append(source.fill(layer.conv2, f"{at}/conv2", middle))
        else:
            assert isinstance(layer, ConvUnit)
            parts.append(source.fill(layer, at, parts[-1]))
    at = f"{name}/blocks/blocks.0/aggregation/aggregation"
    node = source.fill(stage.node1, f"{at}.0", _joined(parts))
    return source.fill(stage.node2, f"{at}.1", node)


@torch.no_grad()
def load_backbone(net: ParserNet, path: Path) -> None:
    """Fills stem and stages 4 to 16 of a net without norms there. Raises ModelError for other models."""
    source = _Source(path)
    stem = net.stem
    first = source.fill(stem.stem1, "stem/stem1", _Affine(torch.ones(3), torch.zeros(3)))
    fine = source.fill(stem.stem2b, "stem/stem2b", source.fill(stem.stem2a, "stem/stem2a", first))
    third = source.fill(stem.stem3, "stem/stem3", _joined([first, fine]))
    affine = source.fill(stem.stem4, "stem/stem4", third)
    for number, stage in enumerate((net.stage4, net.stage8, net.stage16)):
        affine = _fill_stage(source, stage, number, affine)
    # What reads the last stage is untrained: it may as well read it before scale and shift.
