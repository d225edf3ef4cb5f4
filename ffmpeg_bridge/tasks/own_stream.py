"""Streams of ssvc for tasks: written once as .ssv files, then read in parts."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ffmpeg_bridge.bench.codec import Settings
from ffmpeg_bridge.bench.own_codec import OwnCodec
from ssvc_codec.bitstream import ClassTable, SceneObject
from ssvc_codec.evaluation.clip import Clip
from ssvc_codec.flow import FlowField
from ssvc_codec.frame import Frame
from ssvc_codec.packet import Packet
from ssvc_codec.selection import Selection
from ssvc_codec.semantics.detection import Detector

__all__ = ["Flows", "Heads", "OwnStream", "Pictures", "TaskEncoder"]


@dataclass(frozen=True)
class TaskEncoder:
    """ssvc as a task codes with it: options of OwnCodec, and the detector whose boxes go into the stream."""

    settings: Settings
    points: tuple[float, ...]
    model: str = "base"
    preset: str = "medium"
    device: str = "auto"
    detector: Detector | None = None
    box_score: float | None = None  # least score of a box in the stream; None: the tracker's own rule
    name: str = "ssvc"

    def identity(self, point: float) -> list[str]:
        """Options, code and weights, detector."""
        own = OwnCodec(self.settings, self.points, model=self.model, preset=self.preset, device=self.device)
        what = self.detector.description if self.detector else "no objects"
        return [*own.identity(point), what, str(self.box_score)]

    def write(self, clip: Clip, crf: float, path: Path) -> OwnStream:
        """Encodes clip to path, unless the file is there already. Raises MediaError and errors of the codec."""
        if not path.is_file():
            self._encode(clip, crf, path)
        return OwnStream(path, self.model if Path(self.model).is_dir() else None, self.device, self.settings.threads)

    def _encode(self, clip: Clip, crf: float, path: Path) -> None:
        from ffmpeg_bridge.writer import SsvWriter
        from ssvc_codec.bitstream import SequenceHeader, build_codec_private
        from ssvc_codec.encoder import Encoder

        preset: Any = self.preset
        encoder = Encoder(
            clip.format,
            time_base=1 / clip.frame_rate,
            crf=crf,
            keyint=self.settings.keyint,
            scenecut=False,
            preset=preset,
            model=self.model,
            device=self.device,
            threads=self.settings.threads,
            object_source=self._source(clip),
        )
        header = build_codec_private(SequenceHeader.from_bytes(encoder.sequence_header))
        time_base, rate = 1 / clip.frame_rate, clip.frame_rate
        path.parent.mkdir(parents=True, exist_ok=True)
        with SsvWriter(
            str(path), format=clip.format, time_base=time_base, codec_private=header, average_rate=rate
        ) as writer:
            for frame in clip.frames:
                for packet in encoder.send(frame):
                    writer.write(packet)
            for packet in encoder.flush():
                writer.write(packet)

    def _source(self, clip: Clip) -> Any:
        from ssvc_codec.semantics.tracker import Tracker

        if self.detector is None:
            return None
        size = {"width": clip.format.width, "height": clip.format.height}
        if self.box_score is None:
            return Tracker(self.detector, **size)
        return Tracker(self.detector, **size, min_score=self.box_score, start_score=self.box_score)


@dataclass(frozen=True)
class Heads:
    """What the heads of packets say."""

    objects: tuple[tuple[SceneObject, ...], ...]  # of each frame
    classes: ClassTable
    n_bytes: int
    seconds: float


@dataclass(frozen=True)
class Pictures:
    """Decoded frames, None where a frame was not asked for."""

    frames: tuple[Frame | None, ...]
    n_bytes: int
    seconds: float


@dataclass(frozen=True)
class Flows:
    """Decoded flow by the number of its frame; key frames have none."""

    fields: dict[int, FlowField]
    n_bytes: int
    seconds: float


@dataclass
class OwnStream:
    """An .ssv file and ways to read parts of it. Bytes are those of packets, as for every codec of the bench."""

    path: Path
    model: str | None
    device: str
    threads: int
    _packets: list[Packet] = field(default_factory=list)
    _header: bytes = b""

    def packets(self) -> list[Packet]:
        """All packets of the file."""
        from ffmpeg_bridge.reader import open_ssv

        if not self._packets:
            with open_ssv(str(self.path)) as reader:
                self._packets = list(reader)
                self._header = reader.sequence_header
        return self._packets

    def key_frames(self) -> list[int]:
        """Numbers of the key frames."""
        return [number for number, packet in enumerate(self.packets()) if packet.is_keyframe]

    def heads(self) -> Heads:
        """Objects of every frame. No substream is touched."""
        from ssvc_codec.bitstream import NO_CLASSES, SequenceHeader, parse_packet

        packets, n_bytes = self.packets(), 0
        header: SequenceHeader | None = SequenceHeader.from_bytes(self._header)
        objects: list[tuple[SceneObject, ...]] = []
        start = time.perf_counter()
        for packet in packets:
            parsed = parse_packet(packet.data, partial=True)
            header = parsed.sequence_header or header
            n_bytes += parsed.head_length
            assert header is not None
            objects.append(parsed.objects_after(objects[-1] if objects else (), header))
        seconds = time.perf_counter() - start
        return Heads(tuple(objects), header.classes if header else NO_CLASSES, n_bytes, seconds)

    def head_bytes(self, numbers: Collection[int]) -> int:
        """Bytes of the heads of some packets: who reads two parts of them reads these once."""
        from ssvc_codec.bitstream import parse_packet

        packets = self.packets()
        return sum(parse_packet(packets[number].data, partial=True).head_length for number in numbers)

    def pictures(self, *, select: Selection | None = None, only: Collection[int] | None = None) -> Pictures:
        """Frames, all or those of a selection. only: numbers of the key frames to decode; no other packet is read."""
        packets = self.packets()
        decoder = self._decoder(select=select)
        frames: list[Frame | None] = []
        start = time.perf_counter()
        for number, packet in enumerate(packets):
            frames += decoder.send(packet) if only is None or number in only else [None]
        return Pictures(tuple(frames), decoder.n_bytes_read, time.perf_counter() - start)

    def flows(self, *, runs: Sequence[range] | None = None) -> Flows:
        """Flow of all P frames, or of runs of frames that each begin with a key frame; heads of those are read too."""
        packets = self.packets()
        fields: dict[int, FlowField] = {}
        n_bytes, seconds = 0, 0.0
        for run in [range(len(packets))] if runs is None else runs:
            start = time.perf_counter()
            decoder = self._decoder(parts={"motion"})
            for number in run:
                for flow in decoder.send(packets[number]):
                    fields[number] = flow
            seconds += time.perf_counter() - start
            n_bytes += decoder.n_bytes_read
        return Flows(fields, n_bytes, seconds)

    def _decoder(self, **options: Any) -> Any:
        from ssvc_codec.decoder import Decoder

        self.packets()
        return Decoder(self._header, model=self.model, device=self.device, threads=self.threads, **options)
