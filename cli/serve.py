"""`ssvc serve`: the decoded video at a URL that ffmpeg, players and editors open and seek in."""

from __future__ import annotations

import contextlib
import signal
import sys
from typing import Annotated, Literal

import typer

from .exit_codes import with_exit_code
from .options import Device, Quiet, Threads, Verbose
from .selecting import Background, BackgroundOnly, Every, Exclude, KeyframesOnly, Objects, make_selection, split_words

__all__ = ["part_query", "serve"]

_STOPPING = {signal.SIGINT, signal.SIGTERM}


def part_query(
    *,
    objects: list[str] | None = None,
    exclude: list[str] | None = None,
    background: bool | None = None,
    background_only: bool = False,
    fill: str = "gray",
    flow_only: bool = False,
    keyframes_only: bool = False,
    every: int = 1,
) -> str:
    """Options of `ssvc decode` as the query of a URL; "" for everything. Raises typer.BadParameter."""
    make_selection(objects, exclude, background, background_only=background_only)
    if flow_only and keyframes_only:
        raise typer.BadParameter("key frames have no flow", param_hint="--flow-only")
    parts = [f"{key}={','.join(split_words(words) or ())}" for key, words in _given(objects=objects, exclude=exclude)]
    if background_only:
        parts.append("background=only")
    elif background is not None:
        parts.append(f"background={int(background)}")
    parts += [f"fill={fill}"] if fill != "gray" else []
    parts += ["flow=1"] if flow_only else []
    parts += ["keyframes=1"] if keyframes_only else []
    parts += [f"every={every}"] if every != 1 else []
    return "&".join(parts)


def _given(**options: list[str] | None) -> list[tuple[str, list[str]]]:
    return [(name, words) for name, words in options.items() if words is not None]


@with_exit_code
def serve(
    sources: Annotated[list[str], typer.Argument(metavar="IN...", help=".ssv files.")],
    *,
    objects: Objects = None,
    exclude: Exclude = None,
    background: Background = None,
    background_only: BackgroundOnly = False,
    fill: Annotated[
        Literal["gray", "black", "blur", "hold"], typer.Option(help="What is shown where nothing was decoded.")
    ] = "gray",
    flow_only: Annotated[bool, typer.Option("--flow-only", help="The optical flow in the usual colours.")] = False,
    keyframes_only: KeyframesOnly = False,
    every: Every = 1,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any that is free.")] = 0,
    model: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="Weights that are not installed; the file names its own.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="End the answer at a damaged frame.")] = False,
    threads: Threads = 0,
    device: Device = "auto",
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Offer decoded video to other programs on this machine.

    Prints a URL for each file: a Matroska file of raw video with sound, subtitles and chapters,
    which is decoded while it is read and can be sought in. Only programs on this machine can reach it,
    and only with the whole URL. Ctrl-C ends it.

    A query chooses parts: ?objects=person,%233&background=0, ?flow=1, ?keyframes=1, ?every=2, ?fill=black. The options
    that choose parts do the same for the URLs printed.
    """
    query = part_query(
        objects=objects,
        exclude=exclude,
        background=background,
        background_only=background_only,
        fill=fill,
        flow_only=flow_only,
        keyframes_only=keyframes_only,
        every=every,
    )
    from ffmpeg_bridge.serving import VideoServer

    server = VideoServer(
        port=port, device=device, threads=threads, model=model, strict=strict, log=_print_line if verbose else None
    )
    with contextlib.closing(server):
        urls = [server.url(source, query) for source in sources]
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)  # in the server's threads too: sigwait takes one
        try:
            server.start()
            for url in urls:
                print(url, flush=True)
            if not quiet:
                _print_line(f'ffmpeg -i "{urls[0]}" ... and mpv, ffprobe and others read this until Ctrl-C')
            number = signal.sigwait(_STOPPING)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)  # another Ctrl-C does not wait for what is being decoded
    return 128 + number


def _print_line(text: str) -> None:
    print(f"ssvc: {text}", file=sys.stderr, flush=True)
