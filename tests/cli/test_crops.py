"""Objects of a coded clip, cut out while it is decoded."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ffmpeg_bridge import SsvWriter, open_ssv
from ssvc_codec.bitstream import COCO_80, SceneObject, SequenceHeader, build_codec_private
from ssvc_codec.decoder import Decoder
from ssvc_codec.encoder import Encoder
from ssvc_codec.errors import MediaError
from ssvc_codec.frame import Color, Frame, VideoFormat
from ssvc_codec.selection import Selection

FORMAT = VideoFormat(96, 64, color=Color(1, 1, 1))
TIME_BASE = Fraction(1, 25)
N_FRAMES = 3


def _objects(number: int) -> list[SceneObject]:
    """A person that stands left, and a dog that walks right."""
    return [
        SceneObject(track_id=5, class_id=0, score=255, x=4, y=4, width=24, height=56),
        SceneObject(track_id=7, class_id=16, score=128, x=66 + 2 * number, y=34, width=20, height=24),
    ]


def _frame(number: int) -> Frame:
    """Grey, with a bright person and a dark dog."""
    luma = np.full((64, 96), 120, np.uint8)
    for item, level in zip(_objects(number), (210, 40), strict=True):
        luma[item.y : item.y + item.height, item.x : item.x + item.width] = level
    chroma = np.full((32, 48), 128, np.uint8)
    return Frame(luma, chroma, chroma, FORMAT, pts=number, duration=1, time_base=TIME_BASE)


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("crops") / "in.ssv"
    encoder = Encoder(FORMAT, time_base=TIME_BASE, crf=10, preset="fast", keyint=N_FRAMES, device="cpu")
    packets = [
        packet for number in range(N_FRAMES) for packet in encoder.send(_frame(number), objects=_objects(number))
    ]
    header = SequenceHeader.from_bytes(encoder.sequence_header)
    private = build_codec_private(SequenceHeader(FORMAT, header.model, header.weights_hash, classes=COCO_80))
    with SsvWriter(
        path, format=FORMAT, time_base=TIME_BASE, average_rate=Fraction(25), codec_private=private
    ) as writer:
        for packet in packets:
            writer.write(packet)
    return path


class _Known:
    """A decoder as the sink sees it, with what the encoder was told."""

    first_error = None
    classes = COCO_80

    def __init__(self) -> None:
        self.objects: tuple[SceneObject, ...] = ()


def _decode(stream: Path, folder: Path, *, select: Selection | None = None, **options: Any) -> None:
    crops = import_module("ssvc_codec.cli.decode_crops")
    output = crops.CropOutput(str(folder), **options)
    output.check()
    known = _Known()
    with open_ssv(stream) as reader:
        decoder: Decoder[Frame] = Decoder(device="cpu")
        sink = crops.CropSink(output, reader, known, select=select)
        try:
            for number, packet in enumerate(reader):
                known.objects = tuple(_objects(number))
                for frame in decoder.send(packet):
                    sink.write(frame)
            sink.close()
        except BaseException:
            sink.abort()
            raise


def _pictures(folder: Path) -> Iterator[tuple[str, np.ndarray]]:
    for path in sorted(folder.rglob("*.png")):
        with Image.open(path) as picture:
            yield str(path.relative_to(folder)), np.asarray(picture)


def test_each_object_gets_a_picture_a_frame(stream: Path, tmp_path: Path) -> None:
    _decode(stream, tmp_path / "crops")
    pictures = dict(_pictures(tmp_path / "crops"))
    assert sorted(pictures) == [
        *(f"dog_7/{number:06d}.png" for number in range(N_FRAMES)),
        *(f"person_5/{number:06d}.png" for number in range(N_FRAMES)),
    ]
    assert {picture.shape for name, picture in pictures.items() if name.startswith("dog")} == {(24, 20, 3)}
    # RGB of Y 210 and 40, limited range: 226 and 28; the clip is coded with loss.
    for name, picture in pictures.items():
        assert picture[4:-4, 4:-4].mean() == pytest.approx(226 if name.startswith("person") else 28, abs=12)


def test_the_crops_are_the_selected_ones(stream: Path, tmp_path: Path) -> None:
    _decode(stream, tmp_path / "crops", select=Selection(("dog",)), kind="mp4")
    names = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*"))
    assert names == ["crops/dog_7/000000.mp4", "crops/index.csv"]
    with (tmp_path / "crops" / "index.csv").open(newline="") as index:
        assert [(row["file_frame"], row["x"]) for row in csv.DictReader(index)] == [
            ("0", "66"),
            ("1", "68"),
            ("2", "70"),
        ]


def test_frames_that_are_left_out_keep_their_numbers(stream: Path, tmp_path: Path) -> None:
    crops = import_module("ssvc_codec.cli.decode_crops")
    known = _Known()
    known.objects = tuple(_objects(0))
    with open_ssv(stream) as reader:
        sink = crops.CropSink(crops.CropOutput(str(tmp_path / "crops")), reader, known)
        sink.write(_frame(0), number=12)
        sink.write(_frame(1))
        sink.close()
    assert [name for name, _ in _pictures(tmp_path / "crops")][:2] == ["dog_7/000012.png", "dog_7/000013.png"]


def test_without_an_object_there_is_no_folder(stream: Path, tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="holds no object that was asked for in the frames decoded"):
        _decode(stream, tmp_path / "crops", select=Selection(("cat",)))
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_is_refused_before_decoding(tmp_path: Path) -> None:
    output = import_module("ssvc_codec.cli.decode_crops").CropOutput
    (tmp_path / "file").write_text("")
    with pytest.raises(MediaError, match="crops need a folder"):
        output(str(tmp_path / "file")).check()
    with pytest.raises(MediaError, match="need a folder, not standard output"):
        output("-").check()
    with pytest.raises(MediaError, match="the folder is not empty; -y"):
        output(str(tmp_path)).check()
    output(str(tmp_path), overwrite=True).check()
    output(str(tmp_path / "new")).check()
