"""One pass over a container: the video's packets to the caller, the other streams' into a queue."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from ffmpeg_bridge.timing import nearest
from ssvc_codec.errors import MediaError

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet as AvPacket
    from av.stream import Stream

__all__ = ["Attachment", "CopySource", "Demuxer", "seconds_of"]

_MAX_QUEUED_BYTES = 256 << 20
_TAIL_SECONDS = 10
_PEEK_SECONDS = 2
_MAX_PEEKED = 256


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file inside the container: a font, a cover picture."""

    name: str
    mimetype: str
    data: bytes


def seconds_of(packet: AvPacket) -> Fraction | None:
    """When a packet is due: dts, or pts where there is none."""
    ticks = packet.dts if packet.dts is not None else packet.pts
    return None if ticks is None or packet.time_base is None else ticks * Fraction(packet.time_base)


class Demuxer:
    """Reads a container once, in its own order. Memory holds only what the caller has not taken yet."""

    def __init__(
        self, container: InputContainer, video: Stream, *, copies: Sequence[Stream], covers: Sequence[Stream] = ()
    ) -> None:
        self._container = container
        self._streams = [video, *copies, *covers]
        self._iterator = container.demux(self._streams)
        self._video_index = video.index
        self._queues: dict[int, deque[AvPacket]] = {stream.index: deque() for stream in copies}
        self._n_bytes = 0
        self._held: deque[AvPacket] = deque()  # of the video
        self.earliest = Fraction(0)  # seconds; packets that end before it are of no use
        self.covers: dict[int, bytes] = {}  # cover pictures met so far, by stream index
        self.at_end = False

    def restart(self) -> None:
        """Forgets what was read, after the container was moved to another place."""
        self._iterator = self._container.demux(self._streams)
        for queue in self._queues.values():
            queue.clear()
        self._held.clear()
        self._n_bytes = 0
        self.at_end = False

    def video_packets(self) -> Iterator[AvPacket]:
        """The video's packets, the last of them the empty one that flushes a decoder.

        Raises MediaError when the other streams pile up beyond all reason.
        """
        while True:
            if self._held:
                yield self._held.popleft()
            elif not self._read():
                return

    def _read(self) -> bool:
        """Reads one packet to where it belongs. False at the end."""
        packet = next(self._iterator, None)
        if packet is None:
            self.at_end = True
        elif packet.stream_index == self._video_index:
            self._held.append(packet)
        elif packet.size and packet.stream_index in self._queues:
            self._enqueue(packet)
        elif packet.size:
            self.covers[packet.stream_index] = bytes(packet)
        return packet is not None

    def peek_sound(self) -> None:
        """Reads ahead, at most 2 s or 256 pictures, until the first packet of every sound is known."""
        silent = {stream.index for stream in self._streams if stream.type == "audio"}
        while any(not self._queues[index] for index in silent) and len(self._held) < _MAX_PEEKED and not self.at_end:
            dues = [due for due in map(seconds_of, self._held) if due is not None]
            if dues and dues[-1] - dues[0] > _PEEK_SECONDS:
                return
            self._read()

    def _enqueue(self, packet: AvPacket) -> None:
        due = seconds_of(packet)
        length = Fraction(packet.duration or 0) * Fraction(packet.time_base or 0)
        if self.earliest and (due is None or due + length <= self.earliest):
            return
        self._queues[packet.stream_index].append(packet)
        self._n_bytes += packet.size
        if self._n_bytes > _MAX_QUEUED_BYTES:
            raise MediaError("more than 256 MiB of sound and subtitles lie between two pictures: remux the input first")

    def take(self, before: Fraction | None) -> list[AvPacket]:
        """Packets due before a time in seconds, or all there are; each stream's in order."""
        taken: list[AvPacket] = []
        for queue in self._queues.values():
            while queue and (before is None or (seconds_of(queue[0]) or 0) < before):
                taken.append(queue.popleft())
        self._n_bytes -= sum(packet.size for packet in taken)
        return sorted(taken, key=lambda packet: seconds_of(packet) or 0)

    def read_until(self, end: Fraction) -> None:
        """Reads on, past the video's last wanted picture, until every other stream has reached end."""
        open_streams = {index for index in self._queues if not self._has_reached(index, end)}
        while open_streams and not self.at_end:
            packet = next(self._iterator, None)
            if packet is None:
                self.at_end = True
                return
            due = seconds_of(packet)
            if packet.stream_index in self._queues and packet.size:
                self._enqueue(packet)
                if due is not None and due >= end:
                    open_streams.discard(packet.stream_index)
            elif due is not None and due >= end + _TAIL_SECONDS:
                return

    def _has_reached(self, index: int, end: Fraction) -> bool:
        queue = self._queues[index]
        return bool(queue) and (seconds_of(queue[-1]) or 0) >= end


