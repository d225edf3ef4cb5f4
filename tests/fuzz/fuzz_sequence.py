"""Fuzz target of groups of pictures: sequences of I and P packets, checksums right and content hostile.

    python tests/fuzz/fuzz_sequence.py --seed 1 --seconds 180             random mutations
    python tests/fuzz/fuzz_sequence.py tests/vectors/x_sequence_*.bin     run files again

Whatever comes, each packet gives a frame or a documented error, without a warning and in bounded time; after an error
P packets are refused up to the next I packet; and a decoder of motion alone finds the flow of the whole one. A crash is
kept as tests/vectors/x_sequence_*.bin (packets, each after its length), which
tests/end_to_end/test_hostile_packets.py replays.
"""

from __future__ import annotations

import argparse
import random
import struct
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent.parent))
sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
import torch
from fuzz_decode import HOSTILE_SYMBOLS, MAX_PIXELS, MAX_SECONDS, SIZES, VECTORS, fixed_up, restamped

from ssvc_codec.bitstream import ObjectChanges, ParsedPacket, SceneObject, SubstreamKind, build_packet, parse_packet
from ssvc_codec.bitstream.objects import BoxChange
from ssvc_codec.decoder import Decoder, Output
from ssvc_codec.encoder import Encoder
from ssvc_codec.entropy.blocks import N_BLOCKS
from ssvc_codec.entropy.offsets import N_OFFSETS
from ssvc_codec.entropy.vectors import N_PASSES, position_neighbours
from ssvc_codec.errors import SsvcError
from ssvc_codec.flow import FlowField
from ssvc_codec.frame import Frame, VideoFormat
from ssvc_codec.inference.inter import InterCoder
from ssvc_codec.inference.latents import GroupSymbols, LatentCoder, Past, Start
from ssvc_codec.inference.merge_coding import OWN_LIMIT, CellGrid, owner_positions
from ssvc_codec.inference.residual import ResidualCoder
from ssvc_codec.packet import Packet
from ssvc_codec.weights import load_model

N_FRAMES = 4
KINDS = (SubstreamKind.MOTION, SubstreamKind.RESIDUAL)
Sequence = list[bytes]
Substreams = dict[tuple[int, int], bytes]


@cache
def inter_coder() -> InterCoder:
    """The encoder's side of the installed model."""
    return InterCoder(load_model("base"), device="cpu")


