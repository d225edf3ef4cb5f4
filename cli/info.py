"""`ssvc info`: what a file holds, from its container, headers and checksums. Decodes nothing, loads no torch.

`--json` prints one object. Unknown values are null.

    file               the name given
    size_bytes         of the file; null for stdin
    duration_seconds   of the video
    bitrate_kbps       of the video's packets over duration_seconds
    video              width, height, bit_depth, average_rate ("25/1"), sample_aspect_ratio ("1/1"), rotation,
                       primaries, transfer, matrix (H.273), full_range, chroma_location
    sequence_header    version, size_bytes, model, weights_hash (16 hex digits), n_classes
    streams            the others, in order: index, type, codec, language
                       and attachments last: type, name, mimetype, size_bytes
    frames             total, I, P, damaged
    gop_length         count, shortest, mean, longest: frames from each I frame to the next
    q_index            lowest, mean, highest
    bytes              header, object, background, motion, residual, reserved, damaged, total
    frame_list         with --frames: pts, time_seconds, type, frame_number, q_index, n_objects, n_bytes,
                       n_header_bytes, n_payload_bytes
    object_list        with --objects, a track each: track_id, class_id, class, first_seconds, last_seconds,
                       n_frames, n_frames_alone (in a group of its own), mean_score (0..1), mean_box [x, y,
                       width, height], n_group_bytes (payloads of its groups, whole, also where it shares them)
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ssvc_codec.bitstream import VERSION, SequenceHeader
from ssvc_codec.errors import BitstreamError, LimitError, MediaError

from .exit_codes import ExitCode, print_error, with_exit_code
from .options import Verbose
from .stream_report import FrameReport, StreamReport
from .timecode import format_time
from .track_report import TrackTable, object_table

if TYPE_CHECKING:
    from fractions import Fraction

    from ffmpeg_bridge.reader import SsvReader
    from ssvc_codec.frame import VideoFormat

__all__ = ["info"]


@with_exit_code
def info(
    source: Annotated[str, typer.Argument(metavar="FILE", help="An .ssv file; - reads stdin.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, documented at the top of cli/info.py.")] = False,
    frames: Annotated[bool, typer.Option("--frames", help="List every frame.")] = False,
    objects: Annotated[bool, typer.Option("--objects", help="List every object: when, where, how many bytes.")] = False,
    verbose: Verbose = False,
) -> int:
    """List what an .ssv file holds.

    Format, model, other streams, frames, and where the bytes went; nothing is decoded.
    """
    from ffmpeg_bridge.reader import open_ssv

    report = StreamReport(tracks=TrackTable() if objects else None)
    rows: list[FrameReport] = []
    ending: MediaError | BitstreamError | None = None
    with open_ssv(source) as reader:
        try:
            for packet in reader:
                row = report.add(packet)
                if packet.pts is not None:
                    reader.take_packets(packet.pts * packet.time_base)  # else sound piles up
                if frames:
                    rows.append(row)
        except (MediaError, BitstreamError) as error:
            ending = error
        facts = _facts(source, reader, report)
    if not report.n_frames:
        raise ending or MediaError(f"{source}: no video frames")
    if frames:
        facts["frame_list"] = [asdict(row) for row in rows]
    if report.tracks is not None:
        facts["object_list"] = [track.facts() for track in report.tracks.tracks]
    print(json.dumps(facts, indent=2) if as_json else _as_text(facts, rows))
    if report.n_damaged:
        print_error(f"{source}: {report.n_damaged} of {report.n_frames} packets are damaged: {report.first_error}")
    if ending is None and reader.truncated:
        ending = MediaError("the file is truncated or damaged")
    if ending is not None:
        print_error(f"{source}: reading stopped after {report.n_frames} frames: {ending}")
    return ExitCode.DAMAGED if report.n_damaged or ending is not None else ExitCode.OK


def _facts(source: str, reader: SsvReader, report: StreamReport) -> dict[str, Any]:
    """The object that --json prints, without frame_list."""
    header = _sequence_header(reader.sequence_header) or report.sequence_header
    duration = report.duration_seconds
    kbps = report.bytes.total * 8 / 1000 / duration if duration else None
    qs = report.q_indexes
    return {
        "file": source,
        "size_bytes": None if source == "-" else Path(source).stat().st_size,
        "duration_seconds": None if duration is None else round(duration, 6),
        "bitrate_kbps": None if kbps is None else round(kbps, 3),
        "video": None if header is None else _video(header.format, reader.average_rate),
        "sequence_header": None if header is None else _header_facts(header),
        "streams": _streams(reader),
        "frames": {"total": report.n_frames, **report.n_frames_by_type, "damaged": report.n_damaged},
        "gop_length": _gop_length(report.gop_lengths),
        "q_index": {"lowest": min(qs), "mean": round(sum(qs) / len(qs), 2), "highest": max(qs)} if qs else None,
        "bytes": {**asdict(report.bytes), "total": report.bytes.total},
    }


def _gop_length(lengths: list[int]) -> dict[str, Any] | None:
    if not lengths:
        return None
    mean = round(sum(lengths) / len(lengths), 2)
    return {"count": len(lengths), "shortest": min(lengths), "mean": mean, "longest": max(lengths)}


def _sequence_header(data: bytes) -> SequenceHeader | None:
    try:
        return SequenceHeader.from_bytes(data)
    except (BitstreamError, LimitError):
        return None  # every key frame repeats it


def _video(video: VideoFormat, rate: Fraction | None) -> dict[str, Any]:
    sar = video.sample_aspect_ratio
    return {
        "width": video.width,
        "height": video.height,
        "bit_depth": video.bit_depth,
        "average_rate": None if rate is None else f"{rate.numerator}/{rate.denominator}",
        "sample_aspect_ratio": f"{sar.numerator}/{sar.denominator}",
        "rotation": video.rotation,
        **asdict(video.color),
    }


def _header_facts(header: SequenceHeader) -> dict[str, Any]:
    return {
        "version": VERSION,
        "size_bytes": len(header.to_bytes()),
        "model": header.model,
        "weights_hash": header.weights_hash.hex(),
        "n_classes": len(header.classes.names),
    }


def _streams(reader: SsvReader) -> list[dict[str, Any]]:
    from ffmpeg_bridge.copies import codec_name

    copies = [
        {
            "index": stream.index,
            "type": stream.type,
            "codec": codec_name(stream),
            "language": stream.metadata.get("language"),
        }
        for stream in reader.copies
    ]
    attachments = [
        {"type": "attachment", "name": item.name, "mimetype": item.mimetype, "size_bytes": len(item.data)}
        for item in reader.attachments
    ]
    return copies + attachments


def _as_text(facts: dict[str, Any], rows: list[FrameReport]) -> str:
    """The same for people."""
    lines = [f"{facts['file']}: {_size(facts['size_bytes'])}, {_duration(facts)}"]
    lines.append("  Video: SSV1" + _video_words(facts["video"]))
    if header := facts["sequence_header"]:
        lines.append(
            f"  Model: {header['model']} ({header['weights_hash']}), bitstream version {header['version']}, "
            f"{header['n_classes']} classes"
        )
    lines.extend(_stream_words(stream) for stream in facts["streams"])
    counts = facts["frames"]
    damaged = f", {counts['damaged']} damaged" if counts["damaged"] else ""
    lines.append(f"  Frames: {counts['total']} ({counts['I']} I, {counts['P']} P{damaged})")
    if gop := facts["gop_length"]:
        lines.append(f"  GoP length: {gop['shortest']} to {gop['longest']} frames, mean {gop['mean']}")
    if q := facts["q_index"]:
        lines.append(f"  q_index: {q['lowest']} to {q['highest']}, mean {q['mean']}")
    lines.append("  Bytes:")
    total = facts["bytes"]["total"]
    for name, n_bytes in facts["bytes"].items():
        if n_bytes or name in ("header", "total"):
            lines.append(f"    {name:<10} {n_bytes:>12} {100 * n_bytes / max(total, 1):6.2f} %")
    lines.extend(_row(number, row) for number, row in enumerate(rows))
    if "object_list" in facts:
        lines.extend(object_table(facts["object_list"]))
    return "\n".join(lines)


def _stream_words(stream: dict[str, Any]) -> str:
    if stream["type"] == "attachment":
        return f"  Attachment: {stream['name']}, {stream['mimetype']}, {stream['size_bytes']} bytes"
    language = f" ({stream['language']})" if stream["language"] else ""
    return f"  Stream {stream['index']}: {stream['type']}, {stream['codec']}{language}"


def _video_words(video: dict[str, Any] | None) -> str:
    if video is None:
        return ", format unknown"
    words = f", {video['width']}x{video['height']}, {video['bit_depth']} bits"
    if rate := video["average_rate"]:
        numerator, denominator = map(int, rate.split("/"))
        words += f", {numerator / denominator:.6g} fps"
    if video["rotation"]:
        words += f", rotated {video['rotation']} degrees"
    range_name = "full" if video["full_range"] else "limited"
    return words + f", colour {video['primaries']}/{video['transfer']}/{video['matrix']} {range_name}"


def _duration(facts: dict[str, Any]) -> str:
    if facts["duration_seconds"] is None:
        return "duration unknown"
    rate = "" if facts["bitrate_kbps"] is None else f", {facts['bitrate_kbps']:.1f} kb/s"
    return format_time(facts["duration_seconds"]) + rate


def _size(n_bytes: int | None) -> str:
    return "stdin" if n_bytes is None else f"{n_bytes} bytes"


def _row(number: int, row: FrameReport) -> str:
    time = "?" if row.time_seconds is None else f"{row.time_seconds:.3f}"
    if row.type is None or row.n_payload_bytes is None:
        return f"  frame {number:5d}  {time:>10} s  damaged  {row.n_bytes:>8} bytes"
    place = "" if row.type == "I" else f"I+{row.frame_number}"
    parts = {"header": row.n_header_bytes, **row.n_payload_bytes}
    words = ", ".join(f"{name} {n_bytes}" for name, n_bytes in parts.items())
    return (
        f"  frame {number:5d}  {time:>10} s  {row.type} q {row.q_index:2d}  {place:<7}  {row.n_bytes:>8} bytes: {words}"
    )
