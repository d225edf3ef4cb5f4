"""`ssvc redact`: takes objects out of an .ssv for good, nothing coded anew. docs/redaction.md says what remains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from .editing import copy_edited
from .exit_codes import with_exit_code
from .options import Overwrite, Quiet, Verbose
from .progress import Progress
from .selecting import Exclude, split_words

if TYPE_CHECKING:
    from ssvc_codec.packet import Packet

__all__ = ["redact"]


@with_exit_code
def redact(
    source: Annotated[str, typer.Argument(metavar="IN", help="An .ssv file; - reads stdin.")],
    target: Annotated[str, typer.Argument(metavar="OUT", help="The .ssv file without them; - writes to stdout.")],
    *,
    objects: Annotated[
        list[str], typer.Option(metavar="CLASS|#TRACK", help="Whom to take out: repeat, or separate by commas.")
    ],
    exclude: Exclude = None,
    boxes: Annotated[
        Literal["keep", "cells"], typer.Option(help="Their boxes: as they are, or as coarse as the grid of 32 samples.")
    ] = "keep",
    no_motion: Annotated[
        bool, typer.Option("--no-motion", help="Leave out the motion of everything else too, once they were there.")
    ] = False,
    keep_motion: Annotated[
        bool, typer.Option("--keep-motion", help="Keep their motion: it shows how they move.")
    ] = False,
    keep_residual: Annotated[
        bool, typer.Option("--keep-residual", help="Keep the residual of everything else: it shows ghosts of them.")
    ] = False,
    video_only: Annotated[
        bool, typer.Option("--video-only", help="Leave out sound, subtitles and attachments.")
    ] = False,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Take objects out of an .ssv file: their picture, and what was predicted from it.

    Their cells show grey, or what was there before them. From the first frame with one of them
    up to the next key frame all else is shown by motion alone, so files with key frames close
    together look best. docs/redaction.md says what can still be inferred.
    """
    words = split_words(objects)
    if not words:
        raise typer.BadParameter("nothing is named", param_hint="--objects")
    if no_motion and keep_motion:
        raise typer.BadParameter("it contradicts --keep-motion", param_hint="--no-motion")
    if no_motion and keep_residual:
        raise typer.BadParameter("a residual cannot be read without motion", param_hint="--keep-residual")
    from ssvc_codec.editing import Redactor
    from ssvc_codec.selection import Selection

    redactor = Redactor(
        Selection(words, split_words(exclude) or ()),
        boxes=boxes,
        motion="none" if no_motion else "all" if keep_motion else "others",
        keep_residual=keep_residual,
    )

    def edit(packet: Packet) -> bytes | None:
        return redactor.edit(packet.data)

    progress = Progress(quiet=quiet)
    if keep_residual:
        progress.add_notes(["the residual that stays was coded against pictures with them: ghosts of them show"])
    if keep_motion:
        progress.add_notes(["the motion that stays shows their outline and how they move"])
    code = copy_edited(source, target, edit=edit, progress=progress, overwrite=overwrite, video_only=video_only)
    words_kept = "boxes, classes and track ids stay" if boxes == "keep" else "coarse boxes, classes and track ids stay"
    other = "" if video_only else "; sound, subtitles, attachments and tags are untouched"
    progress.add_notes([f"{redactor.n_frames} frames redacted; {words_kept}{other}"])
    return code
