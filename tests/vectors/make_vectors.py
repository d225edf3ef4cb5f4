"""Makes the coded streams of this folder anew, as new weights ask for.

    python tests/vectors/make_vectors.py

Writes p_*.bin and streams.json. A .bin file is packets, each after its length (u32, little endian). streams.json tells
of each packet what its head says and, of each substream, SHA-256 of its symbols as little-endian int32: the vector that
a chain of motion starts from, where one starts, z, then y, one row for each cell (docs/bitstream.md, section 5).
Nothing that floats decide is in it, so every decoder must agree with every line. `must_fail` holds packets that a
decoder refuses when it has read the packets before them. tests/inference/test_vectors.py reads it all.
"""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from fractions import Fraction
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

import numpy as np
import torch

from ssvc_codec.bitstream import (
    FrameType,
    ObjectChanges,
    ParsedPacket,
    SceneObject,
    SubstreamKind,
    build_packet,
    parse_packet,
)
from ssvc_codec.bitstream.objects import BoxChange
from ssvc_codec.decoder import Decoder
from ssvc_codec.encoder import Encoder
from ssvc_codec.errors import BitstreamError
from ssvc_codec.frame import Frame, VideoFormat
from ssvc_codec.gop.groups import group_map
from ssvc_codec.inference.latents import GroupSymbols, LatentCoder, Start, Substream
from ssvc_codec.inference.residual import ResidualCoder
from ssvc_codec.packet import Packet
from ssvc_codec.weights import load_model

FOLDER = Path(__file__).parent
Key = tuple[int, int]  # kind and group of a substream


class Stream(NamedTuple):
    """What is coded."""

    bit_depth: int
    objects: Sequence[Sequence[SceneObject]]  # of each frame
    q_offsets: Sequence[int]
    model: str = "base"


def _box(track_id: int, class_id: int, x: int, y: int, width: int, height: int) -> SceneObject:
    return SceneObject(track_id, class_id, 200, x, y, width, height)


WIDTH, HEIGHT, CRF = 96, 64, 24
PERSON, DOG, GONE = _box(5, 0, 2, 4, 16, 58), _box(7, 16, 66, 30, 20, 10), _box(9, 2, 40, 2, 10, 20)
MOVED = _box(7, 16, 68, 28, 20, 10)
STREAMS = {
    "p_plain": Stream(8, [()] * 5, ()),
    "p_ms_ssim": Stream(8, [()] * 5, (), "ms-ssim"),
    "p_objects": Stream(10, [(PERSON, DOG), (PERSON, DOG), (PERSON, MOVED), (MOVED,), (MOVED, GONE)], (-2, 0, 8)),
}


def picture(number: int, video: VideoFormat) -> Frame:
    """Waves and grain that move by (2, 1) samples a frame, and a bar that moves the other way."""
    rng = np.random.default_rng(7)
    grain = rng.normal(scale=0.03, size=(HEIGHT + 8, WIDTH + 16))
    y, x = np.mgrid[:HEIGHT, :WIDTH] + np.array([number, 2 * number])[:, None, None]
    luma = 0.5 + 0.25 * np.sin(x / 7) * np.cos(y / 5) + grain[number : number + HEIGHT, 2 * number : 2 * number + WIDTH]
    luma[28:44, 60 - 2 * number : 84 - 2 * number] = 0.8
    luma += rng.normal(scale=0.01 * number, size=luma.shape)  # what no prediction knows
    half = luma[::2, ::2] * 0.5 + 0.25
    peak = (1 << video.bit_depth) - 1
    planes: list[Any] = [np.clip(plane * peak, 0, peak).astype(video.dtype) for plane in (luma, half, 1 - half)]
    return Frame(planes[0], planes[1], planes[2], video, pts=number, duration=1, time_base=Fraction(1, 25))


def write_packets(packets: Iterable[bytes]) -> bytes:
    """Packets one after the other, each after its length."""
    return b"".join(struct.pack("<I", len(data)) + data for data in packets)


def read_packets(data: bytes) -> list[bytes]:
    """The inverse of write_packets."""
    packets: list[bytes] = []
    while data:
        (length,) = struct.unpack_from("<I", data)
        packets.append(data[4 : 4 + length])
        data = data[4 + length :]
    return packets


def symbol_hash(symbols: GroupSymbols, start: Start | None = None) -> str:
    """SHA-256 of the vector a chain of motion starts from, where there is one, z, y, and the merge indexes and own
    vectors of MOTION where the model has tables for them, as little-endian int32."""
    parts = [*([] if start is None else [start]), symbols.z, symbols.y]
    if symbols.merge is not None:
        parts += [symbols.merge, symbols.owns()]
    return sha256(b"".join(part.astype("<i4").tobytes() for part in parts)).hexdigest()


