"""Fuzz target of the bitstream layer: whatever the bytes, only documented errors come out.

    python tests/fuzz/fuzz_packet.py --seed 1 --count 100000    random mutations
    python tests/fuzz/fuzz_packet.py crash.bin                  run files again
    python tests/fuzz/fuzz_packet.py --atheris                  coverage-guided, if atheris is installed

A crash is written to tests/fuzz/crashes/ and kept there for ever.
"""

from __future__ import annotations

import argparse
import random
import sys
from contextlib import suppress
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from ssvc_codec.bitstream import ParsedPacket, build_packet, drop_substreams, parse_codec_private, parse_packet
from ssvc_codec.bitstream.byte_io import ByteReader
from ssvc_codec.errors import SsvcError
from ssvc_codec.gop.groups import group_map

CRASHES = Path(__file__).parent / "crashes"
SEQUENCE_HEADER = "535356310111 4050604004626173650123456789abcdef 1d8c37df"
SEEDS = [
    bytes.fromhex(text)
    for text in (
        f"1c1e00 {SEQUENCE_HEADER} 02 0500e60204103a 011080421e140a 03030010 03 110103 110204 2002"
        " ae38e25d 0a0b0c2b16 01020304c389 f00d63df",
        "091e01 0105 01 07 04030000 00 02 3000 410102 c3c419c2 cafe 41ea",
        "042300 53535631 01 11 0050 0101 04 62617365 0123456789abcdef 656102a5 01 2000 7203355b",
        "042300 53535631012d bf51cf05bf0409100904030200 06706572736f6e ac020753747261c39f65 06626173652d32"
        " fedcba9876543210 eb7f346a 00 00000000",
    )
]


def one_input(data: bytes) -> None:
    """Everything that a reader does with a packet. Raises what must never come out."""
    with suppress(SsvcError):
        parse_codec_private(data)
    with suppress(SsvcError):
        _read_all(parse_packet(data, partial=True))
    with suppress(SsvcError):
        packet = parse_packet(data)
        _read_all(packet)
        assert drop_substreams(data, lambda entry: False) == data, "leaving nothing out changed the packet"
        substreams = {(entry.kind, entry.group): packet.payload(entry) for entry in packet.entries}
        rebuilt = build_packet(
            substreams,
            q_index=packet.header.q_index,
            frame_number=packet.header.frame_number,
            sequence_header=packet.sequence_header,
            objects=packet.objects,
            changes=packet.changes,
            q_offsets=packet.q_offsets,
        )
        assert rebuilt == data, "the packet does not write back as it was read"


def one_unsigned_input(data: bytes) -> None:
    """As one_input, but no CRC-32 is checked, so that damage reaches the syntax behind it."""

    def skip_crc32(r: ByteReader, start: int) -> None:
        r.raw(4)

    with (
        mock.patch("ssvc_codec.bitstream.packets.read_crc32", skip_crc32),
        mock.patch("ssvc_codec.bitstream.sequence_header.read_crc32", skip_crc32),
        suppress(SsvcError),
    ):
        _read_all(parse_packet(data, partial=True))


def _read_all(packet: ParsedPacket) -> None:
    header = packet.sequence_header
    if header is None:
        header = parse_packet(SEEDS[0]).sequence_header if packet.changes else None
    if header is not None:
        objects = packet.objects_after(parse_packet(SEEDS[0]).objects, header)
        groups = group_map(objects, width=header.format.width, height=header.format.height)
        with suppress(SsvcError):
            packet.check_groups(int(groups.max()) + 1)
    for entry in packet.entries:
        with suppress(SsvcError):
            packet.payload(entry)


def mutated(rng: random.Random) -> bytes:
    """A seed with a few bytes changed, inserted, removed or cut off."""
    data = bytearray(rng.choice(SEEDS))
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(data) + 1)
        action = rng.randrange(5)
        if action == 0:
            data[place:place] = rng.randbytes(rng.randint(1, 6))
        elif action == 1:
            del data[place : place + rng.randint(1, 6)]
        elif action == 2:
            data[place:] = data[place : place + rng.randrange(40)]
        else:
            data[place : place + 1] = bytes([rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))])
    return bytes(data) if rng.random() > 0.02 else rng.randbytes(rng.randrange(100))


def run_random(*, seed: int, count: int) -> int:
    """Number of crashes, 0 or 1: stops at the first and keeps it."""
    rng = random.Random(seed)
    for number in range(count):
        data = mutated(rng)
        try:
            one_input(data)
            one_unsigned_input(data)
        except Exception as error:
            CRASHES.mkdir(exist_ok=True)
            path = CRASHES / f"{sha256(data).hexdigest()[:16]}.bin"
            path.write_bytes(data)
            print(f"seed {seed}, input {number}: {error!r}, kept as {path}", file=sys.stderr)
            return 1
    return 0


def run_atheris() -> None:
    """Coverage-guided, until it is interrupted."""
    atheris: Any = import_module("atheris")

    def target(data: bytes) -> None:
        one_input(data)
        one_unsigned_input(data)

    atheris.instrument_all()
    atheris.Setup(sys.argv[:1], target)
    atheris.Fuzz()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--atheris", action="store_true")
    arguments = parser.parse_args()
    for path in arguments.files:
        one_input(path.read_bytes())
        one_unsigned_input(path.read_bytes())
    if arguments.atheris:
        run_atheris()
    return run_random(seed=arguments.seed, count=0 if arguments.files else arguments.count)


if __name__ == "__main__":
    sys.exit(main())