@cache
def seeds() -> list[Sequence]:
    """Good sequences: with and without objects that come and go, 8 and 10 bits, coarse and fine."""
    sequences: list[Sequence] = []
    for number, (width, height) in enumerate(SIZES):
        video = VideoFormat(width, height, bit_depth=10 if number % 2 else 8)
        rng = np.random.default_rng(number)
        peak = (1 << video.bit_depth) - 1
        luma = rng.integers(0, peak, (height + N_FRAMES, width + N_FRAMES), endpoint=True).astype(video.dtype)
        one = SceneObject(1, 0, 200, 0, 0, 1 + width // 3, 1 + height // 3)
        two = SceneObject(7, 3, 9, width // 2, height // 2, 1, 1)
        objects = ((one,), (one, two), (one, two), (two,)) if number > 2 else ((),) * N_FRAMES
        for crf in (0, 40, 63):
            encoder = Encoder(video, time_base=Fraction(1, 25), crf=crf, device="cpu", preset="fast", scenecut=False)
            packets: Sequence = []
            for k in range(N_FRAMES):
                y: Any = np.ascontiguousarray(luma[k : k + height, k : k + width])
                u: Any = np.ascontiguousarray(y[::2, ::2])
                frame = Frame(y, u, (peak - u).astype(video.dtype), video, pts=k)
                packets += [packet.data for packet in encoder.send(frame, objects=objects[k], q_offsets=(0, 20))]
            sequences.append(packets)
    return sequences


def to_bytes(sequence: Sequence) -> bytes:
    """Packets, each after its length."""
    return b"".join(struct.pack("<I", len(data)) + data for data in sequence)


def from_bytes(data: bytes) -> Sequence:
    """The inverse of to_bytes."""
    sequence: Sequence = []
    while data:
        (length,) = struct.unpack_from("<I", data)
        sequence.append(data[4 : 4 + length])
        data = data[4 + length :]
    return sequence


class Decoders:
    """One of pictures, one of motion alone; they stay open, as after damage in a stream."""

    def __init__(self) -> None:
        self.whole = Decoder(device="cpu")
        self.motion = Decoder(device="cpu", parts={"motion"})


def one_input(sequence: Sequence, decoders: Decoders) -> Counter[str]:
    """Decode a sequence; how many packets gave a frame, or which error. Raises what must never come out."""
    endings: Counter[str] = Counter()
    for data in sequence:
        if _is_large(data):
            endings["too large"] += 1
            return endings
    is_broken = False
    for number, data in enumerate(sequence):
        packet = Packet(data, number, number == 0)
        frame, name = _send(decoders.whole, packet)
        flow, flow_name = _send(decoders.motion, packet)
        is_p = bool(data) and data[0] & 3 == 1
        if frame is None:
            is_broken = True
        else:
            assert not (is_p and is_broken), "a P frame was decoded after an error"
            is_broken = False
            peak = (1 << frame.format.bit_depth) - 1
            assert max(int(plane.max()) for plane in (frame.y, frame.u, frame.v)) <= peak, "a sample is above the peak"
            assert flow_name == name, f"motion alone ends in {flow_name}"
            _compare_flows(decoders, flow)
        endings[name] += 1
    return endings


def _is_large(data: bytes) -> bool:
    try:
        header = parse_packet(data, partial=True).sequence_header
    except SsvcError:
        return False
    return header is not None and header.format.width * header.format.height > MAX_PIXELS


def _send(decoder: Decoder[Output], packet: Packet) -> tuple[Output | None, str]:
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            given = decoder.send(packet)
        except SsvcError as error:
            return None, type(error).__name__
    seconds = time.perf_counter() - start
    assert seconds < MAX_SECONDS, f"one packet took {seconds:.1f} s"
    return (given[0] if given else None), "frame"


def _compare_flows(decoders: Decoders, flow: FlowField | None) -> None:
    """The same symbols in both decoders; and the same flow, which they give to files."""
    states = [decoder._state for decoder in (decoders.whole, decoders.motion)]
    references = [state.reference for state in states if state is not None and state.reference is not None]
    assert len(references) == 2, "a decoder holds no reference after a frame"
    whole, alone = references
    a, b = whole.motion, alone.motion
    pairs = [(a.known, b.known), (a.lost, b.lost), (a.symbols.z, b.symbols.z), (a.symbols.y, b.symbols.y)]
    pairs += [(a.symbols.merges(), b.symbols.merges()), (a.symbols.owns(), b.symbols.owns())]
    assert all(np.array_equal(x, y) for x, y in pairs), "symbols of motion differ"
    assert torch.equal(whole.flow, alone.flow), "flow differs"
    assert torch.isfinite(whole.flow).all(), "flow is not finite"
    if whole.planes is not None:
        assert torch.isfinite(whole.planes.y).all(), "a sample is not finite"
    if flow is not None:
        flow.resampled(1)


# Mutations


def _parts(data: bytes) -> tuple[ParsedPacket, Substreams]:
    packet = parse_packet(data)
    return packet, {(entry.kind, entry.group): packet.payload(entry) for entry in packet.entries}


def _rebuilt(packet: ParsedPacket, substreams: Substreams, **changes: object) -> bytes:
    values: dict[str, object] = {
        "q_index": packet.header.q_index,
        "frame_number": packet.header.frame_number,
        "sequence_header": packet.sequence_header,
        "objects": packet.objects,
        "changes": packet.changes,
        "q_offsets": packet.q_offsets,
    }
    return build_packet(substreams, **(values | changes))  # type: ignore[arg-type]


def _at_one_p_packet(change: Callable[[random.Random, bytes], bytes]) -> Callable[[random.Random], Sequence]:
    def mutation(rng: random.Random) -> Sequence:
        sequence = list(rng.choice(seeds()))
        for place in rng.sample(range(1, N_FRAMES), rng.choice((1, 1, 2))):
            sequence[place] = change(rng, sequence[place])
        return sequence

    return mutation


def flip_bytes(rng: random.Random, data: bytes) -> bytes:
    """A few bytes changed, inserted or removed, then checksums made right."""
    changed = bytearray(data)
    reach = len(changed) if rng.random() < 0.5 else min(len(changed), 30)  # half of the hits go to the head
    for _ in range(rng.randint(1, 3)):
        place = rng.randrange(reach)
        action = rng.randrange(6)
        if action == 0:
            changed[place:place] = rng.randbytes(rng.randint(1, 4))
        elif action == 1:
            del changed[place : place + rng.randint(1, 4)]
        else:
            changed[place : place + 1] = bytes([rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))])
    return fixed_up(bytes(changed))


