"""Detectors in ONNX files, run by ONNX Runtime."""

from __future__ import annotations

import ast
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from ssvc_codec.bitstream.class_table import COCO_80, NO_CLASSES, ClassTable, ClassTableId
from ssvc_codec.errors import LimitError, ModelError
from ssvc_codec.frame import Frame
from ssvc_codec.semantics.detection import Detection, check_min_score, class_ids
from ssvc_codec.semantics.networks import CenterNet, Detr, Network, Yolox
from ssvc_codec.semantics.onnx_session import first_line, open_session
from ssvc_codec.semantics.rgb import frame_to_rgb
from ssvc_codec.weights import list_models

__all__ = ["OnnxDetector", "open_onnx_detector", "open_parser"]

_FREE_SIDE = 640  # of the input where the network leaves it open
_LONG_SIDE = 512  # of the picture in a CenterNet that does not say


def open_onnx_detector(
    path: str | Path,
    *,
    device: str = "auto",
    min_score: float | None = None,
    classes: Collection[str] | None = None,
    threads: int = 0,
) -> OnnxDetector:
    """A detector from an ONNX file; its kind follows from its inputs and outputs (see ssvc_codec.semantics.networks).

    device: auto (CUDA where ONNX Runtime can), cpu or cuda. min_score: of what is reported, the kind's own where None.
    classes: names of those to report, all where None. threads: of ONNX Runtime on the CPU, 0 for one per core.
    The model's metadata may have `names` of its classes (a JSON list or object) and, for CenterNet, `long_side`.
    Raises ModelError for a file that is no such model and for CUDA where there is none, ValueError for the options.
    """
    path = Path(path)
    if min_score is not None:
        check_min_score(min_score)
    session = open_session(path, device=device, threads=threads)
    metadata: Mapping[str, str] = session.get_modelmeta().custom_metadata_map
    network = _recognise(session, path, metadata)
    table = _class_table(path, metadata.get("names"), network.n_classes)
    return OnnxDetector(
        session,
        network,
        path=path,
        classes=table,
        wanted=class_ids(classes, table),
        min_score=network.default_min_score if min_score is None else min_score,
    )


