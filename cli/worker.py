"""`ssvc worker`: codes for a program written in C, such as the codec for FFmpeg in ffmpeg_bridge/native."""

from __future__ import annotations

from typing import Annotated

import typer

from .exit_codes import with_exit_code

__all__ = ["worker"]


@with_exit_code
def worker(
    *,
    fd: Annotated[int | None, typer.Option(min=3, help="An open socket; default: stdin and stdout.")] = None,
) -> int:
    """Code or decode for another program, over a socket.

    The protocol is described in ffmpeg_bridge/worker_protocol.py. Started by FFmpeg's ssvc codec, not by hand.
    """
    from ffmpeg_bridge.worker import serve_files

    serve_files(fd)
