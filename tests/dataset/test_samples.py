"""What a sample holds is what the decoder gives for the same frames."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

from ffmpeg_bridge.ssv_reader import open_ssv
from ssvc_codec.dataset import Request, Sample, SsvFile, iter_samples
from ssvc_codec.decoder import Decoder
from ssvc_codec.errors import BitstreamError
from ssvc_codec.flow import FlowField
from ssvc_codec.frame import Frame
from ssvc_codec.packet import Packet
from ssvc_codec.selection import Selection
from ssvc_codec.semantics.rgb import frame_to_rgb

from .conftest import HEIGHT, KEYINT, N_FRAMES, WIDTH, objects_of

PERSON = Selection(objects=("person",), background=False)


def packets_of(path: Path) -> list[Packet]:
    with open_ssv(str(path)) as reader:
        return list(reader)


def rgb(frame: Frame, *, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    return frame_to_rgb(frame, width=width, height=height).transpose(2, 0, 1)


def samples_of(path: Path, **options: Any) -> list[Sample[Any]]:
    return list(iter_samples(path, **options))


def is_close(flow: np.ndarray, expected: np.ndarray) -> bool:
    """The same but for rounding, which depends on how many GoPs were decoded at once."""
    return flow.shape == expected.shape and bool(np.abs(flow - expected).max() < 1e-3)


@pytest.fixture(scope="module")
def frames(first: Path) -> list[Frame]:
    decoder = Decoder(device="cpu")
    return [decoder.send(packet)[0] for packet in packets_of(first)]


@pytest.fixture(scope="module")
def flow(first: Path) -> dict[int, FlowField]:
    """By the number of the frame."""
    decoder = Decoder(parts={"motion"}, device="cpu")
    sent = [decoder.send(packet) for packet in packets_of(first)]
    return {number: fields[0] for number, fields in enumerate(sent) if fields}


def test_frames_and_key_frames_are_those_of_the_decoder(first: Path, frames: list[Frame]) -> None:
    samples = samples_of(first, parts={"frames", "keyframes"})
    assert [sample.gop for sample in samples] == [0, 1]
    for sample in samples:
        numbers = sample.frame_numbers.tolist()
        assert numbers == list(range(KEYINT * sample.gop, KEYINT * (sample.gop + 1)))
        assert np.array_equal(sample.frames, [rgb(frames[k]) for k in numbers])
        assert np.array_equal(sample.keyframe, rgb(frames[numbers[0]]))
        assert (sample.width, sample.height, sample.label) == (WIDTH, HEIGHT, -1)
        assert sample.boxes is None


def test_times_are_those_of_the_file(first: Path) -> None:
    with open_ssv(str(first)) as reader:
        expected = [float(packet.pts * packet.time_base) for packet in reader if packet.pts is not None]
    found = np.concatenate([sample.seconds for sample in iter_samples(first, parts={"boxes"})])
    assert np.allclose(found, expected, atol=5e-4)  # stored to the millisecond


def test_flow_is_that_of_the_decoder_without_the_key_frame(first: Path, flow: dict[int, FlowField]) -> None:
    for sample in iter_samples(first, parts={"flow"}):
        expected = np.stack([flow[k].values for k in sample.frame_numbers.tolist()[1:]])
        assert sample.flow.shape == (KEYINT - 1, 2, -(-HEIGHT // 4), -(-WIDTH // 4))
        assert is_close(sample.flow, expected)
        assert np.array_equal(sample.flow_stack[3], sample.flow[1, 1])


def test_overlapping_clips_give_what_whole_gops_give(first: Path, flow: dict[int, FlowField]) -> None:
    samples = samples_of(first, parts={"flow", "boxes"}, n_frames=3, step=1)
    assert [sample.frame_numbers.tolist() for sample in samples] == [[0, 1, 2], [1, 2, 3], [4, 5, 6], [5, 6, 7]]
    for sample in samples:
        numbers = sample.frame_numbers.tolist()
        assert is_close(sample.flow, np.stack([flow[k].values for k in numbers[1:]]))
        expected = [(k, item.track_id, item.x) for k, number in enumerate(numbers) for item in objects_of(number)]
        assert list(zip(*(c.tolist() for c in columns(sample)), strict=True)) == expected


def columns(sample: Sample[Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    assert sample.boxes is not None
    return sample.boxes.frames, sample.boxes.track_ids, sample.boxes.xywh[:, 0]


def test_clips_read_out_of_order_are_the_same(first: Path) -> None:
    from ssvc_codec.dataset import SsvDataset

    options: dict[str, Any] = {"parts": {"flow", "frames", "boxes"}, "n_frames": 2}
    expected = samples_of(first, **options)
    data = SsvDataset(first, **options)
    for index in (3, 0, 2, 1, 1):
        assert is_close(data[index].flow.numpy(), expected[index].flow)
        assert np.array_equal(data[index].frames.numpy(), expected[index].frames)
        assert np.array_equal(data[index].boxes.xywh.numpy(), expected[index].boxes.xywh)
    assert data[-1].index == 3


def test_boxes_are_those_that_were_coded(first: Path) -> None:
    (sample, _) = samples_of(first, parts={"boxes"})
    expected = [(k, item) for k in range(KEYINT) for item in objects_of(k)]
    assert sample.boxes.frames.tolist() == [k for k, _ in expected]
    assert sample.boxes.xywh.tolist() == [[o.x, o.y, o.width, o.height] for _, o in expected]
    assert sample.boxes.class_ids.tolist() == [o.class_id for _, o in expected]
    assert sample.boxes.scores[0] == np.float32(0.8)
    assert len(sample.boxes) == 2 * KEYINT - 1


def test_objects_that_were_not_asked_for_are_left_out(first: Path) -> None:
    for sample in iter_samples(first, parts={"boxes"}, objects=("person",)):
        assert set(sample.boxes.track_ids.tolist()) == {7}
    for sample in iter_samples(first, parts={"boxes"}, exclude=("#7",)):
        assert set(sample.boxes.track_ids.tolist()) == {9}
    with pytest.raises(ValueError, match="person"):
        samples_of(first, parts={"boxes"}, objects=("persn",))


def test_a_selection_decodes_its_objects_alone(first: Path) -> None:
    decoder = Decoder(select=PERSON, device="cpu")
    packet = packets_of(first)[KEYINT]
    (frame,) = decoder.send(packet)
    sample = samples_of(first, parts={"keyframes", "crops"}, objects=("person",), crop_size=(50, 30))[1]
    assert np.array_equal(sample.keyframe, rgb(frame))
    (person, _) = objects_of(KEYINT)
    box = np.s_[:, person.y : person.y + person.height, person.x : person.x + person.width]
    assert sample.crop_boxes.track_ids.tolist() == [person.track_id]
    assert np.array_equal(sample.crops[0], rgb(frame)[box])


def test_crops_of_a_key_frame_without_objects_are_none(first: Path) -> None:
    sample = samples_of(first, parts={"crops"}, objects=("dog",), crop_size=(8, 8))[0]
    assert sample.crops.shape == (0, 3, 8, 8)
    assert len(sample.crop_boxes) == 0


def test_sizes_are_those_that_were_asked_for(first: Path, frames: list[Frame]) -> None:
    options: dict[str, Any] = {"size": (40, 60), "flow_size": (8, 10)}
    sample = samples_of(first, parts={"keyframes", "frames", "flow"}, **options)[0]
    assert np.array_equal(sample.keyframe, rgb(frames[0], width=60, height=40))
    assert sample.frames.shape == (KEYINT, 3, 40, 60)
    assert sample.flow.shape == (KEYINT - 1, 2, 8, 10)
    whole = samples_of(first, parts={"flow"})[0].flow
    assert np.allclose(sample.flow.mean((2, 3)), whole.mean((2, 3)), atol=0.1)  # vectors keep their unit


@pytest.mark.parametrize("scale", [2, 4, 8, 16])
def test_reduced_key_frames_are_full_ones_made_smaller(first: Path, frames: list[Frame], scale: int) -> None:
    sample = samples_of(first, parts={"keyframes"}, scale=scale)[0]
    height, width = -(-HEIGHT // scale), -(-WIDTH // scale)
    assert sample.keyframe.shape == (3, height, width)
    inner = np.s_[:, : HEIGHT // scale, : WIDTH // scale]
    full = rgb(frames[0])[:, : HEIGHT // scale * scale, : WIDTH // scale * scale].astype(float)
    means = full.reshape(3, HEIGHT // scale, scale, WIDTH // scale, scale).mean((2, 4))
    assert np.mean((sample.keyframe[inner] - means) ** 2) < 255**2 / 10**3.5  # 35 dB: chroma and mending differ


def test_fit_takes_the_largest_scale_that_loses_nothing(first: Path) -> None:
    for size, scale in (((25, 38), 4), ((26, 38), 2), ((101, 150), 1), ((3, 3), 16)):
        assert Request(parts={"keyframes"}, scale="fit", size=size).scale_for(WIDTH, HEIGHT) == scale
    sample = samples_of(first, parts={"keyframes"}, scale="fit", size=(20, 30))[0]
    assert sample.keyframe.shape == (3, 20, 30)


def test_reduced_crops_are_of_the_same_place(first: Path) -> None:
    options: dict[str, Any] = {"parts": {"crops"}, "crop_size": (12, 8)}
    full, reduced = (samples_of(first, scale=scale, **options)[1].crops.astype(float) for scale in (1, 2))
    assert full.shape == reduced.shape == (2, 3, 12, 8)
    # a crop may be one reduced pixel wider on each side
    assert np.abs(full - reduced).mean() < 12 < np.abs(full[0] - full[1]).mean()


def test_latents_are_those_of_the_decoder(first: Path) -> None:
    decoder = Decoder(output="latents", select=PERSON, device="cpu")
    sample = samples_of(first, parts={"latents"}, objects=("person",))[1]
    (latents,) = decoder.send(packets_of(first)[KEYINT])
    assert np.array_equal(sample.latents, latents.values, equal_nan=True)


def test_key_frames_alone_read_no_p_frame(first: Path) -> None:
    from ssvc_codec.dataset.source import OpenFile

    read: set[int] = set()
    real = OpenFile.read

    def spy(self: OpenFile, number: int, n_bytes: int | None = None) -> bytes:
        read.add(number)
        return real(self, number, n_bytes)

    with mock.patch.object(OpenFile, "read", spy):
        samples_of(first, parts={"keyframes", "crops", "latents"}, scale=8)
    assert read == {0, KEYINT}


def test_flow_reads_no_residual(first: Path) -> None:
    from ssvc_codec.bitstream import SubstreamKind, parse_packet
    from ssvc_codec.dataset.source import OpenFile

    with SsvFile(first).open() as opened:
        whole = parse_packet(opened.read(1))
        part = opened.parsed_up_to(1, lambda kind: kind == SubstreamKind.MOTION)
        ends = [entry.offset for entry in whole.entries if entry.kind == SubstreamKind.RESIDUAL]
        assert len(part.data) <= min(ends) < len(whole.data)
        assert isinstance(opened, OpenFile)


def test_an_index_knows_every_packet(first: Path) -> None:
    file = SsvFile(first)
    packets = packets_of(first)
    assert file.n_frames == len(packets) == N_FRAMES
    assert file.is_key.tolist() == [packet.is_keyframe for packet in packets]
    with file.open() as opened:
        assert [opened.read(k) for k in range(N_FRAMES)] == [packet.data for packet in packets]


def test_boxes_load_no_torch(first: Path) -> None:
    code = (
        "import sys, json\nfrom ssvc_codec.dataset import SsvFile, iter_samples\n"
        f"boxes = [len(s.boxes) for s in iter_samples({str(first)!r}, parts={{'boxes'}}, objects=('person',))]\n"
        "print(json.dumps([boxes, [m for m in ('torch', 'av') if m in sys.modules]]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [[KEYINT, KEYINT], []]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"parts": set()}, "parts"),
        ({"parts": {"sound"}}, "parts"),
        ({"parts": "flow"}, "parts"),
        ({"parts": {"flow"}, "n_frames": 1}, "2 or more"),
        ({"parts": {"flow"}, "step": 2}, "n_frames"),
        ({"parts": {"boxes"}, "objects": "person"}, "tuples"),
        ({"parts": {"keyframes"}, "scale": 3}, "scale"),
        ({"parts": {"keyframes"}, "scale": "fit"}, "size"),
        ({"parts": {"keyframes"}, "size": (0, 4)}, "size"),
    ],
)
def test_requests_that_make_no_sense_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Request(**options)


def test_an_error_in_a_packet_names_where(damaged: Path) -> None:
    with pytest.raises(BitstreamError):
        samples_of(damaged, parts={"boxes"}, strict=True)
