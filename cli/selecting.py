"""The options that choose parts of a stream, the same in every command that has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ssvc_codec.selection import Selection

__all__ = [
    "Background",
    "BackgroundOnly",
    "Every",
    "Exclude",
    "KeyframesOnly",
    "Objects",
    "make_selection",
    "split_words",
]

Objects = Annotated[
    list[str] | None,
    typer.Option(metavar="CLASS|#TRACK", help="These objects only: repeat, or separate by commas."),
]
Exclude = Annotated[list[str] | None, typer.Option(metavar="CLASS|#TRACK", help="But not these objects.")]
Background = Annotated[
    bool | None,
    typer.Option(
        "--background/--no-background", help="What belongs to no object; left out with --objects unless asked for."
    ),
]
BackgroundOnly = Annotated[bool, typer.Option("--background-only", help="What belongs to no object, alone.")]
KeyframesOnly = Annotated[bool, typer.Option("--keyframes-only", help="Key frames only.")]
Every = Annotated[int, typer.Option(min=1, metavar="N", help="Every Nth group of pictures only.")]


def split_words(items: list[str] | None) -> tuple[str, ...] | None:
    """`["person,traffic light", "#3"]` as its three words; None stays None."""
    if items is None:
        return None
    return tuple(word.strip() for item in items for word in item.split(",") if word.strip())


def make_selection(
    objects: list[str] | None, exclude: list[str] | None, background: bool | None, *, background_only: bool = False
) -> Selection | None:
    """What the options ask for; None for everything. Raises typer.BadParameter."""
    if background_only:
        for is_given, name in ((objects is not None, "--objects"), (exclude is not None, "--exclude")):
            if is_given:
                raise typer.BadParameter("it does not go with --background-only", param_hint=name)
        if background is False:
            raise typer.BadParameter("nothing would be left", param_hint="--background-only")
    if objects is None and exclude is None and background is not False and not background_only:
        return None
    from ssvc_codec.selection import Selection

    words = () if background_only else split_words(objects)
    keeps_background = background if background is not None else objects is None
    return Selection(words, split_words(exclude) or (), keeps_background)
