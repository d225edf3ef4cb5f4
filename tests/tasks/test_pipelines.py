"""The four tasks end to end on tiny data sets: what is read, what it costs, what is written."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from ffmpeg_bridge.bench.codec import Settings
from ffmpeg_bridge.bench.registry import anchor_codec
from ffmpeg_bridge.tasks.action import ActionTask, choose_keys, choose_runs
from ffmpeg_bridge.tasks.coco import read_coco
from ffmpeg_bridge.tasks.davis import read_davis
from ffmpeg_bridge.tasks.detect import DetectTask
from ffmpeg_bridge.tasks.own_stream import TaskEncoder
from ffmpeg_bridge.tasks.people import coco_people
from ffmpeg_bridge.tasks.pose import PoseTask, Reference
from ffmpeg_bridge.tasks.pose_network import decode_points, open_pose_network
from ffmpeg_bridge.tasks.report import TaskFolder
from ffmpeg_bridge.tasks.run import TaskRow, TaskRun
from ffmpeg_bridge.tasks.segment import SegmentTask
from ffmpeg_bridge.tasks.task import Task
from ffmpeg_bridge.tasks.train_action import train_action
from ffmpeg_bridge.tasks.two_stream import Backbone, TwoStream
from ffmpeg_bridge.tasks.ucf101 import read_ucf101

pytestmark = pytest.mark.usefixtures("x264")


def run_task(task: Task, folder: Path, *, keyint: int, detector: Any = None, resume: bool = False) -> TaskRun:
    """ssvc at two points and x264 at two, written to folder."""
    settings = Settings(keyint=keyint)
    own = TaskEncoder(settings, (20.0, 45.0), preset="fast", device="cpu", detector=detector)
    anchors = [anchor_codec("x264", settings, points=(25.0, 40.0))]
    out = TaskFolder(folder)
    run = TaskRun(task, own, anchors, out.open(resume=resume, overwrite=False))
    assert run.run().is_complete
    assert run.results.failures == []
    out.write(run, missing={})
    return run


def rows_of(run: TaskRun, codec: str, way: str) -> list[TaskRow]:
    return [row for row in run.rows() if (row.codec, row.way) == (codec, way)]


def write_onnx(path: Path, nodes: list[Any], *, output: list[Any], shape: list[Any], weights: Any = ()) -> Path:
    """A network with one float input `x`."""
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, output)],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


@pytest.fixture(scope="module")
def pose_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network in MoveNet's form that finds the same points in every picture: a column from head to feet."""
    points = np.array([[(k + 1) / 20, 0.5, 0.9] for k in range(17)], np.float32).reshape(1, 1, 17, 3)
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], keepdims=1),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "points"], ["y"]),
    ]
    weights = [numpy_helper.from_array(points, "points"), numpy_helper.from_array(np.zeros(1, np.float32), "zero")]
    path = tmp_path_factory.mktemp("pose") / "pose.onnx"
    return write_onnx(path, nodes, output=[1, 1, 17, 3], shape=[1, 64, 64, 3], weights=weights)


