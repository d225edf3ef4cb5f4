"""Where a finished table goes."""

from __future__ import annotations

import sys
from pathlib import Path


def write_table(text: str, out: Path | None) -> None:
    """Writes a finished table to a file, its folder made, or to stdout."""
    if out is None:
        sys.stdout.write(text)
    else:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text)
