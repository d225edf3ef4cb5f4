"""`ssvc cut`: a part of an .ssv, from a key frame on, nothing coded anew."""

from __future__ import annotations

from typing import Annotated

import typer

from .editing import End, Length, copy_edited, find_range, range_end
from .exit_codes import with_exit_code
from .options import Overwrite, Quiet, Start, Verbose
from .output import check_output
from .progress import Progress

__all__ = ["cut"]


@with_exit_code
def cut(
    source: Annotated[str, typer.Argument(metavar="IN", help="An .ssv file.")],
    target: Annotated[str, typer.Argument(metavar="OUT", help="The part as an .ssv file; - writes to stdout.")],
    *,
    start: Start = None,
    to: End = None,
    length: Length = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Copy a part of an .ssv file, with its sound, subtitles and chapters.

    It begins with the key frame at or before --ss, and stderr says where that is; it ends
    with the last frame that begins before --to. Times count from the first frame.
    """
    end = range_end(start, to, length)
    if start is None and end is None:
        raise typer.BadParameter("say where to cut: --ss, --to or -t", param_hint="--ss")
    check_output(target, source=source, overwrite=overwrite)
    part = find_range(source, start=start, end=end)
    progress = Progress(quiet=quiet)
    if start is not None and abs(part.start_seconds - start) > 1e-3:
        progress.add_notes([f"starts at {part.start_seconds:.3f} s: that is where a key frame is"])
    return copy_edited(source, target, edit=lambda packet: packet.data, part=part, progress=progress, overwrite=True)
