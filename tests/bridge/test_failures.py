"""What the world does to files: full disks, closed pipes, interruptions."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from ffmpeg_bridge import SsvWriter, open_ssv
from ssvc_codec.errors import MediaError
from ssvc_codec.frame import VideoFormat
from ssvc_codec.packet import Packet

Call = Callable[..., Any]


VIDEO = VideoFormat(64, 48)


class _Full(io.BytesIO):
    """A file on a disk with little room."""

    def __init__(self, room: int, error: OSError) -> None:
        super().__init__()
        self._room, self._error = room, error

    def write(self, data: Any, /) -> int:
        if self.tell() + len(data) > self._room:
            raise self._error
        return super().write(data)


def _writer(sink: Any, codec_private: Call) -> SsvWriter:
    return SsvWriter(
        sink, format=VIDEO, time_base=Fraction(1, 25), codec_private=codec_private(VIDEO), average_rate=Fraction(25)
    )


def _packet(index: int) -> Packet:
    return Packet(b"packet %05d" % index * 200, index, True, 1, Fraction(1, 25))


def _write_many(writer: SsvWriter) -> None:
    with writer:
        for index in range(200):
            writer.write(_packet(index))


def test_a_full_disk_is_a_media_error(codec_private: Call) -> None:
    disk = _Full(50_000, OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(MediaError, match="No space left on device"):
        _write_many(_writer(disk, codec_private))


def test_a_closed_pipe_is_a_broken_pipe_error(codec_private: Call) -> None:
    disk = _Full(50_000, BrokenPipeError(errno.EPIPE, "Broken pipe"))
    with pytest.raises(BrokenPipeError):
        _write_many(_writer(disk, codec_private))


def test_a_real_closed_pipe_is_a_broken_pipe_error(codec_private: Call) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb", buffering=0) as pipe, pytest.raises(BrokenPipeError):
        _write_many(_writer(pipe, codec_private))


@pytest.mark.parametrize("place", ["none/a.ssv", ".", "/proc/nothing/a.ssv"])
def test_what_cannot_be_written_is_named(codec_private: Call, tmp_path: Path, place: str) -> None:
    with pytest.raises(MediaError, match="cannot write"):
        _writer(tmp_path / place, codec_private)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_a_full_device_is_a_media_error(codec_private: Call) -> None:
    with pytest.raises(MediaError, match="No space left"):
        _write_many(_writer("/dev/full", codec_private))


def test_an_error_leaves_neither_name_nor_temporary_file(codec_private: Call, tmp_path: Path) -> None:
    (tmp_path / "a.ssv").write_bytes(b"the old one")

    def fail_in_the_middle() -> None:
        with _writer(tmp_path / "a.ssv", codec_private) as writer:
            writer.write(_packet(0))
            raise RuntimeError("the encoder failed")

    with pytest.raises(RuntimeError, match="encoder"):
        fail_in_the_middle()
    assert [path.name for path in tmp_path.iterdir()] == ["a.ssv"]
    assert (tmp_path / "a.ssv").read_bytes() == b"the old one"


def test_the_name_appears_with_the_whole_file(codec_private: Call, tmp_path: Path) -> None:
    writer = _writer(tmp_path / "a.ssv", codec_private)
    writer.write(_packet(0))
    assert not (tmp_path / "a.ssv").exists()
    writer.close()
    assert [path.name for path in tmp_path.iterdir()] == ["a.ssv"]
    assert (tmp_path / "a.ssv").stat().st_mode & 0o777 == 0o666 & ~_umask()
    with pytest.raises(ValueError, match="closed"):
        writer.write(_packet(1))


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_an_interruption_leaves_a_playable_indexed_file(codec_private: Call, run: Call, tmp_path: Path) -> None:
    writer = _writer(tmp_path / "a.ssv", codec_private)
    for index in range(7):
        writer.write(_packet(index))
    writer.close()  # as after Ctrl-C
    with open_ssv(tmp_path / "a.ssv") as reader:
        assert len(list(reader)) == 7
        assert not reader.truncated
    assert "Cues" in run("mkvinfo", "-a", tmp_path / "a.ssv")


def test_packets_without_times_and_foreign_headers_are_the_callers_fault(codec_private: Call, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="without pts"), _writer(tmp_path / "a.ssv", codec_private) as writer:
        writer.write(Packet(b"x", None, True))
    with pytest.raises(ValueError, match="FourCC"):
        SsvWriter(tmp_path / "a.ssv", format=VIDEO, time_base=Fraction(1, 25), codec_private=bytes(60))
    assert list(tmp_path.iterdir()) == []
