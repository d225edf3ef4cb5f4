from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssvc_codec.bitstream import ByteReader, ByteWriter
from ssvc_codec.errors import BitstreamError, TruncatedError


@pytest.mark.parametrize(
    ("value", "coded"),
    [(0, "00"), (127, "7f"), (128, "8001"), (16383, "ff7f"), (16384, "808001"), (2**32 - 1, "ffffffff0f")],
)
def test_a_varint_has_its_leb128_bytes(value: int, coded: str) -> None:
    w = ByteWriter()
    w.varint(value)
    assert w.getvalue().hex() == coded
    assert ByteReader(bytes.fromhex(coded)).varint() == value


@pytest.mark.parametrize(("value", "coded"), [(0, "00"), (-1, "01"), (1, "02"), (-2, "03"), (2, "04"), (-64, "7f")])
def test_a_signed_varint_is_zigzag(value: int, coded: str) -> None:
    w = ByteWriter()
    w.svarint(value)
    assert w.getvalue().hex() == coded
    assert ByteReader(bytes.fromhex(coded)).svarint() == value


@given(st.integers(0, 2**32 - 1), st.integers(-(2**31), 2**31 - 1))
def test_varints_come_back(unsigned: int, signed: int) -> None:
    w = ByteWriter()
    w.varint(unsigned)
    w.svarint(signed)
    r = ByteReader(w.getvalue())
    assert (r.varint(), r.svarint(), r.remaining) == (unsigned, signed, 0)


@pytest.mark.parametrize("coded", ["8000", "ff00", "80808000", "8080808000"])
def test_a_varint_that_is_not_in_its_shortest_form_is_refused(coded: str) -> None:
    with pytest.raises(BitstreamError, match="shortest form"):
        ByteReader(bytes.fromhex(coded)).varint()


@pytest.mark.parametrize("coded", ["ffffffff10", "ffffffffff01", "808080808001"])
def test_a_varint_above_32_bits_is_refused(coded: str) -> None:
    with pytest.raises(BitstreamError, match=r"32 bits|5 bytes"):
        ByteReader(bytes.fromhex(coded)).varint()


@pytest.mark.parametrize("coded", ["", "80", "ffff"])
def test_a_varint_that_is_cut_off_is_truncated(coded: str) -> None:
    with pytest.raises(TruncatedError, match=r"1 bytes needed, 0 left \(bitstream.md 1\)"):
        ByteReader(bytes.fromhex(coded)).varint()


def test_an_error_names_the_byte_the_structure_and_the_section() -> None:
    r = ByteReader(b"\x00\x00\x80")
    r.raw(2)
    with r.structure("object list", "3.2"), pytest.raises(TruncatedError, match=r"^object list, byte 3: .*3\.2\)$"):
        r.varint()


@pytest.mark.parametrize(("call", "value"), [("varint", -1), ("varint", 2**32), ("svarint", 2**31)])
def test_a_value_that_does_not_fit_is_the_callers_fault(call: str, value: int) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        getattr(ByteWriter(), call)(value)