class CopySource:
    """What a reader offers a writer beside the video. VideoReader and SsvReader are such sources.

    Times are those of the output: seconds from where the video of a trimmed source begins.
    """

    def __init__(self) -> None:
        self.notes: list[str] = []  # what was changed or left out, for the user
        self.copies: list[Stream] = []  # audio and subtitle streams
        self.attachments: list[Attachment] = []
        self.metadata: dict[str, str] = {}
        self.video_metadata: dict[str, str] = {}
        self.video_disposition = 0
        self._chapters: list[dict[str, Any]] = []
        self._demuxer: Demuxer
        self._shift: Fraction = Fraction(0)  # seconds taken off all times
        self.is_trimmed = False
        self._expected_end: Fraction | None = None  # seconds, before the shift: as far as it is known at the start
        self._end: Fraction | None = None  # seconds, before the shift: where the last frame handed out ends

    def _restore(self, packet: AvPacket) -> None:
        """Puts exact times on a packet about to be handed out; for subclasses."""

    def peek_sound(self) -> None:
        """Makes the first packet of every sound available to take_packets, where it is near."""
        if hasattr(self, "_demuxer"):
            self._demuxer.peek_sound()

    def take_packets(self, before: Fraction | None) -> list[AvPacket]:
        """Packets of the copied streams due before a time in seconds; None for all that is left."""
        if not hasattr(self, "_demuxer"):
            return []
        if before is None:
            if self._end is not None:
                self._demuxer.read_until(self._end)
            limit = self._end
        else:
            limit = before + self._shift
        taken: list[AvPacket] = []
        for packet in self._demuxer.take(limit):
            self._restore(packet)
            if self.is_trimmed and not self._shift_packet(packet):
                continue
            taken.append(packet)
        return taken

    def _shift_packet(self, packet: AvPacket) -> bool:
        """Moves a packet to the output's time. False for one that lies before its start."""
        if packet.pts is None or packet.time_base is None:
            return False
        time_base = Fraction(packet.time_base)
        offset = nearest(self._shift / time_base)
        packet.pts -= offset
        packet.dts = None if packet.dts is None else packet.dts - offset
        if packet.pts >= 0:
            return True
        if packet.stream.type != "subtitle" or packet.pts + (packet.duration or 0) <= 0:
            return False
        packet.duration = packet.pts + (packet.duration or 0)
        packet.pts = packet.dts = 0
        return True

    def chapters(self) -> list[dict[str, Any]]:
        """Chapters in the output's time: dicts as PyAV takes them."""
        if not self.is_trimmed:
            return self._chapters
        kept: list[dict[str, Any]] = []
        for chapter in self._chapters:
            base = Fraction(chapter["time_base"] or Fraction(1, 1000))
            offset, end = nearest(self._shift / base), self._expected_end
            last = chapter["end"] if end is None else min(chapter["end"], nearest(end / base))
            if last - offset > 0 and chapter["start"] < last:
                kept.append({**chapter, "start": max(chapter["start"] - offset, 0), "end": last - offset})
        return kept
