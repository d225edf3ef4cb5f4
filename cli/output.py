"""What must hold before an output file is opened."""

from __future__ import annotations

import sys
from pathlib import Path

from ssvc_codec.errors import MediaError

__all__ = ["check_output"]


def check_output(target: str, *, source: str | None, overwrite: bool) -> None:
    """Refuse an output that would harm: an existing file without -y, the input itself, a terminal.

    On a terminal the user is asked, as ffmpeg does. Raises MediaError.
    """
    if target == "-":
        if sys.stdout.isatty():
            raise MediaError("stdout is a terminal: send the video into a file or a pipe")
        return
    path = Path(target)
    if not path.exists():
        return
    if source not in (None, "-") and Path(source).exists() and path.samefile(source):
        raise MediaError(f"{target}: output and input are the same file")
    if overwrite or not path.is_file():
        return
    if not _confirm(f"File '{target}' exists. Overwrite? [y/N] ", source=source):
        raise MediaError(f"{target}: the file exists; -y overwrites it")


def _confirm(question: str, *, source: str | None) -> bool:
    if source == "-" or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    print(question, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