@pytest.fixture(scope="module")
def detected(coco: Path, detector: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[TaskRun, Path]:
    folder = tmp_path_factory.mktemp("detect") / "out"
    return run_task(DetectTask(read_coco(coco), detector), folder, keyint=1, detector=detector), folder


def test_heads_alone_give_the_boxes_of_the_encoder(detected: tuple[TaskRun, Path]) -> None:
    run, _ = detected
    heads = rows_of(run, "ssvc", "headers")
    assert [row.scores for row in heads] == [(pytest.approx(1), pytest.approx(1))] * 2  # the boxes are the true ones
    assert heads[0].n_bits == pytest.approx(heads[1].n_bits, rel=0.02)  # the directory has sizes of substreams


def test_the_less_is_decoded_the_fewer_bits_are_read(detected: tuple[TaskRun, Path]) -> None:
    run, _ = detected
    for k in range(2):
        heads, objects, full = (rows_of(run, "ssvc", way)[k].n_bits for way in ("headers", "objects", "full"))
        assert 0 < heads < objects < full


def test_bits_of_full_decoding_are_those_of_the_packets(detected: tuple[TaskRun, Path]) -> None:
    from ffmpeg_bridge.reader import open_ssv

    run, folder = detected
    total = 0
    for path in (folder / "cache").glob("*.ssv"):
        with open_ssv(str(path)) as reader:
            total += sum(8 * len(packet.data) for packet in reader)
    assert total == sum(row.n_bits for row in rows_of(run, "ssvc", "full"))


def test_tables_report_and_comparisons_are_written(detected: tuple[TaskRun, Path]) -> None:
    run, folder = detected
    with (folder / "results.tsv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert len(rows) == len(run.rows()) == 1 + 2 * 3 + 2
    with (folder / "bd_rate.tsv").open(newline="") as file:
        compared = {(row["metric"], row["way"], row["anchor"]) for row in csv.DictReader(file, delimiter="\t")}
    assert ("AP50", "headers", "x264") in compared
    report = (folder / "report.md").read_text()
    assert "Object detection" in report
    assert "libx264" in report


def test_a_second_run_takes_everything_from_the_cache(
    detected: tuple[TaskRun, Path], coco: Path, detector: Any
) -> None:
    first, folder = detected
    task = DetectTask(read_coco(coco), detector)
    again = run_task(task, folder, keyint=1, detector=detector, resume=True)
    assert again._n_measured == 0
    assert [row[:6] for row in map(tuple_of, again.rows())] == [row[:6] for row in map(tuple_of, first.rows())]


def tuple_of(row: TaskRow) -> tuple[Any, ...]:
    return (row.codec, row.way, str(row.point), row.n_items, row.n_bits, row.scores)


def test_headers_alone_are_measured_without_decoding(
    detected: tuple[TaskRun, Path], coco: Path, detector: Any, tmp_path: Path
) -> None:
    task = DetectTask(read_coco(coco), detector, headers_only=True)
    run = TaskRun(
        task,
        TaskEncoder(Settings(keyint=1), (20.0,), preset="fast", device="cpu", detector=detector),
        [],
        TaskFolder(tmp_path / "out").open(resume=False, overwrite=False),
    )
    run.run()
    assert [(row.codec, row.way) for row in run.rows()] == [("original", "full"), ("ssvc", "headers")]
    assert run.rows()[1].n_bits == rows_of(detected[0], "ssvc", "headers")[0].n_bits


@pytest.mark.parametrize("reference", ["original", "annotations"])
def test_pose_is_found_in_people_alone(
    coco: Path, detector: Any, pose_file: Path, tmp_path: Path, reference: Reference
) -> None:
    network = open_pose_network(pose_file, device="cpu")
    items = coco_people(coco, limit=None if reference == "original" else 1)
    for item in items:
        assert item.people is not None
    big = [item for item in items if item.people]
    task = PoseTask(big, network, finder=None, reference=reference)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ffmpeg_bridge.tasks.pose.LEAST_HEIGHT", 16)
        run = run_task(task, tmp_path / "out", keyint=1, detector=detector)
    people, full = rows_of(run, "ssvc", "persons"), rows_of(run, "ssvc", "full")
    assert all(a.n_bits < b.n_bits for a, b in zip(people, full, strict=True))
    if reference == "original":  # a network that always answers the same agrees with itself
        assert {row.scores for row in run.rows()} == {(1.0, 1.0)}
    else:
        assert 0 <= people[0].scores[0] < 1


def test_heat_maps_are_read_at_their_peaks() -> None:
    heat = np.zeros((1, 17, 8, 10))
    heat[0, :, 3, 6], heat[0, :, 3, 7] = 1, 0.5
    points = decode_points(heat)
    assert points[0] == pytest.approx([(6.5 + 0.25) / 10, 3.5 / 8, 1])
    assert decode_points(np.full((1, 1, 17, 3), [0.25, 0.5, 1.0]))[0] == pytest.approx([0.5, 0.25, 1])


def test_segmentation_carries_the_first_mask(davis: Path, tmp_path: Path, ssvc: Callable[..., Any]) -> None:
    options = ["--crfs", "15,40", "--anchors", "x264", "--points", "x264=25,40", "--preset", "fast", "-g", "2"]
    trained = ssvc("eval", "segment", davis, "--out", tmp_path, "--train", "--minutes", "0")
    assert trained.code == 0, trained.stderr
    refiner = tmp_path / "refiner.safetensors"
    result = ssvc(
        "eval", "segment", davis, "--split", "val", "--out", tmp_path / "out", "--refiner", refiner, *options, "--full"
    )
    assert result.code == 0, result.stderr
    with (tmp_path / "out" / "results.tsv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    bits = {row["way"]: int(row["n_bits"]) for row in rows if (row["codec"], row["point"]) == ("ssvc", "15")}
    assert 0 < bits["flow"] < bits["keys/2"] < bits["keys"] < bits["full"]
    assert bits["flow"] == bits["flow + U-Net"]
    original = next(row for row in rows if (row["codec"], row["way"]) == ("original", "full"))
    assert float(original["mIoU (J)"]) > 0.85
    assert "[10/10]" in result.stderr.replace(" ", "") or "square" in result.stderr


@pytest.mark.parametrize(("box", "is_alone"), [((8, 12, 48, 36), True), ((0, 48, 16, 16), False)])
def test_of_key_frames_the_object_alone_can_be_decoded(
    davis: Path, detector: Any, tmp_path: Path, box: tuple[int, int, int, int], is_alone: bool
) -> None:
    task = SegmentTask(read_davis(davis), keyint=2, refiner=None, with_objects=True)
    run = run_task(task, tmp_path / "out", keyint=2, detector=type(detector)({0: box}))
    for alone, whole, flow in zip(
        *(rows_of(run, "ssvc", way) for way in ("keys, object", "keys", "flow")), strict=True
    ):
        assert flow.n_bits < alone.n_bits
        assert (alone.n_bits < whole.n_bits) == is_alone  # a box beside the object does not help: all is decoded
        assert is_alone or alone.scores == whole.scores
        assert alone.scores[0] > 0.8


def test_action_is_told_from_flow_in_the_stream(ucf: Path, tmp_path: Path) -> None:
    path = write_onnx(
        tmp_path / "backbone.onnx",
        [helper.make_node("Identity", ["x"], ["y"])],
        output=[1, 3, 32, 32],
        shape=[1, 3, 32, 32],
    )
    backbone = Backbone(str(path), device="cpu")
    networks = tmp_path / "action.safetensors"
    train_action(read_ucf101(ucf, part="train"), backbone, networks, keyint=5, steps=60)
    task = ActionTask(read_ucf101(ucf, part="test"), TwoStream(networks, backbone), keyint=5)
    run = run_task(task, tmp_path / "out", keyint=5)
    assert rows_of(run, "original", "full")[0].scores == (1.0,)
    assert {row.codec for row in run.rows()} == {"original", "ssvc", "x264"}
    ways = [rows_of(run, "ssvc", way)[0].n_bits for way in ActionTask.ways]
    assert 0 < ways[0] <= ways[1] <= ways[2]


def test_shares_of_key_frames_and_flows_are_as_asked() -> None:
    assert [len(choose_keys(20, share)) for share in (0.05, 0.15, 0.45)] == [1, 3, 9]
    assert choose_keys(1, 0.05) == [0]
    runs = choose_runs(240, 12)  # 220 P frames: 22 flows, of which stacks of 5 can be made 4 times
    assert [len(run) - 1 for run in runs] == [5, 5, 5, 5]
    assert all(run[0] % 12 == 0 for run in runs)
    assert [len(run) for run in choose_runs(5, 3)] in ([3], [2], [3, 2])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["detect", "nowhere"], "nowhere: no such folder"),
        (["segment", "nowhere"], "JPEGImages"),
        (["action", "nowhere"], "--networks"),
        (["pose", "nowhere", "--network", "none.onnx"], "none.onnx"),
        (["detect", "nowhere", "--anchors", "h999"], "unknown codec"),
    ],
)
def test_wrong_usage_is_one_line(arguments: list[str], words: str, tmp_path: Path, ssvc: Callable[..., Any]) -> None:
    result = ssvc("eval", *arguments, "--out", tmp_path / "out")
    assert result.code in (1, 2)
    assert words in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_davis_can_be_read_without_a_list(davis: Path) -> None:
    assert [sequence.name for sequence in read_davis(davis)] == ["square"]


def test_a_run_that_is_stopped_reports_whole_items_and_goes_on(coco: Path, detector: Any, tmp_path: Path) -> None:
    settings = Settings(keyint=1)
    own = TaskEncoder(settings, (40.0,), preset="fast", device="cpu", detector=detector)
    task, out, seen = DetectTask(read_coco(coco), detector), TaskFolder(tmp_path), []
    cache = out.open(resume=False, overwrite=False)
    run = TaskRun(task, own, [], cache, should_stop=lambda: len(seen) > 2, on_step=seen.append)
    assert not run.run().is_complete
    assert run.whole_items == ["7"]
    out.write(run, missing={"vvenc": "not here"})
    assert "The run was stopped" in out.report.read_text()
    rest = TaskRun(task, own, [], out.open(resume=True, overwrite=False))
    assert rest.run().is_complete
    assert rest._n_measured == 1  # of four steps three were known
