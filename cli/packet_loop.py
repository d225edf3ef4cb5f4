"""What the commands that go through packets have in common: how the input ends, and what is said about losses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from ssvc_codec.errors import BitstreamError, LimitError, MediaError

from .exit_codes import ExitCode, print_error
from .interrupt import StopRequest

if TYPE_CHECKING:
    from ssvc_codec.packet import Packet

__all__ = ["report_losses", "until_stopped"]


def until_stopped(
    packets: Iterator[Packet], stop: StopRequest, on_damage: Callable[[MediaError | BitstreamError], None]
) -> Iterator[Packet]:
    """The packets, until the input ends or breaks, which on_damage is told, or the user stops it."""
    while not stop.is_set:
        try:
            packet = next(packets, None)
        except (MediaError, BitstreamError) as error:
            if not stop.is_set:  # a signal also interrupts a read from a pipe
                on_damage(error)
            return
        if packet is None:
            return
        yield packet


def report_losses(
    source: str,
    *,
    what: str,
    n_lost: int,
    n_all: int,
    n_kept: int,
    first_error: BitstreamError | LimitError | None,
    ending: MediaError | BitstreamError | None,
) -> ExitCode:
    """Lines about damage, and the exit code. what: "frames" or "packets"; ending: why reading ended early."""
    if n_lost:
        print_error(
            f"{source}: {n_lost} of {n_all} {what} were damaged or refer to one that was, and are left out; "
            f"the first: {first_error}"
        )
    if ending is not None:
        print_error(f"{source}: the rest is lost after {n_kept} {what}, which were kept: {ending}")
    return ExitCode.DAMAGED if n_lost or ending is not None else ExitCode.OK
