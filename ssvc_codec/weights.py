"""Model folders: which weights exist, and their integrity. No torch.

A model is a folder with `config.json`, `weights.safetensors` and `card.md`. Names are
found in `models/index.toml`, or are the path of such a folder.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors

from .errors import ModelError

__all__ = ["Model", "find_model", "list_models", "load_model"]


@dataclass(frozen=True, slots=True)
class Model:
    """Weights as they lie on disk, and what they are."""

    name: str
    folder: Path
    sha256: bytes  # of weights.safetensors, 32 bytes
    config: Mapping[str, object]
    tensors: Mapping[str, NDArray[np.generic]]

    @property
    def fingerprint(self) -> bytes:
        """First 8 bytes of the hash, as the sequence header carries them."""
        return self.sha256[:8]

    def group(self, prefix: str) -> dict[str, NDArray[np.generic]]:
        """Tensors whose name begins with `prefix` and a dot, without it."""
        start = prefix + "."
        return {name[len(start) :]: value for name, value in self.tensors.items() if name.startswith(start)}


def _models_folder() -> Path:
    """`models` inside the installed package, or beside it in a working tree (docs/decisions/0002-packaging.md)."""
    package = Path(__file__).resolve().parent
    for folder in (package / "models", package.parent / "models"):
        if (folder / "index.toml").is_file():
            return folder
    raise ModelError("the folder of models is not installed; reinstall ssvc")


def list_models() -> dict[str, Path]:
    """Folders of the installed models by name."""
    folder = _models_folder()
    try:
        index = tomllib.loads((folder / "index.toml").read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ModelError(f"{folder / 'index.toml'}: {error}") from error
    return {name: folder / str(entry["folder"]) for name, entry in index.items()}


def find_model(name: str) -> Path:
    """Folder of a model by name, or by a path with a separator in it. Raises ModelError, naming what there is."""
    if "/" in name or "\\" in name:  # a bare name is never a folder: streams name models too
        folder = Path(name)
    else:
        models = list_models()
        if name not in models:
            raise ModelError(f"no model {name!r}; installed: {', '.join(sorted(models))}")
        folder = models[name]
    if not (folder / "weights.safetensors").is_file():
        raise ModelError(f"{folder}: no weights.safetensors in this folder")
    return folder


def load_model(name: str, fingerprint: bytes | None = None) -> Model:
    """Reads a model and checks that it is the one asked for.

    fingerprint: first 8 bytes of the SHA-256 of the weights, from a stream.
    Raises ModelError where the file is damaged or another than the stream names.
    """
    folder = find_model(name)
    try:
        data = (folder / "weights.safetensors").read_bytes()
        config = json.loads((folder / "config.json").read_text())
        tensors = load_tensors(data)
    except (OSError, ValueError, SafetensorError) as error:
        raise ModelError(f"{folder}: {error}") from error
    digest = hashlib.sha256(data).digest()
    if fingerprint is not None and digest[:8] != fingerprint:
        raise ModelError(
            f"the stream was coded with model {name!r} {fingerprint.hex()}, installed is {digest[:8].hex()}: "
            "use the version of ssvc that coded it, or name a folder that holds those weights"
        )
    return Model(str(config.get("name", folder.name)), folder, digest, config, tensors)
