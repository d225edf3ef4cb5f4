"""Action recognition from a share of the key frames and a tenth of the flows (paper, 5.2.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffmpeg_bridge.tasks.motion import dis_flow
from ffmpeg_bridge.tasks.own_stream import OwnStream
from ffmpeg_bridge.tasks.task import FULL, Item, Reading
from ffmpeg_bridge.tasks.two_stream import STACK, TwoStream, flow_stack
from ffmpeg_bridge.tasks.ucf101 import ActionClip, ActionSet
from ssvc_codec.evaluation.clip import Clip
from ssvc_codec.frame import Frame

__all__ = ["FLOW_SHARE", "KEY_SHARES", "ActionTask", "choose_keys", "choose_runs", "dis_stacks"]

KEY_SHARES = (0.05, 0.15, 0.45)
FLOW_SHARE = 0.10


def choose_keys(n_keys: int, share: float) -> list[int]:
    """Which of n_keys key frames: a share of them, at least one, in the middle of equal parts."""
    n = min(max(1, round(share * n_keys)), n_keys)
    return [int((k + 0.5) * n_keys / n) for k in range(n)]


def choose_runs(n_frames: int, keyint: int) -> list[range]:
    """A tenth of the P frames, at least one stack: runs from key frames on, as each P frame needs those before it.

    Every range begins with its key frame. The GoPs lie in the middle of equal parts of the clip; none without P frames.
    """
    starts = [start for start in range(0, n_frames, keyint) if start + 1 < min(start + keyint, n_frames)]
    n_flows = max(STACK, round(FLOW_SHARE * (n_frames - -(-n_frames // keyint))))
    n_runs = min(max(1, round(n_flows / min(STACK, max(keyint - 1, 1)))), len(starts))
    chosen = [starts[int((k + 0.5) * len(starts) / n_runs)] for k in range(n_runs)]
    return [range(start, min(start + 1 + STACK, start + keyint, n_frames)) for start in chosen]


def dis_stacks(frames: Sequence[Frame], runs: Sequence[range]) -> list[Any]:
    """Stacks of DIS flow between the pictures of each run."""
    width = frames[0].format.width
    return [flow_stack([dis_flow(frames[n], frames[n - 1]) for n in run[1:]], width=width) for run in runs]


class ActionTask:
    """The test part of a split, by a two-stream network."""

    name = "Action recognition"
    metrics = ("top-1",)
    ways = tuple(f"{100 * share:.0f} % keys, {100 * FLOW_SHARE:.0f} % flow" for share in KEY_SHARES)
    pairs = tuple((way, FULL) for way in reversed(ways))

    def __init__(self, data: ActionSet, network: TwoStream, *, keyint: int) -> None:
        self.items, self._network, self._keyint = data.clips, network, keyint
        self.notes = (
            f"network: {network.description}; {len(data.classes)} classes: {', '.join(data.classes[:8])}"
            + (", .." if len(data.classes) > 8 else ""),
            f"ssvc: that share of the key frames (at least one), and runs of up to {STACK} flows from the start of GoPs"
            f" chosen evenly, {100 * FLOW_SHARE:.0f} % of all (at least one stack)",
            f"anchors: all decoded; pictures as for {100 * KEY_SHARES[-1]:.0f} %, DIS flow between pictures at the same"
            " places. The flow stream was trained on DIS flow of originals, which is in the anchors' favour",
            "the paper has ResNet-152 and PWC-Net on all of UCF-101: numbers are not comparable with its own",
        )

    def identity(self) -> list[str]:
        """Networks and structure."""
        return ["action 1", self._network.description, str(self._keyint)]

    def read_own(self, item: Item, clip: Clip, stream: OwnStream) -> list[Reading]:
        """Every share of key frames, with the same flow."""
        keys = stream.key_frames()
        runs = choose_runs(len(clip.frames), self._keyint)
        flows = stream.flows(runs=runs)
        fields: list[list[NDArray[np.float32]]] = [[flows.fields[n].values for n in run[1:]] for run in runs]
        stacks = [flow_stack(run, width=clip.format.width) for run in fields]
        readings = []
        for way, share in zip(self.ways, KEY_SHARES, strict=True):
            chosen = [keys[k] for k in choose_keys(len(keys), share)]
            pictures = stream.pictures(only=chosen)
            twice = stream.head_bytes([run[0] for run in runs if run[0] in chosen])
            n_bytes = pictures.n_bytes + flows.n_bytes - twice
            shown = [frame for frame in pictures.frames if frame is not None]
            found = self._classify(item, shown, stacks)
            readings.append(Reading(way, n_bytes, pictures.seconds + flows.seconds, found))
        return readings

    def read_pictures(self, item: Item, clip: Clip, frames: Sequence[Frame]) -> dict[str, Any]:
        """Pictures and DIS flow of decoded frames."""
        del clip
        keys = range(0, len(frames), self._keyint)
        shown = [frames[keys[k]] for k in choose_keys(len(keys), KEY_SHARES[-1])]
        stacks = dis_stacks(frames, choose_runs(len(frames), self._keyint))
        return {FULL: self._classify(item, shown, stacks)}

    def score(self, found: Mapping[str, Any]) -> tuple[float, ...]:
        """Share of clips whose class is the most probable one."""
        return (float(np.mean([wanted == given for wanted, given in found.values()])),)

    def _classify(self, item: Item, pictures: Sequence[Frame], stacks: Sequence[Any]) -> tuple[int, int]:
        assert isinstance(item, ActionClip)
        return item.label, int(self._network.scores(pictures, stacks).argmax())
