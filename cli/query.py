"""`ssvc query`: when which objects are there. Reads the heads of packets, decodes nothing, loads no torch.

Seconds count from the first frame, as --ss of other commands does. `--json` prints JSON lines. With an expression:

    start_seconds, end_seconds   of a run of frames that all match
    first_frame, n_frames        frames count from 0 at the first frame of the file
    most                         {"person": 3, ..}: the largest number at once in these frames, by class

Without one, a line for each class:

    class_id, class              class is null where the file does not name it
    n_tracks, n_frames           objects told apart, and frames with at least one
    first_seconds, last_seconds  of the first and of the last of these frames
    mean_area, mean_share        of a box, in luma samples and as a part of the picture
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from ssvc_codec.errors import BitstreamError, LimitError, MediaError

from .editing import End, Length, range_end
from .exit_codes import ExitCode, print_error, with_exit_code
from .options import Start, Verbose
from .query_listings import ClassListing, MatchListing, Moment

if TYPE_CHECKING:
    from ffmpeg_bridge.reader import SsvReader
    from ssvc_codec.editing import Scene, SceneReader
    from ssvc_codec.packet import Packet

    Table = ClassListing | MatchListing

__all__ = ["query"]


@with_exit_code
def query(
    source: Annotated[str, typer.Argument(metavar="FILE", help="An .ssv file; - reads stdin.")],
    expression: Annotated[
        str | None, typer.Argument(metavar="EXPRESSION", help="Which frames; without it classes are listed.")
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines, see cli/query.py.")] = False,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit with 1 where no frame matches.")] = False,
    start: Start = None,
    to: End = None,
    length: Length = None,
    verbose: Verbose = False,
) -> int:
    """Say when objects are there: ssvc query FILE "person & count(car) >= 2".

    An expression has class names (traffic light, 'hot dog'), #TRACK, * for any object,
    count(CLASS) with >= <= > < = !=, & | ! or and, or, not, and parentheses.
    """
    from ssvc_codec.scene_query import parse_query

    end = range_end(start, to, length)
    table = ClassListing() if expression is None else MatchListing(parse_query(expression))
    scan = _Scan(start or 0.0, end)
    from ffmpeg_bridge.reader import open_ssv

    with open_ssv(source) as reader:
        scan.run(reader, table)
    if not scan.n_packets:
        raise scan.ending or MediaError(f"{source} holds no frame")
    if not scan.n_frames and scan.ending is None:
        raise MediaError(f"{source} ends before {start or 0.0:.3f} s")
    for line in table.json_lines() if as_json else table.text_lines(scan.n_frames):
        print(line)
    if scan.n_lost:
        print_error(
            f"{source}: {scan.n_lost} of {scan.n_frames} frames were damaged or refer to one that was, and count as "
            f"no match; the first: {scan.first_error}"
        )
    if scan.ending is not None:
        print_error(f"{source}: reading stopped after {scan.n_packets} frames: {scan.ending}")
    if scan.n_lost or scan.ending is not None:
        return ExitCode.DAMAGED
    return ExitCode.FAILED if exit_code and not table.n_found else ExitCode.OK


@dataclass
class _Scan:
    """Reads a stream, and hands the frames of a range to a table."""

    start: float
    end: float | None
    n_packets: int = 0
    n_frames: int = 0  # in the range
    n_lost: int = 0
    first_error: BitstreamError | LimitError | None = None
    ending: MediaError | BitstreamError | None = None

    def run(self, reader: SsvReader, table: Table) -> None:
        """Reads up to the end of the range."""
        from ssvc_codec.editing import SceneReader

        scenes = SceneReader()
        begin: float | None = None
        try:
            for number, packet in enumerate(reader):
                self.n_packets += 1
                due = (packet.pts or 0) * packet.time_base
                reader.take_packets(due)  # else sound piles up
                begin = float(due) if begin is None else begin
                seconds = float(due) - begin
                if self.end is not None and seconds >= self.end - 1e-6:
                    return
                scene = self._read(scenes, packet)
                if seconds < self.start - 1e-6:
                    continue
                self.n_frames += 1
                self.n_lost += scene is None
                table.add(Moment(seconds, seconds + float(packet.duration * packet.time_base), number), scene)
        except (MediaError, BitstreamError) as error:
            self.ending = error
        if self.ending is None and reader.truncated:
            self.ending = MediaError("the file is truncated or damaged")

    def _read(self, scenes: SceneReader, packet: Packet) -> Scene | None:
        try:
            return scenes.read(packet.data, partial=True)
        except (BitstreamError, LimitError) as error:
            self.first_error = self.first_error or error
            return None
