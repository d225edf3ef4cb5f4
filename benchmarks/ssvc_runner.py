"""Code one clip with ssvc in a process of its own, so that its peak memory can be told.

    python benchmarks/ssvc_runner.py encode source.y4m coded.packets --crf 28
    python benchmarks/ssvc_runner.py decode coded.packets decoded.y4m

Frames stream through; each run prints one JSON object. `.packets` is a private format of this file: the sequence
header and the packets, each after its length. Their sizes are those of the packets in an .ssv file.
"""

from __future__ import annotations

import argparse
import json
import resource
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from ssvc_codec.evaluation.clip import Y4M_FRAME_MARKER, Y4mReader, frame_bytes, y4m_header
from ssvc_codec.frame import Frame, VideoFormat
from ssvc_codec.packet import Packet

if TYPE_CHECKING:
    from ssvc_codec.decoder import Decoder
    from ssvc_codec.encoder import Encoder

LENGTH = struct.Struct("<I")
PACKET_HEAD = struct.Struct("<Iq?")  # bytes, pts, is_keyframe


@dataclass(frozen=True)
class RunReport:
    """What one run of this program prints."""

    n_frames: int
    n_bytes: int  # of all packets
    setup_seconds: float  # import, weights, first object; not part of coding_seconds
    coding_seconds: float  # in send and flush
    peak_rss_bytes: int


@dataclass(frozen=True)
class RunOptions:
    """What encoder and decoder have in common."""

    model: str = "base"  # name or folder
    preset: str = "medium"
    threads: int = 1
    device: str = "cpu"

    def arguments(self) -> list[str]:
        """For the command line of this file."""
        options = ["--model", self.model, "--preset", self.preset, "--threads", str(self.threads)]
        return [*options, "--device", self.device]

    @property
    def model_folder(self) -> str | None:
        """For Decoder: the model where it is a folder; else the stream names it."""
        return self.model if Path(self.model).is_dir() else None


def open_encoder(format: VideoFormat, *, time_base: Fraction, crf: float, keyint: int, options: RunOptions) -> Encoder:
    """An encoder with key frames where keyint says and nowhere else, whatever the scenes are."""
    from ssvc_codec.encoder import Encoder

    return Encoder(
        format,
        time_base=time_base,
        crf=crf,
        keyint=keyint,
        preset=options.preset,  # type: ignore[arg-type]
        model=options.model,
        device=options.device,
        threads=options.threads,
        scenecut=False,
    )


def open_decoder(sequence_header: bytes, *, options: RunOptions, parts: frozenset[str] | None = None) -> Decoder:
    """A decoder of whole frames, or of some parts."""
    from ssvc_codec.decoder import Decoder

    return Decoder(
        sequence_header, model=options.model_folder, device=options.device, threads=options.threads, parts=parts
    )


def decode_frames(decoder: Decoder, packet: Packet | None) -> list[Frame]:
    """Frames of one packet, or at the end (None), from a decoder that was opened without parts."""
    return cast("list[Frame]", decoder.flush() if packet is None else decoder.send(packet))


def run_encoder(source: Path, coded: Path, *, crf: float, keyint: int, options: RunOptions) -> RunReport:
    """Encode a y4m file in a child process."""
    return run_self("encode", source, coded, ["--crf", f"{crf:g}", "--keyint", str(keyint), *options.arguments()])


def run_decoder(coded: Path, decoded: Path, *, options: RunOptions) -> RunReport:
    """Decode to a y4m file in a child process."""
    return run_self("decode", coded, decoded, options.arguments())


def run_self(mode: str, source: Path, target: Path, options: list[str]) -> RunReport:
    """Start this file as a program. Raises CalledProcessError with its stderr passed through."""
    command = [sys.executable, str(Path(__file__).resolve()), mode, str(source), str(target), *options]
    result = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return RunReport(**json.loads(result.stdout))


