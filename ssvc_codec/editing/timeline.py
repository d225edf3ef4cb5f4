"""Packets that are left out, in time: the one before is shown until the next."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from ..packet import Packet

__all__ = ["edited"]


def edited(packets: Iterable[Packet], edit: Callable[[Packet], bytes | None]) -> Iterator[Packet]:
    """The packets with the bytes that edit gives. None leaves one out: the packet before then lasts longer.

    Holds one packet back. Timestamps stay.
    """
    held: Packet | None = None
    has_gap = False
    end: int | None = None  # of what was left out last
    for packet in packets:
        data = edit(packet)
        if data is None:
            has_gap = True
            end = None if packet.pts is None else packet.pts + packet.duration
            continue
        if held is not None:
            yield _until(held, packet.pts) if has_gap else held
        held, has_gap = replace(packet, data=data), False
    if held is not None:
        yield _until(held, end) if has_gap else held


def _until(packet: Packet, end: int | None) -> Packet:
    if end is None or packet.pts is None:
        return packet
    return replace(packet, duration=max(end - packet.pts, packet.duration))
