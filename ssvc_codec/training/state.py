"""What a training run needs to go on from: everything, in files under 15 MiB."""

from __future__ import annotations

import csv
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from ..errors import ModelError

__all__ = ["Ema", "RunState", "ValueLog", "load_state", "save_state"]

PART_BYTES = 14 * 2**20


class Ema:
    """Exponential moving average of a network's parameters."""

    def __init__(self, net: nn.Module, decay: float) -> None:
        self.decay = decay
        self.values = {name: p.detach().clone() for name, p in net.named_parameters()}

    @torch.no_grad()
    def update(self, net: nn.Module, step: int) -> None:
        """One step; the decay warms up so that the start is forgotten."""
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(  # pyright: ignore[reportPrivateImportUsage]
            list(self.values.values()), list(net.parameters()), weight
        )

    def copy_to(self, net: nn.Module) -> None:
        """Overwrites the parameters of `net`."""
        net.load_state_dict(self.values, strict=False)


@dataclass
class RunState:
    """Where a run stands."""

    step: int = 0
    seconds: float = 0.0  # trained so far, over all runs
    history: list[dict[str, float]] = field(default_factory=list)


class ValueLog:
    """A CSV file, one row a report; the header grows from the first row."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)

    def write(self, row: Mapping[str, float]) -> None:
        """Appends a row."""
        fresh = not self.path.exists()
        with self.path.open("a", newline="") as file:
            writer = csv.writer(file)
            if fresh:
                writer.writerow(["time", *row])
            writer.writerow([f"{time.time():.0f}", *(f"{value:.6g}" for value in row.values())])


def save_state(folder: Path, state: dict[str, object]) -> None:
    """Writes a state in parts, each under 15 MiB, the marker file last and atomically."""
    folder.mkdir(parents=True, exist_ok=True)
    flat: dict[str, Tensor] = {}
    tree = _strip(state, "", flat)
    parts: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, tensor in flat.items():
        n_bytes = tensor.numel() * tensor.element_size()
        if parts[-1] and size + n_bytes > PART_BYTES:
            parts.append({})
            size = 0
        parts[-1][name] = tensor
        size += n_bytes
    stamp = int(time.time())
    names = [f"state-{stamp}-{number:02d}.pt" for number in range(len(parts))]
    for name, part in zip(names, parts, strict=True):
        torch.save(part, folder / name)
    temporary = folder / "state.tmp"
    torch.save({"tree": tree, "parts": names}, temporary)
    temporary.replace(folder / "state.pt")
    for old in folder.glob("state-*.pt"):
        if old.name not in names:
            old.unlink()


def load_state(folder: Path) -> dict[str, object]:
    """Reads what save_state wrote. Raises ModelError where a part is missing."""
    try:
        marker = torch.load(folder / "state.pt", weights_only=True)
        flat: dict[str, Tensor] = {}
        for name in marker["parts"]:
            flat.update(torch.load(folder / name, weights_only=True))
    except (OSError, RuntimeError, KeyError) as error:
        raise ModelError(f"{folder}: no training state to resume from ({error})") from error
    result = _fill(marker["tree"], "", flat)
    assert isinstance(result, dict)
    return result


def _strip(value: object, path: str, flat: dict[str, Tensor]) -> object:
    if isinstance(value, Tensor):
        flat[path] = value.detach().cpu()
        return None
    if isinstance(value, dict):
        return {key: _strip(item, f"{path}/{key}", flat) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strip(item, f"{path}/{number}", flat) for number, item in enumerate(value)]
    return value


def _fill(value: object, path: str, flat: dict[str, Tensor]) -> object:
    if path in flat:
        return flat[path]
    if isinstance(value, dict):
        return {key: _fill(item, f"{path}/{key}", flat) for key, item in value.items()}
    if isinstance(value, list):
        return [_fill(item, f"{path}/{number}", flat) for number, item in enumerate(value)]
    return value
