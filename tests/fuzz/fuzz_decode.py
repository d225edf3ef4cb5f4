"""Fuzz target of the whole decoder: packets whose checksums are right and whose content is hostile.

    python tests/fuzz/fuzz_decode.py --seed 1 --seconds 180      random mutations
    python tests/fuzz/fuzz_decode.py tests/vectors/x_decode_*.bin    run files again

Whatever the symbols, groups and q levels, a packet gives a frame or a documented error, without a warning and in
bounded time. A crash is kept as tests/vectors/x_decode_*.bin, which tests/end_to_end/test_hostile_packets.py replays.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
import warnings
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from functools import cache
from hashlib import sha256
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

import numpy as np
import torch

from ssvc_codec.bitstream import (
    COCO_80,
    ParsedPacket,
    SceneObject,
    SequenceHeader,
    SubstreamKind,
    build_packet,
    parse_packet,
)
from ssvc_codec.bitstream.byte_io import ByteReader
from ssvc_codec.bitstream.checksums import crc16, crc32
from ssvc_codec.decoder import Decoder
from ssvc_codec.encoder import Encoder
from ssvc_codec.entropy import SymbolCoder
from ssvc_codec.errors import SsvcError
from ssvc_codec.frame import Frame, VideoFormat
from ssvc_codec.gop.groups import group_map
from ssvc_codec.inference.intra import IntraCoder
from ssvc_codec.packet import Packet
from ssvc_codec.weights import load_model

VECTORS = Path(__file__).parent.parent / "vectors"
MAX_PIXELS = 1 << 16  # larger ones are legal, and slow
MAX_SECONDS = 10  # of one small packet
HOSTILE_SYMBOLS = (-32768, 32767, -32767, 255, -255, 16, -16, 1, -1)
SIZES = ((1, 1), (1, 70), (70, 1), (31, 33), (64, 64), (90, 50))

Substreams = dict[tuple[int, int], bytes]


@cache
def intra_coder() -> IntraCoder:
    """The encoder's side of the installed model."""
    return IntraCoder(load_model("base"), device="cpu")


