"""Starts the object parser's backbone and neck from the published weights of DEIMv2 "femto".

The weights come out of a detector in ONNX (DEIMv2, Apache-2.0), its batch norms folded.
There each ReLU is followed by a learnt scale and shift of all its channels; here these
go into the convolutions that read them. That is exact but for the cells along the edge
of a picture, where zero padding stands for the shifted zero.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..errors import ModelError
from ..nets.parser import AggregatedStage, ConvUnit, LightUnit, ParserNet
from ..nets.parser_neck import CspUnit, ElanUnit, ParserNeck, SiluUnit

__all__ = ["load_backbone"]

BACKBONE, NECK = "/model/backbone/", "/model/encoder/"
CLASSES_WEIGHT, CLASSES_BIAS = "/model/decoder/enc_score_head/MatMul", "/model/decoder/enc_score_head/Add"


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

    def values(self, name: str) -> list[Tensor]:
        """The stored inputs of a node."""
        if name not in self._inputs:
            raise ModelError(f"{self._path}: no node {name}; this is not a DEIMv2 detector of the size femto")
        return [self._tensors[key] for key in self._inputs[name] if key in self._tensors]

    def copy(self, conv: nn.Conv2d, name: str, before: _Affine | None = None) -> None:
        """Sets a convolution that has a bias to a node's; with `before`, a 1x1 one that reads what it is left with."""
        weight, bias = self.values(name)
        if weight.shape != conv.weight.shape or conv.bias is None:
            raise ModelError(f"{self._path}: {name} is {tuple(weight.shape)}, not {tuple(conv.weight.shape)}")
        if before is not None:
            bias = bias + (weight * before.shift.view(1, -1, 1, 1)).sum((1, 2, 3))
            weight = weight * before.scale.view(1, -1, 1, 1)
        conv.weight.data.copy_(weight)
        conv.bias.data.copy_(bias)

    def fill(self, unit: ConvUnit, name: str, before: _Affine) -> _Affine:
        """Sets a unit to a convolution; gives what is left to do to its output."""
        weight, bias = self.values(f"{BACKBONE}{name}/conv/Conv")
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
        scale, shift = self.values(f"{BACKBONE}{name}/lab/Mul")[0], self.values(f"{BACKBONE}{name}/lab/Add")[0]
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


def _fill_csp(source: _Source, unit: CspUnit, name: str) -> None:
    source.copy(unit.enter.conv, f"{name}.0/conv1/conv_bn_fused/Conv")
    for position, bottleneck in enumerate(unit.bottlenecks):
        assert isinstance(bottleneck, SiluUnit)
        source.copy(bottleneck.conv, f"{name}.0/bottlenecks/bottlenecks.{position}/conv/Conv")
    source.copy(unit.leave.conv, f"{name}.1/conv_bn_fused/Conv")


def _fill_elan(source: _Source, unit: ElanUnit, name: str) -> None:
    source.copy(unit.enter.conv, f"{name}/cv1/conv_bn_fused/Conv")
    _fill_csp(source, unit.first, f"{name}/cv2/cv2")
    _fill_csp(source, unit.second, f"{name}/cv3/cv3")
    source.copy(unit.leave.conv, f"{name}/cv4/conv_bn_fused/Conv")


def _fill_neck(source: _Source, neck: ParserNeck, before: _Affine) -> None:
    source.copy(neck.enter, f"{NECK}input_proj.0/conv/Conv", before)
    source.copy(neck.down.conv, f"{NECK}down_sample1/down_sample1.1/Conv")
    source.copy(neck.summary.conv, f"{NECK}bi_fusion/cv/conv_bn_fused/Conv")
    source.copy(neck.down_again.conv, f"{NECK}down_sample2/down_sample2.1/Conv")
    _fill_elan(source, neck.fine, f"{NECK}fpn_block")
    _fill_elan(source, neck.coarse, f"{NECK}pan_block")


@torch.no_grad()
def load_backbone(net: ParserNet, path: Path) -> None:
    """Fills what `net.backbone()` gives, in a net without norms there. Raises ModelError for other models."""
    source = _Source(path)
    stem = net.stem
    first = source.fill(stem.stem1, "stem/stem1", _Affine(torch.ones(3), torch.zeros(3)))
    fine = source.fill(stem.stem2b, "stem/stem2b", source.fill(stem.stem2a, "stem/stem2a", first))
    third = source.fill(stem.stem3, "stem/stem3", _joined([first, fine]))
    affine = source.fill(stem.stem4, "stem/stem4", third)
    for number, stage in enumerate((net.stage4, net.stage8, net.stage16)):
        affine = _fill_stage(source, stage, number, affine)
    _fill_neck(source, net.neck, affine)
    weight, bias = source.values(CLASSES_WEIGHT)[0].t(), source.values(CLASSES_BIAS)[0]
    for classes in (net.classes16, net.classes32):  # the teacher asks either; here their mean is asked
        classes.weight.copy_(weight[:, :, None, None] / 2)
        classes.bias.copy_(bias / 2)  # pyright: ignore[reportOptionalMemberAccess]
    net.heatmap.bias.zero_()  # pyright: ignore[reportOptionalMemberAccess]
