"""Coded frames, as they come out of the encoder and go into the decoder."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

__all__ = ["Packet"]


@dataclass(frozen=True, slots=True)
class Packet:
    """One coded frame (docs/bitstream.md, section 3) and its place in time.

    pts and duration count units of time_base. Low delay: decoding order is
    presentation order, so there is no dts of its own.
    """

    data: bytes
    pts: int | None
    is_keyframe: bool
    duration: int = 0  # 0 where unknown
    time_base: Fraction = Fraction(1, 25)
