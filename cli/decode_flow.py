"""`ssvc decode --flow-only`: the optical flow of an .ssv file, from its MOTION substreams alone."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import typer

from ssvc_codec.errors import BitstreamError, LimitError, MediaError

if TYPE_CHECKING:
    from ffmpeg_bridge.flow_writer import FlowFrame, FlowWriter
    from ffmpeg_bridge.reader import SsvReader
    from ssvc_codec.flow import FlowField
    from ssvc_codec.packet import Packet
    from ssvc_codec.selection import Selection

__all__ = ["FlowDecoder", "FlowOutput", "FlowSink"]


@dataclass(frozen=True, slots=True)
class FlowOutput:
    """What the user asked the flow to become."""

    target: str
    scale: int
    max_pixels: float | None  # of a video: the vector with full colour
    overwrite: bool
    vcodec: str | None
    vcodec_options: dict[str, str]

    def check(self) -> None:
        """Refuses what cannot be done before anything is decoded. Raises typer.BadParameter, MediaError."""
        from ffmpeg_bridge.flow_writer import flow_output_kind

        kind = flow_output_kind(self.target)
        if kind != "video":
            for is_given, name in (
                (self.max_pixels is not None, "--flow-max"),
                (self.vcodec is not None, "--vcodec"),
                (bool(self.vcodec_options), "--vcodec-opts"),
            ):
                if is_given:
                    raise typer.BadParameter(f"{self.target} holds numbers: this is for video", param_hint=name)
        if kind == "folder":
            folder = Path(self.target)
            if folder.is_file():
                raise MediaError(f"{folder}: it is a file; without an extension OUT is a folder")
            if not self.overwrite and folder.is_dir() and any(folder.iterdir()):
                raise MediaError(f"{folder}: the folder is not empty; -y replaces the flow in it")


class FlowDecoder:
    """A Decoder of motion alone that says which frames have no flow: key frames and damaged ones.

    With conceal=False the first damaged packet raises its BitstreamError or LimitError.
    """

    def __init__(
        self,
        sequence_header: bytes | None,
        *,
        scale: int,
        model: str | None,
        device: str,
        threads: int,
        conceal: bool,
        select: Selection | None = None,
    ) -> None:
        from ssvc_codec.decoder import Decoder

        self.n_decoded = 0  # frames, with or without flow
        self.n_concealed = 0
        self.first_error: BitstreamError | LimitError | None = None
        self._scale = scale
        self._conceal = conceal
        options: dict[str, Any] = {"model": model, "device": device, "threads": threads, "parts": {"motion"}}
        options["select"] = select
        try:
            self._decoder = Decoder(sequence_header, **options)
        except BitstreamError:
            if not conceal:
                raise
            self._decoder = Decoder(**options)  # the first key frame repeats it

    def send(self, packet: Packet) -> list[FlowFrame]:
        """The frame of this packet; nothing while not even the size of the picture is known."""
        field: FlowField | None = None
        try:
            fields = cast("list[FlowField]", self._decoder.send(packet))
            self.n_decoded += 1
        except (BitstreamError, LimitError) as error:
            self.first_error = self.first_error or error
            if not self._conceal:
                raise
            self.n_concealed += 1
        else:
            field = fields[0].resampled(self._scale) if fields else None
        return self._frame(packet, field)

    def _frame(self, packet: Packet, field: FlowField | None) -> list[FlowFrame]:
        from ffmpeg_bridge.flow_writer import FlowFrame

        format = self._decoder.format
        if format is None:
            return []
        return [FlowFrame(field, format, packet.pts, packet.duration, packet.time_base)]

    def flush(self) -> list[FlowFrame]:
        """Frames still held back: none, as motion is decoded without delay."""
        return []


class FlowSink:
    """A writer of flow that opens with the first frame: only then the format is certain."""

    def __init__(self, output: FlowOutput, source: SsvReader, decoder: FlowDecoder) -> None:
        self._output = output
        self._source = source
        self._decoder = decoder
        self._writer: FlowWriter | None = None
        self._is_video = False
        self._n_flows = 0

    @property
    def notes(self) -> list[str]:
        """What was changed or left out, for the user."""
        return [*self._source.notes, *(self._writer.notes if self._writer else [])]

    def write(self, frame: FlowFrame, *, number: int) -> None:
        """Adds one frame, number unused; sound that goes nowhere is read past."""
        del number
        writer = self._writer
        if writer is None:
            writer = self._writer = self._open(frame)
        writer.write(frame)
        self._n_flows += frame.field is not None
        if not self._is_video and frame.pts is not None:
            self._source.take_packets(before=Fraction(frame.pts) * frame.time_base)

    def close(self) -> None:
        """Gives the output its name. Raises the first error met, or MediaError, where no frame had flow."""
        if not self._n_flows:
            raise self._decoder.first_error or MediaError(
                f"{self._source.name} holds no flow: every frame read is a key frame"
            )
        if self._writer is not None:
            self._writer.close()

    def abort(self) -> None:
        """Throws the output away."""
        if self._writer is not None:
            self._writer.abort()

    def _open(self, frame: FlowFrame) -> FlowWriter:
        from ffmpeg_bridge.flow_video import FlowVideoWriter
        from ffmpeg_bridge.flow_writer import FloWriter, NpzWriter, flow_output_kind, flow_store

        output = self._output
        match flow_output_kind(output.target):
            case "npz":
                return NpzWriter(output.target)
            case "video":
                self._is_video = True
                return FlowVideoWriter(
                    output.target,
                    format=frame.format,
                    time_base=frame.time_base,
                    scale=output.scale,
                    max_pixels=output.max_pixels,
                    average_rate=self._source.average_rate,
                    source=self._source,
                    vcodec=output.vcodec,
                    vcodec_options=output.vcodec_options,
                )
        return FloWriter(flow_store(output.target, overwrite=output.overwrite))
