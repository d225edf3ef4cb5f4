"""Blocks that hold several frames (RFC 9559, section 10.3)."""

from __future__ import annotations

__all__ = ["lace_sizes"]

_XIPH, _FIXED = 0x02, 0x04


def lace_sizes(data: bytes, flags: int, n_bytes: int) -> tuple[int, list[int]]:
    """Bytes before the first frame, and the size of each frame; no frames where the lace makes no sense.

    data: the block after its flags, as far as its lace reaches. n_bytes: all that follows the flags.
    """
    if not data:
        return 0, []
    n_frames = data[0] + 1
    kind = flags & 0x06
    try:
        if kind == _FIXED:
            used, sizes = 1, [(n_bytes - 1) // n_frames] * n_frames
        else:
            used, sizes = (_xiph if kind == _XIPH else _ebml)(data, n_frames)
            sizes.append(n_bytes - used - sum(sizes))
    except (IndexError, ValueError):
        return 0, []
    return (used, sizes) if min(sizes) > 0 else (0, [])


def _xiph(data: bytes, n_frames: int) -> tuple[int, list[int]]:
    position, sizes = 1, []
    for _ in range(n_frames - 1):
        size = 0
        while True:
            size += data[position]
            position += 1
            if data[position - 1] != 255:
                break
        sizes.append(size)
    return position, sizes


def _ebml(data: bytes, n_frames: int) -> tuple[int, list[int]]:
    position, sizes = 1, []
    for number in range(n_frames - 1):
        n_vint = 9 - data[position].bit_length()
        value = int.from_bytes(data[position : position + n_vint], "big") & ((1 << 7 * n_vint) - 1)
        end = position + n_vint
        bias = (1 << 7 * (end - position) - 1) - 1 if number else 0
        sizes.append(value - bias + (sizes[-1] if number else 0))
        position = end
    return position, sizes
