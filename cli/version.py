"""`ssvc version`: what is installed, as one needs it in a bug report."""

from __future__ import annotations

import platform
from importlib import metadata

from .exit_codes import ExitCode, with_exit_code

__all__ = ["version"]

_PARTS = ("torch", "av", "numpy", "onnxruntime-gpu", "constriction", "compressai")


@with_exit_code
def version() -> int:
    """Print the version of ssvc and of what it stands on."""
    print(f"ssvc {metadata.version('ssvc')}")
    print(f"python {platform.python_version()}, {platform.platform()}")
    for name in _PARTS:
        try:
            print(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            print(f"{name} missing")
    return ExitCode.OK
