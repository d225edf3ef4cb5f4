"""A small two-stream network after TSN (Wang et al. 2016): pictures and stacks of flow, each classified, scores added.

Pictures go through a backbone that is not trained here (ONNX; by default the object parser that ships with ssvc: what
is in the picture) and a linear layer; flow goes through a small convolutional network. train_action trains both.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ssvc_codec.errors import ModelError
from ssvc_codec.frame import Frame
from ssvc_codec.semantics.onnx_session import first_line, open_session
from ssvc_codec.semantics.rgb import frame_to_rgb
from ssvc_codec.weights import list_models

__all__ = ["STACK", "Backbone", "FlowNet", "TwoStream", "flow_stack", "save_two_stream"]

STACK = 5
"""Flows of consecutive frames in one input of the flow stream."""
_FLOW_SIDE = 64
_FLOW_UNIT = 0.01  # of the picture's width: flow of this length becomes 1
_FREE_SIDE = 320
_MEAN, _DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


class Backbone:
    """An ONNX network with one picture as input: its first output, mean and maximum over places, are the features.

    The parser gets RGB in 0..1, any other network RGB with ImageNet's mean and deviation taken out.
    """

    def __init__(self, name: str = "parser", *, device: str = "auto", threads: int = 1) -> None:
        """name: parser or a .onnx file. Raises ModelError."""
        self._is_parser = name == "parser"
        models = list_models()
        if self._is_parser and name not in models:
            raise ModelError("the parser is not installed: name a .onnx file")
        path = models[name] / f"{name}.onnx" if self._is_parser else Path(name)
        self._session = open_session(path, device=device, threads=threads)
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or inputs[0].type != "tensor(float)" or len(inputs[0].shape) != 4:
            raise ModelError(f"{path}: one input 1x3xHxW of float is needed")
        self._input = inputs[0].name
        self._size = [n if isinstance(n, int) else _FREE_SIDE for n in inputs[0].shape[2:]]
        self.description = f"{path.name} ({hashlib.sha256(path.read_bytes()).hexdigest()[:8]})"

    def features(self, frame: Frame) -> NDArray[np.float32]:
        """(C,). Raises ModelError."""
        height, width = self._size
        rgb = frame_to_rgb(frame, width=width, height=height) / 255
        x = rgb if self._is_parser else (rgb - _MEAN) / _DEVIATION
        try:
            feeds = {self._input: np.moveaxis(x, 2, 0)[None].astype(np.float32)}
            y = np.asarray(self._session.run(None, feeds)[0], np.float32)
        except Exception as error:
            raise ModelError(f"{self.description}: the network failed: {first_line(error)}") from error
        if y.ndim == 4:
            return np.concatenate((y.mean((0, 2, 3)), y.max((0, 2, 3))))
        return y.reshape(-1)


def flow_stack(fields: Sequence[NDArray[np.float32]], *, width: int) -> Tensor:
    """(10, 64, 64): STACK flows in hundredths of the picture's width, the last repeated where there are fewer.

    fields: (2, h, w) each, in luma pixels of a picture of that width. Raises ValueError for no flow at all.
    """
    if not fields:
        raise ValueError("no flow")
    chosen = [*fields[:STACK], *[fields[-1]] * (STACK - len(fields))]
    x = torch.from_numpy(np.stack(chosen)) / (width * _FLOW_UNIT)
    x = F.interpolate(x, (_FLOW_SIDE, _FLOW_SIDE), mode="bilinear", antialias=True)
    return x.clamp(-8, 8).reshape(2 * STACK, _FLOW_SIDE, _FLOW_SIDE)


class FlowNet(nn.Sequential):
    """Four strided convolutions, mean and maximum over places, a linear layer."""

    def __init__(self, n_classes: int, width: int = 24) -> None:
        layers: list[nn.Module] = []
        for n_in, n_out in ((2 * STACK, width), (width, width), (width, 2 * width), (2 * width, 2 * width)):
            layers += [nn.Conv2d(n_in, n_out, 3, stride=2, padding=1), nn.ReLU()]
        super().__init__(
            *layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout(0.3), nn.Linear(8 * width, n_classes)
        )


class TwoStream:
    """Trained layers from a file, on a backbone."""

    def __init__(self, path: Path, backbone: Backbone) -> None:
        """Raises ModelError for a file that holds none, or was trained on another backbone."""
        try:
            with safe_open(path, "pt") as file:
                about = json.loads((file.metadata() or {})["action"])
            state = load_file(path)
            self.classes = tuple(str(name) for name in about["classes"])
            self.flow = FlowNet(len(self.classes))
            self.flow.load_state_dict({k[5:]: v for k, v in state.items() if k.startswith("flow.")})
            self._weight, self._bias = state["rgb.weight"], state["rgb.bias"]
        except Exception as error:
            raise ModelError(f"{path}: no networks that `ssvc eval action --train` wrote") from error
        if about["backbone"] != backbone.description:
            raise ModelError(f"{path}: trained on {about['backbone']}, not on {backbone.description}")
        self.flow.eval()
        self._backbone = backbone
        self.description = (
            f"{path.name} ({hashlib.sha256(path.read_bytes()).hexdigest()[:8]}) on {backbone.description}"
        )

    @torch.inference_mode()
    def scores(self, pictures: Sequence[Frame], stacks: Sequence[Tensor]) -> NDArray[np.float32]:
        """Log probabilities (classes,): the mean over pictures plus the mean over stacks. Either may be empty."""
        total = torch.zeros(len(self.classes))
        if pictures:
            x = torch.from_numpy(np.stack([self._backbone.features(frame) for frame in pictures]))
            total += F.log_softmax(x @ self._weight.T + self._bias, 1).mean(0)
        if stacks:
            total += F.log_softmax(self.flow(torch.stack(list(stacks))), 1).mean(0)
        return total.numpy()


def save_two_stream(
    path: Path, *, flow: FlowNet, rgb: tuple[Tensor, Tensor], classes: Sequence[str], backbone: str
) -> None:
    """Writes what TwoStream reads. rgb: weight (classes, C) and bias (classes,) for features as they come."""
    state = {f"flow.{name}": value.contiguous() for name, value in flow.state_dict().items()}
    state |= {"rgb.weight": rgb[0].contiguous(), "rgb.bias": rgb[1].contiguous()}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(state, path, {"action": json.dumps({"classes": list(classes), "backbone": backbone})})
