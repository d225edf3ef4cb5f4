"""Frames of virtual files by their place: a cache of samples, and a few decoders that remember where they stand."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ffmpeg_bridge.serving.layout import VirtualFile
from ffmpeg_bridge.serving.pictures import DecoderOptions, PictureDecoder

if TYPE_CHECKING:
    from ffmpeg_bridge.serving.part import Part
    from ffmpeg_bridge.serving.source import SsvSource

__all__ = ["FrameCache", "FramePool", "Reader", "ReaderGoneError", "Stream"]

_CACHE_BYTES = 256 << 20
_MAX_DECODERS = 4


class ReaderGoneError(Exception):
    """Whoever asked for a frame does not want it any more."""


class Stream:
    """One part of one source: its virtual file, and where decoding can begin."""

    def __init__(self, source: SsvSource, part: Part) -> None:
        """Lays out the virtual file. Raises MediaError, ValueError for a class that the stream does not have."""
        part.check(source.sequence_header.classes)
        self.source, self.part = source, part
        self.file = VirtualFile(source, part)
        self._keys = np.flatnonzero(source.is_key[self.file.frames])  # places of key frames
        self._damaged: set[int] = set()  # places of key frames that cannot be decoded

    def start_of(self, place: int) -> int:
        """Where to begin decoding for a place: its key frame; an earlier one where that is damaged."""
        at = int(np.searchsorted(self._keys, place, side="right")) - 1
        while at >= 0 and int(self._keys[at]) in self._damaged:
            at -= 1
        return int(self._keys[at]) if at >= 0 else 0

    def note_damaged(self, place: int) -> None:
        """A key frame that cannot be decoded shows what came before it."""
        self._damaged.add(place)


class FrameCache:
    """The frames decoded last, up to a number of bytes. Thread safe."""

    def __init__(self, max_bytes: int = _CACHE_BYTES) -> None:
        self._max_bytes = max_bytes
        self._frames: OrderedDict[tuple[Stream, int], bytes] = OrderedDict()
        self._n_bytes = 0
        self._lock = threading.Lock()

    def get(self, stream: Stream, place: int) -> bytes | None:
        """A frame, if it is still there."""
        with self._lock:
            samples = self._frames.get((stream, place))
            if samples is not None:
                self._frames.move_to_end((stream, place))
            return samples

    def put(self, stream: Stream, place: int, samples: bytes) -> None:
        """Keeps a frame; those that were not used for longest go."""
        with self._lock:
            if (stream, place) in self._frames:
                return
            self._frames[stream, place] = samples
            self._n_bytes += len(samples)
            while self._n_bytes > self._max_bytes and len(self._frames) > 1:
                self._n_bytes -= len(self._frames.popitem(last=False)[1])


class Reader:
    """One request, for as long as it lasts."""

    def __init__(self, is_gone: Callable[[], bool]) -> None:
        self.is_gone = is_gone
        self.is_active = True


@dataclass(eq=False, slots=True)
class _Walker:
    """A decoder and the place it would decode next."""

    stream: Stream
    reader: Reader  # the last to use it
    last_used: int = 0
    next_place: int = -1  # -1: nowhere yet
    lock: threading.Lock = field(default_factory=threading.Lock)
    decoder: PictureDecoder | None = None

    def can_go_on_to(self, place: int) -> bool:
        """Without going back, and without passing over a key frame."""
        return self.stream.start_of(place) <= self.next_place <= place


class FramePool:
    """Gives frames of any stream to any thread."""

    def __init__(self, options: DecoderOptions, *, max_decoders: int = _MAX_DECODERS) -> None:
        self._options = options
        self._max_decoders = max_decoders
        self._cache = FrameCache()
        self._walkers: list[_Walker] = []
        self._lock = threading.Lock()
        self._clock = 0
        self.n_decoded = 0
        self.n_concealed = 0

    def frame(self, stream: Stream, place: int, reader: Reader) -> bytes:
        """Samples of the frame at a place of a stream.

        Raises ReaderGoneError, BitstreamError, LimitError, MediaError, ModelError, ValueError.
        """
        samples = self._cache.get(stream, place)
        if samples is not None:
            return samples
        walker = self._choose(stream, place, reader)
        with walker.lock:
            samples = self._cache.get(stream, place)
            return self._decode(walker, place, reader) if samples is None else samples

    def _choose(self, stream: Stream, place: int, reader: Reader) -> _Walker:
        """The decoder that gets there with the fewest frames, and takes no other reader back if it can be helped."""
        with self._lock:
            same = [walker for walker in self._walkers if walker.stream is stream]
            near = [walker for walker in same if walker.can_go_on_to(place)]
            idle = [walker for walker in self._walkers if walker.reader is reader or not walker.reader.is_active]
            idle_same = [walker for walker in idle if walker.stream is stream]
            if near:
                walker = max(near, key=lambda walker: walker.next_place)
            elif idle_same:
                walker = min(idle_same, key=lambda walker: walker.last_used)
            elif len(self._walkers) < self._max_decoders:
                walker = self._add(stream, reader)
            else:
                walker = min(idle or self._walkers, key=lambda walker: walker.last_used)
                if walker.stream is not stream:
                    self._walkers.remove(walker)
                    walker = self._add(stream, reader)
            self._clock += 1
            walker.last_used, walker.reader = self._clock, reader
            return walker

    def _add(self, stream: Stream, reader: Reader) -> _Walker:
        walker = _Walker(stream, reader)
        self._walkers.append(walker)
        return walker

    def _decode(self, walker: _Walker, place: int, reader: Reader) -> bytes:
        """Decodes up to a place, with the lock of the walker held."""
        stream = walker.stream
        header = stream.source.sequence_header
        if walker.decoder is None:
            walker.decoder = PictureDecoder(header.to_bytes(), header.format, stream.part, self._options)
        samples = b""
        start = stream.start_of(place)
        is_fresh = not start <= walker.next_place <= place
        if is_fresh:
            walker.decoder.restart()
            walker.next_place = start
        while walker.next_place <= place:
            if reader.is_gone():
                raise ReaderGoneError
            now, walker.next_place = walker.next_place, -1  # nowhere, should this fail
            samples = walker.decoder.decode(stream.source.packet(int(stream.file.frames[now])))
            self._count(walker.decoder)
            if is_fresh and walker.decoder.is_damaged and now > 0:
                stream.note_damaged(now)
                now = stream.start_of(now)
                walker.decoder.restart()
                walker.next_place = now
                continue
            is_fresh = False
            self._cache.put(stream, now, samples)
            walker.next_place = now + 1
        return samples

    def _count(self, decoder: PictureDecoder) -> None:
        with self._lock:
            self.n_decoded += 1
            self.n_concealed += decoder.is_damaged
