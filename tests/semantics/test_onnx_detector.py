from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ssvc_codec.bitstream.class_table import COCO_80, NO_CLASSES
from ssvc_codec.errors import ModelError
from ssvc_codec.frame import Color, Frame, VideoFormat
from ssvc_codec.semantics.detection import Detection
from ssvc_codec.semantics.networks import Boxes, CenterNet, Yolox, non_maximum_suppression
from ssvc_codec.semantics.onnx_detector import open_onnx_detector
from ssvc_codec.semantics.open import open_detector

onnx = pytest.importorskip("onnx", reason="builds its models with onnx")

Outputs = Mapping[str, NDArray[Any]]
IMAGE = ("images", onnx.TensorProto.FLOAT, [1, 3, 64, 64])
FREE_IMAGE = ("image", onnx.TensorProto.FLOAT, [1, 3, "H", "W"])
SIZE = ("orig_target_sizes", onnx.TensorProto.INT64, [1, 2])


def frame(*, rotation: int = 0) -> Frame:
    """128x96, black but for white in the quarter at the top right."""
    video = VideoFormat(128, 96, color=Color(matrix=6, full_range=True), rotation=rotation)
    y = np.zeros((96, 128), np.uint8)
    y[:48, 64:] = 255
    return Frame(y, np.full((48, 64), 128, np.uint8), np.full((48, 64), 128, np.uint8), video)


def constant_model(path: Path, inputs: Sequence[Any], outputs: Outputs, **metadata: str) -> Path:
    """A network that gives the same whatever it sees."""
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    nodes = [
        helper.make_node("Constant", [], [name], value=numpy_helper.from_array(value, name))
        for name, value in outputs.items()
    ]
    graph = helper.make_graph(
        nodes,
        "constant",
        [helper.make_tensor_value_info(*item) for item in inputs],
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
            for name, value in outputs.items()
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, metadata)
    onnx.save(model, path)
    return path


def detr_outputs() -> Outputs:
    boxes = np.array([[[10, 20, 30, 60], [40, 8, 90, 50], [0, 0, 9, 9]]], np.float32)
    scores = np.array([[0.5, 0.875, 0.125]], np.float32)
    return {"scores": scores, "labels": np.array([[0, 16, 2]], np.int64), "boxes": boxes}


def yolox_outputs() -> Outputs:
    rows = np.zeros((1, 84, 85), np.float32)  # 8x8, 4x4 and 2x2 cells
    car, other = [0.5, 0.25, log(2), log(3), 0.75], [0.5, 0.25, log(2), log(2.9), 0.5]
    rows[0, 1 * 8 + 2, :5] = car  # row 1, column 2 of stride 8: centre (20, 10), size 16x24
    rows[0, 1 * 8 + 2, 5 + 2] = 1
    rows[0, 64 + 3 * 4 + 1, :5] = [0, 0, 0, 0, 1]  # row 3, column 1 of stride 16: centre (16, 48), size 16x16
    rows[0, 64 + 3 * 4 + 1, 5 + 79] = 0.5
    rows[0, 1 * 8 + 3, :5] = [-0.5, *other[1:]]  # the same car again
    rows[0, 1 * 8 + 3, 5 + 2] = 1
    return {"output": rows}


def center_net_outputs(n_classes: int = 80) -> Outputs:
    heatmap = np.zeros((1, n_classes, 16, 16), np.float32)
    heatmap[0, 0, 5, 6:8] = 0.75, 0.5  # the second is no peak
    heatmap[0, 1, 5, 6] = 0.25
    heatmap[0, 1, 10:12, 3] = 0.5  # of equals, the first counts
    size, offset = np.zeros((1, 2, 16, 16), np.float32), np.zeros((1, 2, 16, 16), np.float32)
    size[0, :, 5, 6] = 20, 12
    offset[0, :, 5, 6] = 0.5, 0.25
    size[0, :, 10:12, 3] = 8
    return {"heatmap": heatmap, "size": size, "offset": offset}


def test_a_detr_gives_its_boxes_as_they_are(tmp_path: Path) -> None:
    detector = open_onnx_detector(constant_model(tmp_path / "d.onnx", [IMAGE, SIZE], detr_outputs()), threads=1)
    assert detector.classes == COCO_80
    assert detector.detect(frame(), 0) == [Detection(16, 0.875, 40, 8, 50, 42), Detection(0, 0.5, 10, 20, 20, 40)]


