"""Writes the trained parser as ONNX, with the config and card that lie beside it."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import ModelError
from ..nets.parser import ExportedParser, ParserConfig, ParserNet
from .parser import averaged_parser
from .state import Ema, load_state

__all__ = ["export_parser", "load_averaged", "write_onnx"]

OPSET = 17
OUTPUTS = ("heatmap", "size", "offset")
LONG_SIDE, MIN_SCORE = 512, 0.3  # how the detector uses it unless told otherwise
LARGE = 256  # elements from which a weight is worth storing in half precision

CARD = """# The object parser

CenterNet at stride 4 for COCO's 80 classes, {parameters:.2f} M parameters, {macs:.2f} GMAC at 416x416.
Input `image` (1, 3, H, W) RGB in 0..1, H and W multiples of 32; outputs `heatmap` (1, 80, H/4, W/4) in 0..1,
`size` (1, 2, ...) in input pixels and `offset` (1, 2, ...) in cells. Weights are stored in half precision.

Trained by `ssvc train parser` for {minutes:.0f} minutes ({steps} steps) on the labels that DEIMv2-femto
(https://github.com/Intellindust-AI-Lab/DEIMv2, Apache-2.0) gives to about 5,500 pictures, each also mirrored.
{start}
"""

STARTED = """Backbone, neck and coarse class scores started from DEIMv2-femto's own weights (Apache-2.0) and were then
trained on as a whole; the way up to stride 4 and the heads were trained from nothing."""


def load_averaged(folder: Path) -> tuple[ParserNet, dict[str, Any]]:
    """The averaged network of a training run and what is known of the run. Raises ModelError without a state."""
    state: dict[str, Any] = load_state(folder)
    net = ParserNet(ParserConfig(backbone_norm=not state["started"]))
    net.load_state_dict(state["net"])
    ema = Ema(net, 0.0)
    ema.values = state["ema"]
    about = {"steps": state["run"]["step"], "minutes": state["run"]["seconds"] / 60, "started": state["started"]}
    return averaged_parser(net, ema), about


def write_onnx(net: ParserNet, path: Path) -> None:
    """Writes the network with free height and width. Raises ModelError without the package onnx."""
    try:
        import onnx
        from onnx import TensorProto, helper, numpy_helper
    except ImportError as error:
        raise ModelError("exporting needs the packages of the extra `train`") from error
    raw = path.with_suffix(".tmp")
    axes = {name: {2: f"{name}_height", 3: f"{name}_width"} for name in OUTPUTS}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about itself
        torch.onnx.export(
            ExportedParser(net).eval(),
            (torch.zeros(1, 3, 64, 96),),
            str(raw),
            input_names=["image"],
            output_names=list(OUTPUTS),
            dynamic_axes={"image": {2: "height", 3: "width"}} | axes,
            opset_version=OPSET,
            dynamo=False,
        )
    model = onnx.load(str(raw))
    casts = []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if tensor.data_type == TensorProto.FLOAT and values.size >= LARGE:
            name = tensor.name
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
            casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
    for number, node in enumerate(casts):
        model.graph.node.insert(number, node)
    helper.set_model_props(model, {"long_side": str(LONG_SIDE)})
    onnx.checker.check_model(model)
    onnx.save(model, str(raw))
    raw.replace(path)


def _gmac(net: ParserNet, side: int = 416) -> float:
    total = 0

    def count(module: torch.nn.Module, _inputs: object, output: torch.Tensor) -> None:
        nonlocal total
        assert isinstance(module, torch.nn.Conv2d)
        total += output.shape[2] * output.shape[3] * module.weight.numel()

    hooks = [m.register_forward_hook(count) for m in net.modules() if isinstance(m, torch.nn.Conv2d)]
    with torch.no_grad():
        net.eval()(torch.zeros(1, 3, side, side))
    for hook in hooks:
        hook.remove()
    return total / 1e9


def export_parser(net: ParserNet, folder: Path, about: Mapping[str, Any]) -> None:
    """Writes parser.onnx, config.json and card.md."""
    folder.mkdir(parents=True, exist_ok=True)
    write_onnx(net, folder / "parser.onnx")
    config = {"kind": "centernet", "classes": "coco80", "long_side": LONG_SIDE, "min_score": MIN_SCORE}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    start = STARTED if about["started"] else "All of it was trained from nothing."
    parameters = sum(p.numel() for p in net.parameters()) / 1e6
    text = CARD.format(
        parameters=parameters, macs=_gmac(net), minutes=about["minutes"], steps=about["steps"], start=start
    )
    (folder / "card.md").write_text(text)
