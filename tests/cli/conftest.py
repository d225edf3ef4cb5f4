"""The commands in this process, and stand-ins for the codec and the bridge where a test needs none of them."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import numpy as np
import pytest

from ssvc_codec.bitstream import (
    COCO_80,
    ObjectChanges,
    SceneObject,
    SequenceHeader,
    SubstreamKind,
    build_codec_private,
    build_packet,
    parse_packet,
)
from ssvc_codec.errors import BitstreamError, ChecksumError
from ssvc_codec.frame import Frame, VideoFormat
from ssvc_codec.gop.groups import group_map
from ssvc_codec.packet import Packet

FORMAT = VideoFormat(width=4, height=2)
TIME_BASE = Fraction(1, 25)
SEQUENCE_HEADER = SequenceHeader(FORMAT, "base", bytes(8)).to_bytes()


@dataclass(frozen=True)
class Result:
    """How one command ended."""

    code: int
    stdout: str
    stderr: str


@pytest.fixture
def ssvc(capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Run one command line in this process."""
    run = import_module("ssvc_codec.cli.main").run

    def call(*arguments: str | Path) -> Result:
        code = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return call


def make_frame(number: int, level: int) -> Frame:
    luma = np.full((2, 4), level, np.uint8)
    chroma = np.full((1, 2), 128, np.uint8)
    return Frame(y=luma, u=chroma, v=chroma, format=FORMAT, pts=number, duration=1, time_base=TIME_BASE)


def make_packet(number: int, data: bytes) -> Packet:
    return Packet(data=data, pts=number, is_keyframe=True, duration=1, time_base=TIME_BASE)


@dataclass
class Fakes:
    """A codec whose packets hold the level of a grey frame as `I<level>`, and a bridge that keeps what it is given."""

    inputs: list[Any] = field(default_factory=list)  # frames, packets, or an error to raise in their place
    written: list[Any] = field(default_factory=list)
    endings: list[str] = field(default_factory=list)  # what happened to each output
    decoder_arguments: dict[str, Any] = field(default_factory=dict)
    encoder_arguments: dict[str, Any] = field(default_factory=dict)
    reader_arguments: dict[str, Any] = field(default_factory=dict)
    writer_arguments: dict[str, Any] = field(default_factory=dict)
    forced: list[int] = field(default_factory=list)  # pts of the frames that had to become key frames
    notes: list[str] = field(default_factory=list)
    on_write: Callable[[], None] = lambda: None
    format: VideoFormat = FORMAT
    sequence_header: bytes = SEQUENCE_HEADER
    is_trimmed: bool = False
    truncated: bool = False
    damage: str | None = None
    average_rate: Fraction | None = Fraction(25)

    def levels(self) -> list[int]:
        """Of the frames written."""
        return [int(frame.y[0, 0]) for frame in self.written]


class FakeReader:
    def __init__(self, fakes: Fakes, path: str, **arguments: Any) -> None:
        fakes.reader_arguments = {"path": path, **arguments}
        self._fakes = fakes
        self.format = fakes.format
        self.sequence_header = fakes.sequence_header
        self.copies: list[Any] = []
        self.attachments: list[Any] = []
        self.time_base = TIME_BASE
        self.average_rate = fakes.average_rate
        self.notes = fakes.notes
        self.is_trimmed = fakes.is_trimmed
        self.truncated = fakes.truncated
        self.damage = fakes.damage

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        pass

    def __iter__(self) -> Iterator[Any]:
        for item in self._fakes.inputs:
            if isinstance(item, Exception):
                raise item
            yield item

    def take_packets(self, before: Fraction | None) -> list[Any]:
        del before
        return []


class FakeWriter:
    def __init__(self, fakes: Fakes, path: str, **arguments: Any) -> None:
        fakes.writer_arguments = {"path": path, **arguments}
        self.notes: list[str] = []
        self._fakes = fakes

    def write(self, item: object) -> None:
        self._fakes.on_write()
        self._fakes.written.append(item)

    def close(self) -> None:
        self._fakes.endings.append("closed")

    def abort(self) -> None:
        self._fakes.endings.append("aborted")


class FakeEncoder:
    sequence_header = SEQUENCE_HEADER

    def __init__(self, fakes: Fakes, format: VideoFormat, **arguments: Any) -> None:
        fakes.encoder_arguments = {"format": format, **arguments}
        self._forced = fakes.forced

    def send(self, frame: Frame, *, force_key: bool = False) -> list[Packet]:
        if force_key:
            self._forced.append(frame.pts or 0)
        return [make_packet(frame.pts or 0, b"I%d" % frame.y[0, 0])]

    def flush(self) -> list[Packet]:
        return []


class FakeDecoder:
    def __init__(self, fakes: Fakes, **arguments: Any) -> None:
        fakes.decoder_arguments = arguments
        self.format = fakes.format

    def send(self, packet: Packet) -> list[Frame]:
        if not packet.data.startswith(b"I"):
            raise ChecksumError("packet: CRC-32 does not match (bitstream.md 3)")
        return [make_frame(packet.pts or 0, int(packet.data[1:]))]

    def flush(self) -> list[Frame]:
        return []


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> Fakes:
    """Replaces the encoder, the decoder, and the bridge's readers and writers."""
    state = Fakes()

    def replace(name: str, **attributes: object) -> None:
        module = ModuleType(name)
        module.__dict__.update(attributes)
        monkeypatch.setitem(sys.modules, name, module)

    def reader(path: str, **arguments: Any) -> FakeReader:
        return FakeReader(state, path, **arguments)

    def writer(path: str, **arguments: Any) -> FakeWriter:
        return FakeWriter(state, path, **arguments)

    def encoder(format: VideoFormat, **arguments: Any) -> FakeEncoder:
        return FakeEncoder(state, format, **arguments)

    def decoder(sequence_header: bytes | None = None, **arguments: Any) -> FakeDecoder:
        if sequence_header == b"damaged":
            raise BitstreamError("sequence header: magic is missing (bitstream.md 2)")
        return FakeDecoder(state, **arguments)

    replace("ffmpeg_bridge.reader", open_video=reader, open_ssv=reader)
    replace("ffmpeg_bridge.writer", SsvWriter=writer, VideoWriter=writer)
    replace("ssvc_codec.encoder", Encoder=encoder)
    replace("ssvc_codec.decoder", Decoder=decoder)
    monkeypatch.setitem(sys.modules, "ssvc_codec.cli.concealment", None)  # it imports the decoder
    monkeypatch.delitem(sys.modules, "ssvc_codec.cli.concealment", raising=False)
    return state