class SymbolReader:
    """A Decoder that tells the hash of the symbols of every substream it reads."""

    def __init__(self, *, parts: set[str] | None = None, **options: Any) -> None:
        """Options are those of Decoder. parts: with {"motion"} there is nothing to tell of I frames."""
        self._decoder = Decoder(parts=parts, **options)
        self._kinds = [SubstreamKind.MOTION] if parts else [SubstreamKind.MOTION, SubstreamKind.RESIDUAL]
        self._has_intra = parts is None

    def send(self, data: bytes) -> dict[Key, str]:
        """Hashes by kind and group. Raises what Decoder raises."""
        is_intra = parse_packet(data).header.frame_type is FrameType.I
        hashes: list[str] = []

        def recording(read: Callable[[Any, Sequence[Substream]], Any]) -> Callable[[Any, Sequence[Substream]], Any]:
            def record(coder: object, substreams: Sequence[Substream]) -> Any:
                found = read(coder, substreams)
                for own, substream in zip(found, substreams, strict=True):
                    if not isinstance(own, BitstreamError):
                        hashes.append(symbol_hash(own[0], own[1] if substream.has_start else None))
                return found

            return record

        with ExitStack() as stack:
            for coder in (LatentCoder, ResidualCoder):
                stack.enter_context(mock.patch.object(coder, "read", recording(coder.read)))
            self._decoder.send(Packet(data, 0, is_intra))
        if is_intra:
            found = self._decoder.symbols(data) if self._has_intra else {}
            return {(2 if group == 0 else 1, group): symbol_hash(symbols) for group, symbols in found.items()}
        state, video = self._decoder._state, self._decoder.format
        assert state is not None
        assert state.reference is not None
        assert video is not None
        groups = group_map(state.objects, width=video.width, height=video.height).reshape(-1)
        chains = {SubstreamKind.MOTION: state.reference.motion, SubstreamKind.RESIDUAL: state.reference.residual}
        keys = [
            (int(kind), group)
            for kind in self._kinds
            for group in range(int(groups.max()) + 1)
            if chains[kind].known[groups == group].any()  # the others were not read
        ]
        return dict(zip(keys, hashes, strict=True))


def head_of(packet: ParsedPacket, objects: Sequence[SceneObject]) -> dict[str, Any]:
    """What the head of a packet says, as streams.json has it. objects: those of the frame."""
    header = packet.header
    rows = [[o.track_id, o.class_id, o.score, o.x, o.y, o.width, o.height] for o in objects]
    return {
        "frame_type": header.frame_type.name,
        "q_index": header.q_index,
        "frame_number": header.frame_number,
        "objects": rows,
        "q_offsets": list(packet.q_offsets),
        "substreams": [[entry.kind, entry.group, entry.length] for entry in packet.entries],
    }


def heads(packets: Sequence[bytes]) -> list[dict[str, Any]]:
    """head_of all packets of a stream."""
    rows: list[dict[str, Any]] = []
    objects: tuple[SceneObject, ...] = ()
    first = parse_packet(packets[0]).sequence_header
    assert first is not None
    for data in packets:
        packet = parse_packet(data)
        objects = packet.objects_after(objects, first)
        rows.append(head_of(packet, objects))
    return rows


def code(stream: Stream) -> list[bytes]:
    """An I packet and the P packets after it."""
    video = VideoFormat(WIDTH, HEIGHT, bit_depth=stream.bit_depth)
    encoder = Encoder(video, time_base=Fraction(1, 25), crf=CRF, scenecut=False, model=stream.model, device="cpu")
    return [
        encoder.send(picture(number, video), objects=objects, q_offsets=stream.q_offsets if objects else ())[0].data
        for number, objects in enumerate(stream.objects)
    ]


def must_fail(packets: Sequence[bytes]) -> list[dict[str, Any]]:
    """P packets in the place of the first one of the stream with objects."""
    good = parse_packet(packets[1])
    strings = {(entry.kind, entry.group): good.payload(entry) for entry in good.entries}

    def changed(what: str, strings: dict[Key, bytes], changes: ObjectChanges = ObjectChanges()) -> dict[str, Any]:  # noqa: B008
        data = build_packet(strings, q_index=good.header.q_index, frame_number=1, changes=changes)
        return {"what": what, "stream": "p_objects", "packet": 1, "hex": data.hex(), "error": "BitstreamError"}

    residual = strings[(SubstreamKind.RESIDUAL, 1)]
    longer = strings | {(SubstreamKind.RESIDUAL, 1): residual + bytes(-len(residual) % 4) + b"\1\2\3\4\5\6\7\1"}
    return [
        changed("a RESIDUAL string with words left over", longer),
        changed("a change of an object that is not there", strings, ObjectChanges(changed=(BoxChange(6, 1, 0, 0, 0),))),
        changed("MOTION of a group that the frame lacks", strings | {(SubstreamKind.MOTION, 3): b"\1"}),
        changed("RESIDUAL of a group that the frame lacks", strings | {(SubstreamKind.RESIDUAL, 200): b""}),
    ]


def _as_json(streams: dict[str, Any], bad: list[dict[str, Any]]) -> str:
    """A line for each packet."""
    parts: list[str] = []
    for name, stream in streams.items():
        about = json.dumps({key: value for key, value in stream.items() if key != "packets"})[:-1]
        rows = ",\n    ".join(json.dumps(row) for row in stream["packets"])
        parts.append(f'  "{name}": {about}, "packets": [\n    {rows}\n  ]}}')
    failing = ",\n  ".join(json.dumps(row) for row in bad)
    return '{"streams": {\n' + ",\n".join(parts) + '\n}, "must_fail": [\n  ' + failing + "\n]}\n"


def main() -> int:
    torch.set_num_threads(1)
    streams: dict[str, Any] = {}
    bad: list[dict[str, Any]] = []
    for name, stream in STREAMS.items():
        packets = code(stream)
        reader = SymbolReader(device="cpu")
        rows = heads(packets)
        for row, data in zip(rows, packets, strict=True):
            found = reader.send(data)
            row["symbols"] = [found[kind, group] for kind, group, _ in row["substreams"]]
        (FOLDER / f"{name}.bin").write_bytes(write_packets(packets))
        weights_hash = load_model(stream.model).fingerprint.hex()
        about: dict[str, Any] = {"model": stream.model, "weights_hash": weights_hash}
        about |= {"width": WIDTH, "height": HEIGHT, "bit_depth": stream.bit_depth}
        streams[name] = about | {"packets": rows}
        if any(stream.objects):
            bad = must_fail(packets)
        print(f"{name}.bin: {', '.join(str(len(data)) for data in packets)} bytes")
    (FOLDER / "streams.json").write_text(_as_json(streams, bad), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
