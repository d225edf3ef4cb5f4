"""`ssvc eval`: machine tasks on parts of a stream, beside other codecs decoded in full."""

from __future__ import annotations

import typer

from .eval_action import action
from .eval_detect import detect
from .eval_pose import pose
from .eval_segment import segment

__all__ = ["eval_app"]

eval_app = typer.Typer(
    name="eval", help="Measure machine tasks on parts of a stream.", no_args_is_help=True, rich_markup_mode=None
)
for command in (detect, segment, pose, action):
    eval_app.command()(command)