@pytest.fixture
def frames() -> list[Frame]:
    """Five grey frames: 50, 51, ..."""
    return [make_frame(number, 50 + number) for number in range(5)]


@pytest.fixture
def packets() -> list[Packet]:
    """The same, coded."""
    return [make_packet(number, b"I%d" % (50 + number)) for number in range(5)]


@pytest.fixture
def damaged() -> Callable[[int], Packet]:
    """A packet that does not decode."""
    return lambda number: make_packet(number, b"?")


MakeSsv = Callable[..., Path]


def _objects_of(text: str) -> list[SceneObject]:
    """`p` is a person (track 1), `P` the same 8 samples further right, `c` a car (track 2) in a group of its own."""
    places = {"p": (1, 0, 2), "P": (1, 0, 10), "c": (2, 2, 40)}
    return [SceneObject(places[c][0], places[c][1], 200, places[c][2], 40, 16, 20) for c in text]


@pytest.fixture
def make_ssv(tmp_path: Path) -> MakeSsv:
    """Writes an .ssv of 64x64 whose payloads are M0, R1 and the like, so nothing needs a network.

    scenes: objects of each frame, "p" or "c" or both. keyint: frames from key frame to key frame. sound: a file whose
    sound, chapters and tags are copied. first: pts of the first frame.
    """

    def make(
        name: str, scenes: Sequence[str], *, keyint: int = 4, sound: Path | None = None, first: int = 0, **changes: Any
    ) -> Path:
        from ffmpeg_bridge.reader import open_video
        from ffmpeg_bridge.writer import SsvWriter

        video = changes.pop("format", VideoFormat(width=64, height=64))
        classes, weights = changes.pop("classes", COCO_80), changes.pop("weights", bytes(8))
        header = SequenceHeader(video, "base", weights, classes=classes)
        assert not changes
        with contextlib.ExitStack() as files:
            source = files.enter_context(open_video(str(sound))) if sound else None
            writer = files.enter_context(
                SsvWriter(
                    str(tmp_path / name),
                    format=video,
                    time_base=TIME_BASE,
                    codec_private=build_codec_private(header),
                    average_rate=Fraction(25),
                    source=source,
                )
            )
            before: list[SceneObject] = []
            pictures = iter(source) if source else None
            for number, text in enumerate(scenes):
                if pictures:
                    next(pictures)  # sound is handed out as far as pictures were read
                objects = _objects_of(text)
                data = _coded(header, objects, before, number % keyint)
                writer.write(Packet(data, first + number, number % keyint == 0, 1, TIME_BASE))
                before = objects
        return tmp_path / name

    return make


def _coded(header: SequenceHeader, objects: list[SceneObject], before: list[SceneObject], number: int) -> bytes:
    n_groups = int(group_map(objects, width=header.format.width, height=header.format.height).max()) + 1
    if not number:
        kinds = {group: SubstreamKind.OBJECT if group else SubstreamKind.BACKGROUND for group in range(n_groups)}
        parts = {(int(kind), group): b"I%d" % group for group, kind in kinds.items()}
        return build_packet(parts, q_index=30, sequence_header=header, objects=objects)
    parts = {(int(SubstreamKind.MOTION), group): b"M%d" % group for group in range(n_groups)}
    parts |= {(int(SubstreamKind.RESIDUAL), group): b"R%d" % group for group in range(n_groups)}
    return build_packet(parts, q_index=30, frame_number=number, changes=ObjectChanges.between(before, objects))


@dataclass(frozen=True)
class SsvContents:
    """What an .ssv file holds: of each frame its pts, whether it is a key frame, and its payloads."""

    times: list[int]
    keys: list[bool]
    payloads: list[set[str]]
    durations: list[int]
    sound: list[Fraction]  # seconds of each packet of sound
    notes: list[str]


@pytest.fixture
def read_ssv() -> Callable[[Path], SsvContents]:
    """Reads one back."""

    def read(path: Path) -> SsvContents:
        from ffmpeg_bridge.reader import open_ssv

        contents = SsvContents([], [], [], [], [], [])
        with open_ssv(str(path)) as reader:
            for packet in reader:
                parsed = parse_packet(packet.data)
                contents.times.append(packet.pts or 0)
                contents.keys.append(packet.is_keyframe)
                contents.payloads.append({parsed.payload(entry).decode() for entry in parsed.entries})
                contents.durations.append(packet.duration)
            sound = reader.take_packets(None)
            contents.sound.extend((p.pts or 0) * Fraction(p.time_base or 0) for p in sound)
            contents.notes.extend(reader.notes)
        return contents

    return read


@pytest.fixture(scope="session")
def sound_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip of one second with sound."""
    path = tmp_path_factory.mktemp("sound") / "clip.mp4"
    run = import_module("ssvc_codec.cli.main").run
    assert run(["demo", str(path), "--seconds", "1", "--width", "64", "--height", "64", "-q"]) == 0
    return path
