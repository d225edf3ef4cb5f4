"""Quality points as the options of `ssvc bench` write them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import typer

__all__ = ["parse_crfs", "parse_points"]

_MAX_CRF = 63


def parse_crfs(text: str) -> tuple[float, ...]:
    """`9,27,45`, each 0 to 63. Raises typer.BadParameter."""
    values = _numbers(text, hint="--crfs")
    for value in values:
        if not 0 <= value <= _MAX_CRF:
            raise typer.BadParameter(f"{value:g}: 0 (best) to {_MAX_CRF} are possible", param_hint="--crfs")
    return values


def parse_points(texts: Sequence[str]) -> dict[str, tuple[float, ...]]:
    """`x264=22,32,42` by codec. Raises typer.BadParameter."""
    points = {}
    for text in texts:
        name, equals, numbers = text.partition("=")
        if not (name and equals):
            raise typer.BadParameter(f"{text!r} is not CODEC=N[,N]", param_hint="--points")
        points[name] = _numbers(numbers, hint="--points")
    return points


def _numbers(text: str, *, hint: str) -> tuple[float, ...]:
    try:
        values = tuple(dict.fromkeys(float(part) for part in text.split(",")))
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not a list of numbers", param_hint=hint) from error
    if not all(map(math.isfinite, values)):
        raise typer.BadParameter(f"{text!r}: every number must be finite", param_hint=hint)
    return values
