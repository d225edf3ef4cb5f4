"""Training of the two-stream network on original clips: a linear layer on features, a small network on DIS flow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ffmpeg_bridge.tasks.action import choose_keys, choose_runs, dis_stacks
from ffmpeg_bridge.tasks.two_stream import Backbone, FlowNet, save_two_stream
from ffmpeg_bridge.tasks.ucf101 import ActionSet

__all__ = ["train_action"]

_BATCH = 32
_RGB_DECAY, _FLOW_DECAY = 1e-2, 1e-2


def train_action(
    data: ActionSet,
    backbone: Backbone,
    path: Path,
    *,
    keyint: int,
    steps: int = 600,
    seed: int = 1,
    threads: int = 1,
    report: Callable[[str], None] | None = None,
) -> None:
    """Trains on the clips of a train list and writes the networks to path. Raises MediaError, ModelError."""
    torch.manual_seed(seed)
    if threads:
        torch.set_num_threads(threads)
    features: list[Tensor] = []
    stacks: list[Tensor] = []
    labels: tuple[list[int], list[int]] = ([], [])
    for number, item in enumerate(data.clips, 1):
        frames = item.load().frames
        keys = range(0, len(frames), keyint)
        for key in choose_keys(len(keys), 1.0):
            features.append(torch.from_numpy(backbone.features(frames[keys[key]])))
            labels[0].append(item.label)
        every = [range(s, min(s + keyint, len(frames))) for s in keys if s + 1 < min(s + keyint, len(frames))]
        for stack in dis_stacks(frames, [*choose_runs(len(frames), keyint), *every]):
            stacks.append(stack)
            labels[1].append(item.label)
        if report and (number % 10 == 0 or number == len(data.clips)):
            report(f"{number} of {len(data.clips)} clips read")
    n_classes = len(data.classes)
    rgb = _train_linear(torch.stack(features), torch.tensor(labels[0]), n_classes, steps=steps)
    random = np.random.default_rng(seed)
    flow = _train_flow(torch.stack(stacks), torch.tensor(labels[1]), n_classes, random, steps=steps)
    save_two_stream(path, flow=flow, rgb=rgb, classes=data.classes, backbone=backbone.description)


def _train_linear(x: Tensor, labels: Tensor, n_classes: int, *, steps: int) -> tuple[Tensor, Tensor]:
    """Weight and bias for features as they come; they are standardised while training."""
    mean, deviation = x.mean(0), x.std(0, unbiased=False) + 1e-3
    weight = torch.zeros(n_classes, x.shape[1], requires_grad=True)
    bias = torch.zeros(n_classes, requires_grad=True)
    optimizer = torch.optim.AdamW([weight, bias], lr=1e-2, weight_decay=_RGB_DECAY)
    normal = (x - mean) / deviation
    for _ in range(steps):
        loss = F.cross_entropy(normal @ weight.T + bias, labels, weight=_class_weights(labels, n_classes))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        scaled = weight / deviation
        return scaled, bias - scaled @ mean


def _train_flow(x: Tensor, labels: Tensor, n_classes: int, random: np.random.Generator, *, steps: int) -> FlowNet:
    """Mirrored at random, dx turned with it."""
    network = FlowNet(n_classes)
    network.train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=_FLOW_DECAY)
    weights = _class_weights(labels, n_classes)
    for _ in range(steps):
        chosen = torch.from_numpy(random.integers(len(x), size=_BATCH))
        batch = x[chosen]
        if random.random() < 0.5:
            batch = batch.flip(3)
            batch[:, 0::2] *= -1
        loss = F.cross_entropy(network(batch), labels[chosen], weight=weights)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network


def _class_weights(labels: Tensor, n_classes: int) -> Tensor:
    """Every class counts the same."""
    counts = torch.bincount(labels, minlength=n_classes).clamp(min=1)
    return counts.sum() / (n_classes * counts)