def open_parser(
    name: str = "parser",
    *,
    device: str = "auto",
    min_score: float | None = None,
    classes: Collection[str] | None = None,
    threads: int = 0,
) -> OnnxDetector:
    """The detector that ships with ssvc, with the min_score of its config.json.

    Options and errors are those of open_onnx_detector.
    """
    models = list_models()
    if name not in models:
        raise ModelError(f"no parser {name!r} is installed: name a detector's .onnx file")
    folder = models[name]
    try:
        config = json.loads((folder / "config.json").read_text())
        default = float(config["min_score"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{folder / 'config.json'}: {error!r}") from error
    return open_onnx_detector(
        folder / f"{name}.onnx",
        device=device,
        min_score=default if min_score is None else min_score,
        classes=classes,
        threads=threads,
    )


class OnnxDetector:
    """A Detector that runs a network on every frame it is given."""

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        network: Network,
        *,
        path: Path,
        classes: ClassTable,
        wanted: frozenset[int] | None,
        min_score: float,
    ) -> None:
        """See open_onnx_detector. wanted: class ids to report, all where None."""
        self.classes = classes
        self.min_score = min_score
        self.provider = session.get_providers()[0]
        place = self.provider.removesuffix("ExecutionProvider")
        self.description = f"{path.name} ({network.name}), ONNX Runtime {onnxruntime.__version__} on {place}"
        self._path = path
        self._session = session
        self._network = network
        self._wanted = wanted

    def detect(self, frame: Frame, number: int) -> list[Detection]:
        """See Detector. The network sees the picture upright, as it is displayed. Raises ModelError."""
        picture = _Upright(frame)
        try:
            boxes = self._network.detect(picture, self._run, min_score=self.min_score)
        except ModelError as error:
            raise ModelError(f"{self._path}: {error}") from error
        self._check_labels(boxes.labels)
        corners = picture.to_frame(boxes.corners)
        return [
            Detection(label, min(score, 1.0), left, top, right - left, bottom - top)
            for label, score, (left, top, right, bottom) in zip(
                boxes.labels.tolist(), boxes.scores.tolist(), corners.tolist(), strict=True
            )
            if self._wanted is None or label in self._wanted
        ]

    def _run(self, feeds: Mapping[str, NDArray[np.generic]]) -> list[NDArray[np.generic]]:
        try:
            return self._session.run(None, dict(feeds))  # pyright: ignore[reportReturnType]
        except Exception as error:
            raise ModelError(f"the network failed on {self.provider}: {first_line(error)}") from error

    def _check_labels(self, labels: NDArray[np.int64]) -> None:
        for label in set(labels.tolist()):
            if not 0 <= label <= 0xFFFF or label not in self.classes:
                raise ModelError(
                    f"{self._path}: found class {label}, which is none of the {len(self.classes.names)} known: "
                    "give their names in the model's metadata, as `names`"
                )


@dataclass(frozen=True, slots=True)
class _Upright:
    """A frame as it is displayed: the Picture that networks see."""

    frame: Frame

    @property
    def _turns(self) -> int:
        return self.frame.format.rotation // 90

    @property
    def width(self) -> int:
        """See Picture."""
        return self.frame.format.height if self._turns % 2 else self.frame.format.width

    @property
    def height(self) -> int:
        """See Picture."""
        return self.frame.format.width if self._turns % 2 else self.frame.format.height

    def rgb(self, *, width: int, height: int) -> NDArray[np.uint8]:
        """See Picture."""
        if self._turns % 2:
            width, height = height, width
        return np.rot90(frame_to_rgb(self.frame, width=width, height=height), self._turns)

    def to_frame(self, corners: NDArray[np.float32]) -> NDArray[np.float32]:
        """Corners (n, 4) in the upright picture to those in the frame: turns them clockwise."""
        height = np.float32(self.height)
        for turn in range(self._turns):
            left, top, right, bottom = corners.T
            extent = height if turn % 2 == 0 else np.float32(self.width)
            corners = np.stack([extent - bottom, left, extent - top, right], 1)
        return corners


def _recognise(session: onnxruntime.InferenceSession, path: Path, metadata: Mapping[str, str]) -> Network:
    inputs = {node.name: node for node in session.get_inputs()}
    outputs = [node.name for node in session.get_outputs()]
    images = [node for node in inputs.values() if node.type == "tensor(float)" and len(node.shape) == 4]
    others = [node for node in inputs.values() if node not in images]
    network = None
    if len(images) == 1 and (images[0].shape[1] == 3 or not isinstance(images[0].shape[1], int)):
        if len(others) == 1 and {"labels", "boxes", "scores"} <= set(outputs):
            network = _detr(images[0], others[0], outputs)
        elif not others and {"heatmap", "size", "offset"} <= set(outputs):
            network = _center_net(images[0], list(session.get_outputs()), metadata.get("long_side", ""))
        elif not others and len(outputs) == 1:
            network = _yolox(images[0], session.get_outputs()[0])
    if network is None:
        raise ModelError(
            f"{path}: no known kind of detector. Its inputs: {_listed(inputs.values())}; its outputs: "
            f"{_listed(session.get_outputs())}. Known are DETR (image and size; labels, boxes, scores), "
            "YOLOX (image; [1, N, 5 + classes]) and CenterNet (image; heatmap, size, offset)"
        )
    return network


def _detr(image: Any, size: Any, outputs: list[str]) -> Network | None:
    if size.type != "tensor(int64)" or len(size.shape) != 2:
        return None
    places = (outputs.index("labels"), outputs.index("boxes"), outputs.index("scores"))
    width, height = _sides(image) or (_FREE_SIDE, _FREE_SIDE)
    return Detr(image.name, size.name, places, width, height)


def _yolox(image: Any, output: Any) -> Network | None:
    if len(output.shape) != 3 or not isinstance(output.shape[2], int) or output.shape[2] < 6:
        return None
    width, height = _sides(image) or (_FREE_SIDE, _FREE_SIDE)
    if isinstance(output.shape[1], int) and output.shape[1] != Yolox.n_rows(width=width, height=height):
        return None
    return Yolox(image.name, width, height, output.shape[2] - 5)


def _center_net(image: Any, outputs: list[Any], long_side: str) -> Network | None:
    names = [node.name for node in outputs]
    places = (names.index("heatmap"), names.index("size"), names.index("offset"))
    if any(len(outputs[place].shape) != 4 for place in places):
        return None
    n_classes = outputs[places[0]].shape[1]
    side = int(long_side) if long_side.isdecimal() and int(long_side) > 0 else _LONG_SIDE
    return CenterNet(image.name, places, _sides(image), side, n_classes if isinstance(n_classes, int) else None)


def _sides(image: Any) -> tuple[int, int] | None:
    """(width, height) where the input fixes both."""
    height, width = image.shape[2:]
    return (width, height) if isinstance(width, int) and isinstance(height, int) else None


def _class_table(path: Path, names: str | None, n_classes: int | None) -> ClassTable:
    """What the metadata say; else COCO's 80 classes for as many, or where the signature gives no number."""
    if names is None:
        return COCO_80 if n_classes in (80, None) else NO_CLASSES
    try:
        value = ast.literal_eval(names)  # reads JSON, and Python's dictionaries with numbers as keys
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        table = ClassTable(ClassTableId.INLINE, tuple(sorted((int(key), str(name)) for key, name in pairs)))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError, LimitError) as error:
        raise ModelError(f"{path}: its metadata `names` are no list of class names: {first_line(error)}") from error
    return COCO_80 if table.names == COCO_80.names else table


def _listed(nodes: Collection[Any]) -> str:
    return ", ".join(
        f"{node.name} {node.type.removeprefix('tensor(').removesuffix(')')} {node.shape}" for node in nodes
    )