def change_strings(rng: random.Random, data: bytes) -> bytes:
    """Noise, pieces or nothing where a string was, or a substream that is left out."""
    packet, substreams = _parts(data)
    for key, string in list(substreams.items()):
        choice = rng.randrange(6)
        if choice == 0:
            substreams[key] = rng.randbytes(rng.choice((1, 3, 4, 8, 100, 3000)))
        elif choice == 1:
            substreams[key] = string[: rng.randrange(len(string) + 1)]
        elif choice == 2 and string:
            place = rng.randrange(len(string))
            substreams[key] = string[:place] + bytes([string[place] ^ 1 << rng.randrange(8)]) + string[place + 1 :]
        elif choice == 3:
            del substreams[key]
    if rng.random() < 0.1:
        substreams[(rng.choice((*KINDS, 5, 15)), rng.randrange(4))] = rng.randbytes(20)
    return _rebuilt(packet, substreams)


def change_head(rng: random.Random, data: bytes) -> bytes:
    """Other q levels and objects than those that the strings were coded with."""
    packet, substreams = _parts(data)
    offsets = tuple(rng.randint(-63, 63) for _ in range(rng.choice((0, 1, 2, 3))))
    box = (rng.randrange(60), rng.randrange(40), rng.randint(1, 40), rng.randint(1, 40))
    added = SceneObject(rng.randrange(4), 0, 1, *box)
    moved = BoxChange(rng.choice((1, 7)), rng.randint(-3, 40), rng.randint(-3, 40), rng.randint(0, 9), 0)
    changes = rng.choice(
        (
            packet.changes,
            ObjectChanges(),
            ObjectChanges(removed=(rng.choice((1, 7)),)),
            ObjectChanges(changed=(moved,)),
            ObjectChanges(added=(added,)),
        )
    )
    number = rng.choice((packet.header.frame_number,) * 5 + (0, 1, 65535))
    return _rebuilt(
        packet, substreams, q_index=rng.randrange(64), q_offsets=offsets, changes=changes, frame_number=number
    )


def move_packets(rng: random.Random) -> Sequence:
    """Packets lost, doubled, exchanged, or of another stream."""
    sequence = list(rng.choice(seeds()))
    for _ in range(rng.randint(1, 2)):
        place = rng.randrange(len(sequence))
        action = rng.randrange(4)
        if action == 0 and len(sequence) > 1:
            del sequence[place]
        elif action == 1:
            sequence.insert(place, rng.choice(sequence))
        elif action == 2:
            rng.shuffle(sequence)
        else:
            sequence[place] = rng.choice(rng.choice(seeds()))
    return sequence


