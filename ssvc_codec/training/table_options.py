"""The command line of the tools that count tables over real encodes."""

from __future__ import annotations

import argparse
from pathlib import Path

__all__ = ["table_options"]


def table_options(doc: str | None, *, data: str, every: int) -> argparse.Namespace:
    """Reads sys.argv: model, data and out are paths; every, rounds are int, device is str.

    doc: of the tool; data: what that argument is called; every: the default.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="folder of a model")
    parser.add_argument("data", metavar=data, type=Path, help="folder of shards, see `ssvc train pack`")
    parser.add_argument("out", type=Path, help="folder to write; may be that of the model")
    parser.add_argument("--every", type=int, default=every, help="takes each of so many")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    return parser.parse_args()
