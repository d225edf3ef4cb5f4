"""Keeps the parts of a stream that were asked for."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from ..bitstream import ClassTable, DirectoryEntry, SubstreamKind, drop_substreams
from ..packet import Packet
from ..selection import ResolvedSelection, Selection
from .chains import ReadableChains
from .scene import Scene, SceneReader

__all__ = ["Extractor", "GopFilter", "SelectionInStream"]


class SelectionInStream:
    """A selection whose names are looked up where objects are: without any, a stream may have no class table."""

    def __init__(self, selection: Selection) -> None:
        self._selection = selection
        self._resolved: tuple[ClassTable, ResolvedSelection] | None = None

    def resolve(self, scene: Scene) -> ResolvedSelection:
        """The selection in ids of a scene with objects. Raises ValueError for names that its stream does not have."""
        classes = scene.sequence_header.classes
        if self._resolved is None or self._resolved[0] != classes:
            self._resolved = classes, self._selection.resolve(classes)
        return self._resolved[1]

    def groups(self, scene: Scene) -> frozenset[int]:
        """Numbers of the groups that are selected. Raises ValueError."""
        if not scene.objects:
            return frozenset({0} if self._selection.background else ())
        return self.resolve(scene).groups(scene.objects, scene.groups)


class Extractor:
    """Drops the substreams that were not asked for, and with them those that nobody could read any more.

    Object lists stay whole: the group map follows from them.
    """

    def __init__(self, selection: Selection | None = None, *, kinds: Collection[SubstreamKind] | None = None) -> None:
        """selection: None keeps all groups. kinds: those to keep, () for heads alone; None: all, reserved ones too."""
        self._selection = None if selection is None else SelectionInStream(selection)
        self._kinds = None if kinds is None else frozenset(kinds)
        self._scenes = SceneReader()
        self._chains = ReadableChains()

    def edit(self, data: bytes) -> bytes:
        """The next packet with less in it. Raises BitstreamError, LimitError; ValueError for names that are unknown."""
        scene = self._scenes.read(data)
        groups = None if self._selection is None else self._selection.groups(scene)
        kept = self._chains.keep(scene, lambda entry: self._wants(entry, groups))
        return drop_substreams(data, lambda entry: entry not in kept)

    def _wants(self, entry: DirectoryEntry, groups: frozenset[int] | None) -> bool:
        return (self._kinds is None or entry.kind in self._kinds) and (groups is None or entry.group in groups)


@dataclass(slots=True)
class GopFilter:
    """Whether a packet is wanted at all, by its place in time."""

    keyframes_only: bool = False
    every: int = 1  # of so many groups of pictures only the first
    _n_key_frames: int = 0

    def wants(self, packet: Packet) -> bool:
        """Counts the next packet."""
        self._n_key_frames += packet.is_keyframe
        in_time = max(self._n_key_frames - 1, 0) % self.every == 0
        return in_time and (packet.is_keyframe or not self.keyframes_only)
