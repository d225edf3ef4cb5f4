"""Several .ssv files one after the other: what goes beside the video of the joined file."""

from __future__ import annotations

from collections.abc import Hashable
from fractions import Fraction
from typing import TYPE_CHECKING

from ffmpeg_bridge.copies import codec_name
from ffmpeg_bridge.demux import CopySource
from ffmpeg_bridge.timing import nearest

if TYPE_CHECKING:
    from av.packet import Packet as AvPacket

    from ffmpeg_bridge.ssv_reader import SsvReader

__all__ = ["AppendedSource", "stream_layout"]


def stream_layout(reader: SsvReader) -> tuple[Hashable, ...]:
    """What must agree before the sound and subtitles of one file can follow those of another."""
    layout: list[Hashable] = []
    for stream in reader.copies:
        context = stream.codec_context
        sound = (getattr(context, "sample_rate", None), getattr(getattr(context, "layout", None), "name", None))
        layout.append((stream.type, codec_name(stream), *sound, bytes(getattr(context, "extradata", None) or b"")))
    return tuple(layout)


class AppendedSource(CopySource):
    """Sound and subtitles of file after file, each shifted to where its video stands. All else is the first file's."""

    def __init__(self, first: SsvReader, *, keeps_streams: bool) -> None:
        """keeps_streams: whether the files agree in stream_layout, so that sound and subtitles can be appended."""
        super().__init__()
        self.copies = list(first.copies) if keeps_streams else []
        self.attachments = first.attachments
        self.metadata, self.video_metadata = first.metadata, first.video_metadata
        self.video_disposition = first.video_disposition
        self._chapters = first.chapters()
        self._reader = first
        self._offset = Fraction(0)
        self._waiting: list[AvPacket] = []  # of files that are done

    def go_on_with(self, reader: SsvReader, *, offset: Fraction, end: Fraction) -> None:
        """Takes what follows from the next file.

        offset: seconds to add to its times. end: where the video so far ends; what sounds longer is cut off there.
        """
        rest = self._shifted(self._reader.take_packets(before=None))
        self._waiting += [packet for packet in rest if _due(packet) < end]
        self._reader, self._offset = reader, offset

    def peek_sound(self) -> None:
        """As the reader of the moment does."""
        self._reader.peek_sound()

    def take_packets(self, before: Fraction | None) -> list[AvPacket]:
        """Packets due before a time of the joined file, in seconds; None for all that is left."""
        taken, self._waiting = self._waiting, []
        limit = None if before is None else before - self._offset
        return taken + self._shifted(self._reader.take_packets(limit))

    def _shifted(self, packets: list[AvPacket]) -> list[AvPacket]:
        targets = {theirs.index: ours for theirs, ours in zip(self._reader.copies, self.copies, strict=False)}
        shifted: list[AvPacket] = []
        for packet in packets:
            target = targets.get(packet.stream_index)
            if target is None or packet.pts is None or packet.time_base is None:
                continue
            packet.pts += nearest(self._offset / Fraction(packet.time_base))
            packet.dts = packet.pts
            packet.stream = target
            shifted.append(packet)
        return shifted


def _due(packet: AvPacket) -> Fraction:
    return (packet.pts or 0) * Fraction(packet.time_base or 0)
