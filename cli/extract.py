"""`ssvc extract`: a smaller .ssv with the parts that were asked for, nothing coded anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from .editing import End, Length, copy_edited, find_range, range_end
from .exit_codes import with_exit_code
from .options import Overwrite, Quiet, Start, Verbose
from .output import check_output
from .progress import Progress
from .selecting import Background, BackgroundOnly, Every, Exclude, Objects, make_selection

if TYPE_CHECKING:
    from collections.abc import Collection

    from ssvc_codec.bitstream import SubstreamKind
    from ssvc_codec.packet import Packet

__all__ = ["extract"]


@with_exit_code
def extract(
    source: Annotated[str, typer.Argument(metavar="IN", help="An .ssv file; - reads stdin.")],
    target: Annotated[str, typer.Argument(metavar="OUT", help="The smaller .ssv file; - writes to stdout.")],
    *,
    objects: Objects = None,
    exclude: Exclude = None,
    background: Background = None,
    background_only: BackgroundOnly = False,
    flow_only: Annotated[bool, typer.Option("--flow-only", help="Keep motion alone.")] = False,
    no_residual: Annotated[
        bool, typer.Option("--no-residual", help="Leave out the residual of P frames: they show the prediction.")
    ] = False,
    header_only: Annotated[
        bool, typer.Option("--header-only", help="Keep which objects are where, no picture.")
    ] = False,
    keyframes_only: Annotated[
        bool, typer.Option("--keyframes-only", help="Keep key frames, each shown until the next.")
    ] = False,
    every: Every = 1,
    start: Start = None,
    to: End = None,
    length: Length = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Copy parts of an .ssv file into a smaller one.

    What is left out is gone: to a decoder it is as if it had never been coded. Boxes of all
    objects stay. Sound, subtitles, chapters and the like are copied. --ss begins with the
    key frame at or before that time.
    """
    kinds = _kinds(flow_only=flow_only, no_residual=no_residual, header_only=header_only)
    selection = make_selection(objects, exclude, background, background_only=background_only)
    end = range_end(start, to, length)
    check_output(target, source=source, overwrite=overwrite)
    from ssvc_codec.editing import Extractor, GopFilter

    extractor = Extractor(selection, kinds=kinds)
    times = GopFilter(keyframes_only, every)

    def edit(packet: Packet) -> bytes | None:
        return extractor.edit(packet.data) if times.wants(packet) else None

    part = None if start is None and end is None else find_range(source, start=start, end=end)
    return copy_edited(
        source,
        target,
        edit=edit,
        part=part,
        keeps_rate=not keyframes_only,
        progress=Progress(quiet=quiet),
        overwrite=True,  # checked before the source was read
    )


def _kinds(*, flow_only: bool, no_residual: bool, header_only: bool) -> Collection[SubstreamKind] | None:
    """Kinds of substreams to keep; None for all. Raises typer.BadParameter."""
    from ssvc_codec.bitstream import SubstreamKind

    if flow_only + no_residual + header_only > 1:
        raise typer.BadParameter("--flow-only, --no-residual and --header-only exclude one another")
    if header_only:
        return ()
    if flow_only:
        return (SubstreamKind.MOTION,)
    if no_residual:
        return (SubstreamKind.OBJECT, SubstreamKind.BACKGROUND, SubstreamKind.MOTION)
    return None
