"""Decodes packets and draws what their heads say over the pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ssvc_codec.bitstream import FrameType, ParsedPacket, SubstreamKind
from ssvc_codec.editing.scene import Scene, SceneReader

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ffmpeg_bridge.drawing import Overlay, Part
    from ssvc_codec.frame import Frame, VideoFormat
    from ssvc_codec.packet import Packet
    from ssvc_codec.selection import Selection

__all__ = ["Painter", "parts_of"]


class Painter:
    """Packets to drawings."""

    def __init__(self, select: Selection | None, *, options: dict[str, Any]) -> None:
        """select: what to decode and draw; None: everything. options: a Decoder's. Raises ModelError."""
        from ssvc_codec.decoder import Decoder

        options = options if select is None else {**options, "select": select}
        # The container's sequence header may lack the class table, and every key frame has its own.
        self._decoder: Decoder[Frame] = Decoder(**options)
        self._select = select
        self._scenes = SceneReader()
        self._scene: Scene | None = None  # of the packet decoded last
        self._overlay: tuple[VideoFormat, Overlay] | None = None

    def decode(self, packet: Packet) -> Frame:
        """The frame of a packet. Raises BitstreamError, LimitError."""
        self._scene = self._scenes.read(packet.data)
        return self._decoder.send(packet)[0]

    def overlay_of(self, frame: Frame) -> Overlay:
        """What draws on frames of this format."""
        from ffmpeg_bridge.drawing import Overlay

        if self._overlay is None or self._overlay[0] != frame.format:
            self._overlay = frame.format, Overlay(frame.format)
        return self._overlay[1]

    def draw(self, frame: Frame, *, place: str) -> NDArray[np.uint8]:
        """The frame decoded last with what belongs to it. place: begins the title.

        Raises ValueError where a class is not known.
        """
        scene = self._scene
        assert scene is not None
        drawn = scene.objects
        if self._select is not None and drawn:
            chosen = self._select.resolve(scene.sequence_header.classes)
            drawn = tuple(item for item in drawn if chosen.wants(item))
        return self.overlay_of(frame).draw(
            frame,
            drawn,
            scene.groups,
            classes=scene.sequence_header.classes,
            title=_title(scene.packet, place),
            parts=parts_of(scene),
        )


def _title(parsed: ParsedPacket, place: str) -> str:
    header = parsed.header
    number = "" if header.frame_type is FrameType.I else str(header.frame_number)
    return f"{place}   {header.frame_type.name}{number}   q {header.q_index}   {len(parsed.data)} bytes"


def parts_of(scene: Scene) -> list[Part]:
    """Bytes of the head (with checksums), the background and each group. They add up to the packet's."""
    from ffmpeg_bridge.drawing import Part
    from ffmpeg_bridge.object_writer import class_label

    parsed, classes = scene.packet, scene.sequence_header.classes
    labels = {item.track_id: f"{class_label(classes, item.class_id)} #{item.track_id}" for item in scene.objects}
    parts = [Part("head", len(parsed.data) - sum(entry.length for entry in parsed.entries), shade=1.8)]
    for entry in sorted(parsed.entries, key=lambda entry: (entry.group, entry.kind)):
        tracks = sorted(scene.members[entry.group]) if not entry.is_reserved else []
        words = [labels[track] for track in tracks[:2]]
        name = ", ".join([*words, *([f"+{len(tracks) - 2}"] if len(tracks) > 2 else [])]) or "background"
        is_motion = entry.kind == SubstreamKind.MOTION
        is_p = parsed.header.frame_type is FrameType.P
        kind = f" {SubstreamKind(entry.kind).name.lower()}" if is_p and not entry.is_reserved else ""
        label = f"reserved {entry.kind}" if entry.is_reserved else name + kind
        parts.append(Part(label, entry.length, tracks[0] if tracks else None, shade=0.6 if is_motion else 1.0))
    return parts
