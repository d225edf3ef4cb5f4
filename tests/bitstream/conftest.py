"""Bytes put together by hand, with their checksums: the code under test writes none of them."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

settings.register_profile("busy", deadline=None)  # a busy machine is no failure
settings.load_profile("busy")

VECTORS = Path(__file__).parent.parent / "vectors"


def _with_crc32(data: bytes) -> bytes:
    return data + zlib.crc32(data).to_bytes(4, "little")


@pytest.fixture(scope="session")
def vectors() -> dict[str, Any]:
    return json.loads((VECTORS / "headers.json").read_text("utf-8"))


@pytest.fixture(scope="session")
def signed_header() -> Callable[..., bytes]:
    """A sequence header from the hex of its body."""

    def build(body: str, *, version: int = 1, magic: bytes = b"SSV1") -> bytes:
        content = bytes.fromhex(body)
        length = len(content)
        coded_length = bytes([length]) if length < 128 else bytes([length & 127 | 128, length >> 7])
        return _with_crc32(magic + bytes([version]) + coded_length + content)

    return build


@pytest.fixture(scope="session")
def signed_packet(signed_header: Callable[..., bytes]) -> Callable[..., bytes]:
    """A packet from hex: frame header, the rest of the head, what follows the CRC-32.

    An I packet (has_sequence_header) gets the sequence header of a 96x64 stream with COCO-80.
    """

    def build(frame_header: str, rest: str = "00", payload: str = "") -> bytes:
        head = bytes.fromhex(frame_header)
        if head[0] & 4:
            head += signed_header("4050604004626173650123456789abcdef")
        return _with_crc32(head + bytes.fromhex(rest)) + bytes.fromhex(payload)

    return build


@pytest.fixture(scope="session")
def example_packet() -> bytes:
    """The example packet_objects of the specification."""
    return bytes.fromhex(
        "1c1e00 535356310111 4050604004626173650123456789abcdef 1d8c37df 02 0500e60204103a 011080421e140a"
        "03030010 03 110103 110204 2002 ae38e25d 0a0b0c2b16 01020304c389 f00d63df"
    )