def hostile_symbols(rng: random.Random) -> Sequence:
    """P packets whose strings are valid and hold symbols no encoder would make."""
    sequence = list(rng.choice([packets for packets in seeds() if not parse_packet(packets[0]).objects]))
    header = parse_packet(sequence[0]).sequence_header
    assert header is not None
    rows, columns = -(-header.format.height // 32), -(-header.format.width // 32)
    cells, grid = rows * columns, CellGrid(np.arange(rows * columns), columns)
    coder, numbers = inter_coder(), np.random.default_rng(rng.randrange(1 << 30))
    pasts = [latents.nothing(cells) for latents in (coder.motion, coder.residual)]
    for place in range(1, N_FRAMES):
        q_index = rng.choice((0, 1, 31, 62, 63))
        q = np.full(cells, q_index, dtype=np.int64)
        start = numbers.choice(HOSTILE_SYMBOLS, 2).astype(np.int32) if place == 1 else None
        motion, first = _hostile(coder.motion, numbers, q, pasts[0], rng.choice((0, 0.01, 1)), start, grid)
        known = np.ones(cells, np.bool_)
        both = Past(pasts[1].symbols, pasts[1].known, motion, known)
        residual, second = _hostile_residual(coder.residual, numbers, q, both, rng.choice((0, 0.01, 1)), grid)
        pasts = [Past(motion, known), Past(residual, known)]
        strings: Substreams = {(SubstreamKind.MOTION, 0): first, (SubstreamKind.RESIDUAL, 0): second}
        sequence[place] = build_packet(strings, q_index=q_index, frame_number=place)
    return sequence


def _hostile(
    latents: LatentCoder,
    numbers: np.random.Generator,
    q: np.ndarray,
    past: Past,
    share: float,
    start: Start | None,
    grid: CellGrid,
) -> tuple[GroupSymbols, bytes]:
    values = HOSTILE_SYMBOLS[1:] if numbers.random() < 0.5 else HOSTILE_SYMBOLS[1:2]

    def symbols(index: np.ndarray) -> np.ndarray:
        wanted = (numbers.random(index.shape) < share) & (index > 0)
        return np.where(wanted, numbers.choice(values, index.shape), 0).astype(np.int32)

    z = symbols(latents.z_indexes(q, past))
    context = latents.context(z, q, past, position_neighbours(grid.rows, grid.n_columns))
    y = np.zeros((q.size, latents.head.n_columns), np.int32)
    for number in range(N_PASSES):
        y += symbols(latents.head.pass_indexes(number, context, y))
    chosen = GroupSymbols(z, y)
    if latents.merge is not None:
        merge = np.where(numbers.random((q.size, 16)) < share, numbers.integers(0, 26, (q.size, 16)), 0)
        own = numbers.integers(-OWN_LIMIT, OWN_LIMIT + 1, (q.size, 8)) * owner_positions(merge).repeat(2, axis=1)
        chosen = chosen._replace(merge=merge.astype(np.int32), own=own.astype(np.int32))
    return chosen, latents.write(chosen, q, past, start, grid)


def _hostile_residual(
    coder: ResidualCoder, numbers: np.random.Generator, q: np.ndarray, past: Past, share: float, grid: CellGrid
) -> tuple[GroupSymbols, bytes]:
    """Classes that do not fit what the blocks hold, too."""
    shape = coder.nothing(q.size).symbols
    y = np.where(numbers.random(shape.y.shape) < share, numbers.choice(HOSTILE_SYMBOLS[1:], shape.y.shape), 0)
    classes = np.where(numbers.random((q.size, N_BLOCKS)) < share, numbers.integers(0, 8, (q.size, N_BLOCKS)), 0)
    offsets = np.where(numbers.random((q.size, N_OFFSETS)) < share, numbers.integers(-7, 8, (q.size, N_OFFSETS)), 0)
    y = np.where(classes[:, :, None] > 0, y.reshape(q.size, N_BLOCKS, -1), 0).reshape(shape.y.shape)
    mended = numbers.integers(0, 2, (q.size, 1))
    chosen = GroupSymbols(np.concatenate([classes, offsets, mended], axis=1).astype(np.int32), y.astype(np.int32))
    return chosen, coder.write(chosen, q, past, grid)


MUTATIONS: tuple[Callable[[random.Random], Sequence], ...] = (
    _at_one_p_packet(flip_bytes),
    _at_one_p_packet(change_strings),
    _at_one_p_packet(change_head),
    move_packets,
    hostile_symbols,
)


def run_random(*, seed: int, seconds: float, count: int | None = None, keep: Path = VECTORS) -> Counter[str]:
    """How many packets ended how, in count sequences. A crash is kept in a folder and counted; the run goes on."""
    rng = random.Random(seed)
    decoders = Decoders()
    seeds()  # fails here where the model does not load
    endings: Counter[str] = Counter()
    end = time.monotonic() + seconds
    n_done = 0
    while time.monotonic() < end and n_done != count:
        n_done += 1
        sequence: Sequence = []
        try:
            sequence = rng.choice(MUTATIONS)(rng)
        except (SsvcError, ValueError):
            endings["not built"] += 1
            continue
        try:
            endings += one_input(sequence, decoders)
        except Exception as error:
            path = keep / f"x_sequence_{sha256(to_bytes(sequence)).hexdigest()[:12]}.bin"
            path.write_bytes(to_bytes(sequence))
            print(f"{error!r}, kept as {path}", file=sys.stderr)
            endings["CRASH"] += 1
            decoders = Decoders()
    return endings


def replay(path: Path, decoders: Decoders) -> Counter[str]:
    """Runs a kept file, whatever weights it was made with."""
    sequence = from_bytes(path.read_bytes())
    return one_input([restamped(data) for data in sequence], decoders)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=60)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for path in arguments.files:
        print(path.name, dict(replay(path, Decoders())))
    if arguments.files:
        return 0
    endings = run_random(seed=arguments.seed, seconds=arguments.seconds)
    print(", ".join(f"{number} {name}" for name, number in endings.most_common()))
    return 1 if endings["CRASH"] else 0


if __name__ == "__main__":
    sys.exit(main())
