"""`ssvc decode --header-only`: what the heads of packets say about objects. No network runs, no torch is loaded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ssvc_codec.bitstream import SceneObject, SequenceHeader
from ssvc_codec.editing.scene import Scene, SceneReader
from ssvc_codec.errors import BitstreamError, LimitError, MediaError

from .exit_codes import ExitCode
from .interrupt import StopRequest
from .output import check_output
from .packet_loop import report_losses, until_stopped
from .progress import Progress

if TYPE_CHECKING:
    from ffmpeg_bridge.object_writer import AnnotationKind, ObjectWriter
    from ssvc_codec.packet import Packet
    from ssvc_codec.selection import ResolvedSelection, Selection

__all__ = ["decode_headers"]


def decode_headers(
    source: str,
    target: str,
    *,
    kind: AnnotationKind | None = None,
    select: Selection | None = None,
    keyframes_only: bool = False,
    every: int = 1,
    start: float | None = None,
    frames: int | None = None,
    strict: bool = False,
    overwrite: bool = False,
    quiet: bool = False,
) -> int:
    """Writes the objects of each frame as ffmpeg_bridge.object_writer's kinds; returns the exit code.

    kind: instead of what the suffix of target says. every: of so many GoPs only the first. A damaged frame, and
    those that refer to it, are left out and make the exit code 3; strict stops at the first.
    Raises MediaError, ValueError (an unknown class), with strict BitstreamError, LimitError.
    """
    check_output(target, source=source, overwrite=overwrite)
    from ffmpeg_bridge.object_writer import ObjectWriter
    from ffmpeg_bridge.reader import open_ssv

    progress = Progress(quiet=quiet)
    with (
        StopRequest(ends_stdin=source == "-") as stop,
        open_ssv(source, start_seconds=start, max_frames=frames) as reader,
    ):
        writer = ObjectWriter(target, kind=kind)
        job = _HeadJob(writer, progress, select, strict, is_trimmed=reader.is_trimmed)
        try:
            for packet in until_stopped(iter(reader), stop, job.end):
                if packet.pts is not None:
                    reader.take_packets(packet.pts * packet.time_base)  # else sound piles up
                if job.wants(packet, keyframes_only=keyframes_only, every=every):
                    job.add(packet)
            if not job.n_written:
                raise job.ending or job.first_error or MediaError(f"{source} holds no frame that can be read")
            writer.close()
        except BaseException:
            writer.abort()
            raise
        if reader.truncated and not stop.is_set:
            job.ending = job.ending or MediaError("the file is truncated or damaged")
        progress.add_notes(reader.notes)
    job.note_bytes()
    progress.finish()
    return stop.exit_code if stop.is_set else job.report(source)


@dataclass
class _HeadJob:
    """Heads in, annotations out."""

    writer: ObjectWriter
    progress: Progress
    select: Selection | None
    strict: bool
    is_trimmed: bool  # frames before time 0 only lead up to the first one wanted
    n_written: int = 0
    n_lost: int = 0
    n_head_bytes: int = 0  # of the packets read
    n_bytes: int = 0  # of all packets that passed
    first_error: BitstreamError | LimitError | None = None
    ending: MediaError | BitstreamError | None = None  # why reading ended early
    _frame: int = -1
    _gop: int = -1
    _scenes: SceneReader = field(default_factory=SceneReader)
    _resolved: tuple[SequenceHeader, ResolvedSelection] | None = None

    def wants(self, packet: Packet, *, keyframes_only: bool, every: int) -> bool:
        """Counts the packet, and says whether its frame was asked for."""
        self.n_bytes += len(packet.data)
        self._gop += packet.is_keyframe
        self._frame += not self._leads_up(packet)
        return (packet.is_keyframe or not keyframes_only) and max(self._gop, 0) % every == 0

    def _leads_up(self, packet: Packet) -> bool:
        return self.is_trimmed and packet.pts is not None and packet.pts < 0

    def add(self, packet: Packet) -> None:
        """One frame's objects."""
        scene: Scene | None = None
        try:
            scene = self._scenes.read(packet.data, partial=True)
            self.n_head_bytes += scene.packet.head_length
        except (BitstreamError, LimitError) as error:
            if self.strict:
                raise
            self.first_error = self.first_error or error
        if self._leads_up(packet):
            return
        if scene is None:
            self.n_lost += 1
        else:
            self._write(packet, scene)

    def _write(self, packet: Packet, scene: Scene) -> None:
        from ffmpeg_bridge.object_writer import FrameObjects

        header = scene.sequence_header
        objects = tuple(item for item in scene.objects if self._is_selected(item, header))
        self.writer.write(
            FrameObjects(self._frame, packet.pts, packet.time_base, objects, header.classes, header.format)
        )
        self.n_written += 1
        seconds = None if packet.pts is None else float((packet.pts + packet.duration) * packet.time_base)
        self.progress.add_frame(end_seconds=seconds)

    def _is_selected(self, item: SceneObject, header: SequenceHeader) -> bool:
        """Names are looked up where the first objects are: without objects a stream may have no class table."""
        if self.select is None:
            return True
        if self._resolved is None or self._resolved[0] is not header:
            self._resolved = (header, self.select.resolve(header.classes))
        return self._resolved[1].wants(item)

    def note_bytes(self) -> None:
        """Tells how little was needed."""
        share = 100 * self.n_head_bytes / max(self.n_bytes, 1)
        self.progress.add_notes([f"heads are {self.n_head_bytes} of {self.n_bytes} bytes of video ({share:.2f} %)"])

    def end(self, damage: MediaError | BitstreamError) -> None:
        """The input breaks off here."""
        self.ending = damage

    def report(self, source: str) -> ExitCode:
        """Lines about damage, and the exit code."""
        return report_losses(
            source,
            what="frames",
            n_lost=self.n_lost,
            n_all=self.n_lost + self.n_written,
            n_kept=self.n_written,
            first_error=self.first_error,
            ending=self.ending,
        )