def test_a_yolox_is_decoded_on_its_grids_and_brought_back_to_the_picture(tmp_path: Path) -> None:
    detector = open_onnx_detector(constant_model(tmp_path / "y.onnx", [IMAGE], yolox_outputs()), threads=1)
    found = detector.detect(frame(), 0)
    # The picture is shrunk by 2. Of the two boxes of the car only the better one stays.
    assert [item.class_id for item in found] == [2, 79]
    assert [item.score for item in found] == [0.75, 0.5]
    boxes = [(item.x, item.y, item.width, item.height) for item in found]
    assert np.allclose(boxes, [(24, -4, 32, 48), (16, 80, 32, 32)], atol=1e-4)  # exp(log 3) in float32


def test_a_center_net_gives_its_peaks(tmp_path: Path) -> None:
    path = constant_model(tmp_path / "c.onnx", [FREE_IMAGE], center_net_outputs(), long_side="64")
    # 64x48 within 64x64. Centre 4 (6 + 0.5, 5 + 0.25) = (26, 21), twice that in the picture.
    assert open_onnx_detector(path, threads=1).detect(frame(), 0) == [
        Detection(0, 0.75, 32, 30, 40, 24),
        Detection(1, 0.5, 16, 72, 16, 16),
    ]


@pytest.mark.parametrize(
    ("rotation", "box"),
    [(0, (10, 20, 20, 40)), (90, (68, 10, 40, 20)), (180, (98, 36, 20, 40)), (270, (20, 66, 40, 20))],
)
def test_boxes_in_the_picture_as_displayed_are_turned_back(tmp_path: Path, rotation: int, box: tuple[int, ...]) -> None:
    outputs = {name: value[:, :1] for name, value in detr_outputs().items()}
    detector = open_onnx_detector(constant_model(tmp_path / "d.onnx", [IMAGE, SIZE], outputs), threads=1)
    assert detector.detect(frame(rotation=rotation), 0) == [Detection(0, 0.5, *box)]


def test_a_yolox_sees_blue_first_at_the_top_left_over_grey(tmp_path: Path) -> None:
    detector = open_onnx_detector(constant_model(tmp_path / "y.onnx", [IMAGE], yolox_outputs()), threads=1)
    seen: list[NDArray[Any]] = []
    picture = _Red()
    network = Yolox("images", 64, 64, 80)
    network.detect(picture, lambda feeds: seen.append(feeds["images"]) or [yolox_outputs()["output"]], min_score=0.5)
    assert seen[0].shape == (1, 3, 64, 64)
    assert np.array_equal(seen[0][0, :, 0, 0], [0, 0, 255])
    assert np.array_equal(np.unique(seen[0][0, :, 48:]), [114])
    assert detector.description.startswith("y.onnx (YOLOX), ONNX Runtime")