@cache
def seeds() -> list[bytes]:
    """Good packets: with and without objects, 8 and 10 bits, coarse and fine."""
    packets: list[bytes] = []
    for number, (width, height) in enumerate(SIZES):
        video = VideoFormat(width, height, bit_depth=10 if number % 2 else 8)
        rng = np.random.default_rng(number)
        peak = (1 << video.bit_depth) - 1

        def plane(*shape: int, rng: np.random.Generator = rng, peak: int = peak, kind: np.dtype = video.dtype):
            return rng.integers(0, peak, shape, endpoint=True).astype(kind)

        chroma = (video.chroma_height, video.chroma_width)
        frame = Frame(plane(height, width), plane(*chroma), plane(*chroma), video, pts=0)
        objects = (SceneObject(1, 0, 200, 0, 0, 1 + width // 3, 1 + height // 3),) if number > 2 else ()
        for crf in (0, 40, 63):
            encoder = Encoder(video, time_base=Fraction(1, 25), crf=crf, device="cpu", preset="fast")
            packets.append(encoder.send(frame, objects=objects, q_offsets=(0, 20) if objects else ())[0].data)
    return packets


def one_input(data: bytes, decoder: Decoder) -> str:
    """Decode one packet; gives "frame" or the name of the documented error. Raises what must never come out."""
    try:
        header = parse_packet(data).sequence_header
        if header is not None and header.format.width * header.format.height > MAX_PIXELS:
            return "too large"
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            (frame,) = decoder.send(Packet(data, 0, True))
        seconds = time.perf_counter() - start
        assert seconds < MAX_SECONDS, f"one packet took {seconds:.1f} s"
        peak = (1 << frame.format.bit_depth) - 1
        assert max(int(plane.max()) for plane in (frame.y, frame.u, frame.v)) <= peak, "a sample is above the peak"
    except SsvcError as error:
        return type(error).__name__
    return "frame"


def fixed_up(data: bytes) -> bytes:
    """The bytes with every CRC made right, as far as they parse."""
    fixed = bytearray(data)
    places: list[tuple[int, int]] = []

    def remember(r: ByteReader, start: int) -> None:
        places.append((start, r.offset))
        r.raw(4)

    with (
        mock.patch("ssvc_codec.bitstream.packets.read_crc32", remember),
        mock.patch("ssvc_codec.bitstream.sequence_header.read_crc32", remember),
    ):
        try:
            entries = parse_packet(data).entries
        except SsvcError:
            entries = ()
    for start, end in places:  # the sequence header's lies within the packet's
        fixed[end : end + 4] = crc32(bytes(fixed[start:end])).to_bytes(4, "little")
    for entry in entries:
        if entry.length:
            end = entry.offset + entry.length
            fixed[end : end + 2] = crc16(bytes(fixed[entry.offset : end])).to_bytes(2, "little")
    return bytes(fixed)


def restamped(data: bytes) -> bytes:
    """The packet under the name and hash of the installed model, so that old files reach the decoder for ever."""
    model = load_model("base")
    try:
        packet = parse_packet(data)
        header = packet.sequence_header
        if header is None:
            return data
        header = replace(header, model=model.name, weights_hash=model.fingerprint)
        return _rebuilt(packet, header, _substreams(packet))
    except (SsvcError, ValueError):
        return data


def _substreams(packet: ParsedPacket) -> Substreams:
    return {(entry.kind, entry.group): packet.payload(entry) for entry in packet.entries}


def _rebuilt(
    packet: ParsedPacket,
    header: SequenceHeader,
    substreams: Substreams,
    *,
    q_index: int | None = None,
    objects: tuple[SceneObject, ...] | None = None,
    q_offsets: tuple[int, ...] | None = None,
) -> bytes:
    return build_packet(
        substreams,
        q_index=packet.header.q_index if q_index is None else q_index,
        sequence_header=header,
        objects=packet.objects if objects is None else objects,
        q_offsets=packet.q_offsets if q_offsets is None else q_offsets,
    )


def flip_bytes(rng: random.Random) -> bytes:
    """A seed with a few bytes changed, inserted or removed anywhere, then checksums made right."""
    data = bytearray(rng.choice(seeds()))
    # Half of the hits go to the head, where each byte has a meaning of its own.
    reach = len(data) if rng.random() < 0.5 else min(len(data), 60)
    for _ in range(rng.randint(1, 3)):
        place = rng.randrange(reach)
        action = rng.randrange(6)
        if action == 0:
            data[place:place] = rng.randbytes(rng.randint(1, 4))
        elif action == 1:
            del data[place : place + rng.randint(1, 4)]
        else:
            data[place : place + 1] = bytes([rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))])
    return fixed_up(bytes(data))


def change_strings(rng: random.Random) -> bytes:
    """Noise, pieces or nothing where a string was."""
    packet = parse_packet(rng.choice(seeds()))
    substreams = _substreams(packet)
    for key in substreams:
        data = substreams[key]
        choice = rng.randrange(5)
        if choice == 0:
            data = rng.randbytes(rng.choice((1, 3, 4, 8, 100, 3000)))
        elif choice == 1:
            data = data[: rng.randrange(len(data) + 1)]
        elif choice == 2:
            data += rng.randbytes(rng.randint(1, 9))
        elif choice == 3 and data:
            changed = bytearray(data)
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
            data = bytes(changed)
        substreams[key] = data
    if rng.random() < 0.2:
        substreams.pop(rng.choice(list(substreams)))
    if rng.random() < 0.2:
        substreams[(rng.choice((SubstreamKind.OBJECT, 5, 15)), rng.randint(1, 255))] = rng.randbytes(20)
    assert packet.sequence_header is not None
    return _rebuilt(packet, packet.sequence_header, substreams)