def peak_rss_bytes() -> int:
    """Largest resident size of this process. VmHWM where there is one: ru_maxrss may begin at the parent's size."""
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def encode(source: Path, coded: Path, args: argparse.Namespace) -> RunReport:
    """Encode source frame by frame."""
    start = time.perf_counter()
    with source.open("rb") as file, coded.open("wb") as out:
        reader = Y4mReader(file)
        encoder = open_encoder(
            reader.format,
            time_base=1 / reader.frame_rate,
            crf=args.crf,
            keyint=args.keyint,
            options=run_options(args),
        )
        setup_seconds = time.perf_counter() - start
        for blob in (str(reader.frame_rate).encode(), encoder.sequence_header):
            out.write(LENGTH.pack(len(blob)) + blob)
        n_frames, n_bytes, coding_seconds = 0, 0, 0.0
        for frame in chain(reader, [None]):
            start = time.perf_counter()
            packets = encoder.flush() if frame is None else encoder.send(frame)
            coding_seconds += time.perf_counter() - start
            n_frames += frame is not None
            n_bytes += sum(len(packet.data) for packet in packets)
            for packet in packets:
                out.write(PACKET_HEAD.pack(len(packet.data), packet.pts or 0, packet.is_keyframe) + packet.data)
    return RunReport(n_frames, n_bytes, setup_seconds, coding_seconds, peak_rss_bytes())


def decode(coded: Path, decoded: Path, args: argparse.Namespace) -> RunReport:
    """Decode packet by packet."""
    start = time.perf_counter()
    with coded.open("rb") as file, decoded.open("wb") as out:
        frame_rate, sequence_header = Fraction(read_blob(file).decode()), read_blob(file)
        decoder = open_decoder(sequence_header, options=run_options(args))
        setup_seconds = time.perf_counter() - start
        n_frames, n_bytes, coding_seconds = 0, 0, 0.0
        for packet in chain(read_packets(file, time_base=1 / frame_rate), [None]):
            start = time.perf_counter()
            frames = decode_frames(decoder, packet)
            coding_seconds += time.perf_counter() - start
            n_bytes += 0 if packet is None else len(packet.data)
            for frame in frames:
                if n_frames == 0:
                    out.write(y4m_header(frame.format, frame_rate))
                out.write(Y4M_FRAME_MARKER + frame_bytes(frame))
                n_frames += 1
    return RunReport(n_frames, n_bytes, setup_seconds, coding_seconds, peak_rss_bytes())


def read_blob(file: BinaryIO) -> bytes:
    """One length-prefixed string."""
    (length,) = LENGTH.unpack(file.read(LENGTH.size))
    return file.read(length)


def read_packets(file: BinaryIO, *, time_base: Fraction) -> Iterator[Packet]:
    """The packets to the end of the file."""
    while head := file.read(PACKET_HEAD.size):
        length, pts, is_keyframe = PACKET_HEAD.unpack(head)
        yield Packet(file.read(length), pts, is_keyframe, 1, time_base)


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of RunOptions, for every script that runs ssvc."""
    defaults = RunOptions()
    parser.add_argument("--model", default=defaults.model, help="of ssvc: name or folder")
    parser.add_argument("--preset", default=defaults.preset, help="of ssvc")
    parser.add_argument("--threads", type=int, default=defaults.threads)
    parser.add_argument("--device", default=defaults.device)


def run_options(args: argparse.Namespace) -> RunOptions:
    """What add_options read."""
    return RunOptions(args.model, args.preset, args.threads, args.device)


def main() -> int:
    """Encode or decode one file and print the RunReport."""
    parser = argparse.ArgumentParser(description="Code one clip with ssvc and tell time and memory.")
    parser.add_argument("mode", choices=["encode", "decode"])
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--crf", type=float, default=28)
    parser.add_argument("--keyint", type=int, default=1)
    add_options(parser)
    args = parser.parse_args()
    report = (encode if args.mode == "encode" else decode)(args.source, args.target, args)
    print(json.dumps(asdict(report)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