def test_a_center_net_sees_a_picture_padded_with_black_to_multiples_of_32() -> None:
    seen: list[NDArray[Any]] = []

    def run(feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        seen.append(feeds["image"])
        return [np.zeros((1, n, 24, 32), np.float32) for n in (80, 2, 2)]

    found = CenterNet("image", (0, 1, 2), None, 100, 80).detect(_Red(), run, min_score=0.3)
    assert len(found.labels) == 0
    assert seen[0].shape == (1, 3, 96, 128)
    assert np.array_equal(seen[0][0, :, 74, 99], [1, 0, 0])  # 100x75 are picture
    assert seen[0][0, :, 75:].max() == seen[0][0, :, :, 100:].max() == 0


class _Red:
    width, height = 128, 96

    def rgb(self, *, width: int, height: int) -> NDArray[np.uint8]:
        return np.full((height, width, 3), (255, 0, 0), np.uint8)


def test_suppression_is_per_class_and_greedy() -> None:
    corners = np.array([[0, 0, 10, 10], [0, 0, 10, 8], [0, 0, 10, 8], [0, 0, 10, 4]], np.float32)
    boxes = Boxes(corners, np.array([1, 1, 2, 1]), np.array([0.9, 0.8, 0.7, 0.6], np.float32))
    # IoU with the first: 0.8, (other class), 0.4. The last overlaps the second by 0.5, but that one is gone.
    assert non_maximum_suppression(boxes, max_overlap=0.45).tolist() == [0, 2, 3]


def test_classes_and_min_score_choose(tmp_path: Path) -> None:
    path = constant_model(tmp_path / "d.onnx", [IMAGE, SIZE], detr_outputs())
    found = open_onnx_detector(path, classes=["person", "2"], min_score=0.1).detect(frame(), 0)
    assert [item.class_id for item in found] == [0, 2]
    with pytest.raises(ValueError, match=r"no class 'dgo': did you mean dog"):
        open_onnx_detector(path, classes=["dgo"])
    with pytest.raises(ValueError, match="min_score"):
        open_onnx_detector(path, min_score=float("nan"))


def test_names_in_the_metadata_make_the_class_table(tmp_path: Path) -> None:
    outputs = center_net_outputs(2)
    named = constant_model(tmp_path / "n.onnx", [FREE_IMAGE], outputs, names=json.dumps(["cat", "crane"]))
    assert open_onnx_detector(named, classes=["crane"]).classes.names == ((0, "cat"), (1, "crane"))
    keyed = constant_model(tmp_path / "k.onnx", [FREE_IMAGE], outputs, names="{0: 'cat', 1: 'crane'}")
    assert open_onnx_detector(keyed).classes.names == ((0, "cat"), (1, "crane"))
    assert open_onnx_detector(constant_model(tmp_path / "u.onnx", [FREE_IMAGE], outputs)).classes == NO_CLASSES
    bad = constant_model(tmp_path / "b.onnx", [FREE_IMAGE], outputs, names="{")
    with pytest.raises(ModelError, match="names"):
        open_onnx_detector(bad)


def test_a_class_without_a_name_is_refused(tmp_path: Path) -> None:
    outputs = {**detr_outputs(), "labels": np.array([[0, 200, 2]], np.int64)}
    with pytest.raises(ModelError, match="class 200"):
        open_onnx_detector(constant_model(tmp_path / "d.onnx", [IMAGE, SIZE], outputs)).detect(frame(), 0)


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ([IMAGE], {"logits": np.zeros((1, 1000), np.float32)}),
        ([IMAGE], {"output0": np.zeros((1, 85, 8400), np.float32)}),
        ([IMAGE], detr_outputs()),
        ([SIZE], yolox_outputs()),
        ([("images", onnx.TensorProto.UINT8, [1, 3, 64, 64])], yolox_outputs()),
        ([("images", onnx.TensorProto.FLOAT, [1, 64, 64, 3])], yolox_outputs()),
    ],
)
def test_other_networks_are_refused_with_what_was_found(tmp_path: Path, inputs: list[Any], outputs: Outputs) -> None:
    path = constant_model(tmp_path / "other.onnx", inputs, outputs)
    with pytest.raises(ModelError, match=rf"inputs: {inputs[0][0]} .*outputs: {next(iter(outputs))} .*Known are"):
        open_onnx_detector(path)


def test_outputs_that_do_not_fit_the_input_are_refused(tmp_path: Path) -> None:
    path = constant_model(tmp_path / "c.onnx", [FREE_IMAGE], center_net_outputs(), long_side="640")
    with pytest.raises(ModelError, match=r"c\.onnx: heatmap \(1, 80, 16, 16\)"):
        open_onnx_detector(path).detect(frame(), 0)


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "noise.onnx").write_bytes(b"\x00\xff" * 99)
    with pytest.raises(ModelError, match=r"noise\.onnx: no model"):
        open_onnx_detector(tmp_path / "noise.onnx")
    with pytest.raises(ModelError, match="no such file"):
        open_detector(str(tmp_path / "none.onnx"))
    with pytest.raises(ModelError, match="no detector 'yolo'"):
        open_detector("yolo")
    assert open_detector("none") is None


def test_opening_is_quiet_and_cuda_is_used_or_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = constant_model(tmp_path / "d.onnx", [IMAGE, SIZE], detr_outputs())
    detector = open_onnx_detector(path)
    if detector.provider == "CUDAExecutionProvider":
        assert detector.description.endswith("on CUDA")
        assert open_onnx_detector(path, device="cpu").provider == "CPUExecutionProvider"
    else:
        assert detector.description.endswith("on CPU")
        with pytest.raises(ModelError, match="device cuda was asked for"):
            open_onnx_detector(path, device="cuda")
    detector.detect(frame(), 0)
    assert capfd.readouterr() == ("", "")


def test_the_package_loads_neither_torch_nor_onnx_runtime() -> None:
    code = (
        "import sys, ssvc_codec.semantics, ssvc_codec.semantics.open, ssvc_codec.semantics.detections_file; "
        "print(sorted({'torch', 'onnxruntime'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