def change_q_and_objects(rng: random.Random) -> bytes:
    """Other q levels and boxes than those that the strings were coded with."""
    packet = parse_packet(rng.choice(seeds()))
    assert packet.sequence_header is not None
    width, height = rng.randint(1, 200), rng.randint(1, 200)
    video = replace(packet.sequence_header.format, width=width, height=height, bit_depth=rng.choice((8, 10)))
    objects: list[SceneObject] = []
    for track in range(rng.choice((0, 1, 3, 40))):
        x, y = rng.randrange(width), rng.randrange(height)
        size = rng.randint(1, width - x), rng.randint(1, height - y)
        objects.append(SceneObject(track, rng.randrange(80), rng.randrange(256), x, y, *size))
    offsets = tuple(rng.randint(-63, 63) for _ in range(rng.choice((0, 1, 2, 9))))
    header = replace(packet.sequence_header, format=video, classes=COCO_80)
    substreams = _substreams(packet)
    for group in range(1, rng.choice((1, 2, 9))):
        substreams.setdefault((SubstreamKind.OBJECT, group), rng.randbytes(rng.choice((0, 4, 60))))
    return _rebuilt(packet, header, substreams, q_index=rng.randrange(64), objects=tuple(objects), q_offsets=offsets)


def hostile_symbols(rng: random.Random) -> bytes:
    """Strings that are valid and hold symbols no encoder would make."""
    width, height = rng.choice(SIZES)
    video = VideoFormat(width, height, bit_depth=rng.choice((8, 10)))
    model = load_model("base")
    groups = group_map((), width=width, height=height)
    q_index = rng.choice((0, 1, 31, 62, 63))
    q = np.full(groups.size, q_index, dtype=np.int64)
    intra = intra_coder()
    random_numbers = np.random.default_rng(rng.randrange(1 << 30))
    z_index = intra.head.z_indexes(q)
    z = _symbols(random_numbers, z_index, rng.choice((0, 0.01, 1)))
    y_index = intra.head.y_indexes(z, q)
    y = _symbols(random_numbers, y_index, rng.choice((0, 0.01, 1)))
    string = _encode(intra.coder, [(z, z_index), (y, y_index)])
    header = SequenceHeader(video, model.name, model.fingerprint)
    return build_packet({(SubstreamKind.BACKGROUND, 0): string}, q_index=q_index, sequence_header=header)


def _symbols(rng: np.random.Generator, index: np.ndarray, share: float) -> np.ndarray:
    chosen = rng.choice(HOSTILE_SYMBOLS[1:] if rng.random() < 0.5 else HOSTILE_SYMBOLS[1:2], index.shape)
    return np.where((rng.random(index.shape) < share) & (index > 0), chosen, 0).astype(np.int32)


def _encode(coder: SymbolCoder, parts: list[tuple[np.ndarray, np.ndarray]]) -> bytes:
    return coder.encode(parts)


MUTATIONS = (flip_bytes, change_strings, change_q_and_objects, hostile_symbols)


def run_random(*, seed: int, seconds: float, count: int | None = None, keep: Path = VECTORS) -> Counter[str]:
    """How many inputs ended how. A crash is kept in a folder and counted; the run goes on."""
    rng = random.Random(seed)
    decoder = Decoder(device="cpu")
    seeds()  # fails here where the model does not load
    endings: Counter[str] = Counter()
    end = time.monotonic() + seconds
    while time.monotonic() < end and endings.total() != count:
        data = b""
        try:
            data = rng.choice(MUTATIONS)(rng)
            endings[one_input(data, decoder)] += 1
        except (SsvcError, ValueError) as error:
            if data:
                _keep(data, error, keep)
            endings["CRASH" if data else "not built"] += 1
        except Exception as error:
            _keep(data, error, keep)
            endings["CRASH"] += 1
    return endings


def _keep(data: bytes, error: Exception, folder: Path) -> None:
    path = folder / f"x_decode_{sha256(data).hexdigest()[:12]}.bin"
    path.write_bytes(data)
    print(f"{error!r}, kept as {path}", file=sys.stderr)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=60)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for path in arguments.files:
        print(path.name, one_input(restamped(path.read_bytes()), Decoder(device="cpu")))
    if arguments.files:
        return 0
    endings = run_random(seed=arguments.seed, seconds=arguments.seconds)
    print(", ".join(f"{number} {name}" for name, number in endings.most_common()))
    return 1 if endings["CRASH"] else 0


if __name__ == "__main__":
    sys.exit(main())
