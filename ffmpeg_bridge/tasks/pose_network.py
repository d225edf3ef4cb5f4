"""Networks that find the key points of one person in a square picture: ONNX, or TensorFlow Lite if installed.

| input | meaning |
|---|---|
| 1 x H x W x 3 | RGB 0..255 in the input's own type (MoveNet) |
| 1 x 3 x H x W, float | RGB with ImageNet's mean and deviation taken out (HRNet, SimpleBaseline, hourglass exports) |

| output | meaning |
|---|---|
| 17 x 3, with any number of leading ones | y, x in 0..1 of the picture, score (MoveNet) |
| 1 x 17 x h x w | heat maps: the peak, moved a quarter of a cell towards its larger neighbour |
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssvc_codec.errors import ModelError
from ssvc_codec.evaluation.keypoints import N_KEYPOINTS
from ssvc_codec.semantics.onnx_session import first_line, open_session

__all__ = ["PoseNetwork", "decode_points", "open_pose_network"]

_MEAN, _DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
_FREE_SIDE = 256
_TYPES = {"tensor(uint8)": np.uint8, "tensor(int32)": np.int32, "tensor(float)": np.float32}

Run = Callable[[NDArray[np.generic]], NDArray[np.generic]]


class PoseNetwork:
    """One network. side: of the square picture it sees."""

    def __init__(self, run: Run, *, shape: list[int], dtype: Any, description: str) -> None:
        """shape: of the input, (1, H, W, 3) or (1, 3, H, W), H = W. Raises ModelError for others."""
        self.description = description
        self._run, self._dtype = run, dtype
        self._channels_last = shape[-1] == 3
        self.side = shape[1] if self._channels_last else shape[-1]
        if len(shape) != 4 or 3 not in (shape[1], shape[3]):
            raise ModelError(f"{description}: the input is {shape}; 1xHxWx3 or 1x3xHxW is needed")

    def find(self, rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Key points in a picture (side, side, 3): (17, 3) of x, y in 0..1 of it, and score. Raises ModelError."""
        x = rgb[None].astype(self._dtype)
        if not self._channels_last:
            x = np.moveaxis((rgb / 255 - _MEAN) / _DEVIATION, 2, 0)[None].astype(self._dtype)
        try:
            return decode_points(np.asarray(self._run(x), np.float64))
        except ModelError as error:
            raise ModelError(f"{self.description}: {error}") from error


def decode_points(output: NDArray[np.float64]) -> NDArray[np.float64]:
    """(17, 3) of x, y, score from what a network gives, see above. Raises ModelError for another shape."""
    if output.size == N_KEYPOINTS * 3:
        return output.reshape(N_KEYPOINTS, 3)[:, [1, 0, 2]]
    if output.ndim != 4 or output.shape[:2] != (1, N_KEYPOINTS):
        raise ModelError(f"the output is {list(output.shape)}; 17x3 or 1x17xHxW is needed")
    return np.array([_peak(heat) for heat in output[0]])


def _peak(heat: NDArray[np.float64]) -> tuple[float, float, float]:
    height, width = heat.shape
    row, column = divmod(int(heat.argmax()), width)
    x, y = column + 0.5, row + 0.5
    if 0 < column < width - 1:
        x += 0.25 * float(np.sign(heat[row, column + 1] - heat[row, column - 1]))
    if 0 < row < height - 1:
        y += 0.25 * float(np.sign(heat[row + 1, column] - heat[row - 1, column]))
    return x / width, y / height, float(heat[row, column])


def open_pose_network(path: Path, *, device: str = "auto", threads: int = 1) -> PoseNetwork:
    """The network in a .onnx or .tflite file. Raises ModelError."""
    if not path.is_file():
        raise ModelError(f"{path}: no such file")
    described = f"{path.name} ({hashlib.sha256(path.read_bytes()).hexdigest()[:8]})"
    if path.suffix == ".tflite":
        return _open_tflite(path, described, threads=threads)
    session = open_session(path, device=device, threads=threads)
    inputs = session.get_inputs()
    if len(inputs) != 1 or inputs[0].type not in _TYPES:
        raise ModelError(f"{path}: one input of uint8, int32 or float is needed")
    shape = [n if isinstance(n, int) else 1 if k == 0 else _FREE_SIDE for k, n in enumerate(inputs[0].shape)]

    def run(x: NDArray[np.generic]) -> NDArray[np.generic]:
        try:
            return np.asarray(session.run(None, {inputs[0].name: x})[0])
        except Exception as error:
            raise ModelError(f"the network failed: {first_line(error)}") from error

    return PoseNetwork(run, shape=shape, dtype=_TYPES[inputs[0].type], description=described)


def _open_tflite(path: Path, description: str, *, threads: int) -> PoseNetwork:
    try:
        module = import_module("ai_edge_litert.interpreter")
    except ImportError as error:
        raise ModelError(f"{path}: .tflite needs ai-edge-litert: `pip install ssvc[eval-tflite]` brings it") from error
    interpreter = module.Interpreter(str(path), num_threads=threads or None)
    interpreter.allocate_tensors()
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]

    def run(x: NDArray[np.generic]) -> NDArray[np.generic]:
        interpreter.set_tensor(source["index"], x)
        interpreter.invoke()
        return interpreter.get_tensor(target["index"])

    return PoseNetwork(run, shape=list(source["shape"]), dtype=source["dtype"], description=description)
