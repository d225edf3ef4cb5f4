"""The command line `ssvc`. The only user of typer; installed as ssvc_codec.cli."""

from .main import main

__all__ = ["main"]
