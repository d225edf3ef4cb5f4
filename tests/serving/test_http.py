"""HTTP: statuses, header fields, ranges, and what a reader that goes away leaves behind."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from ffmpeg_bridge.serving import VideoServer
from ffmpeg_bridge.serving.byte_range import ByteRange, UnsatisfiableRangeError, parse_range
from ssvc_codec.errors import MediaError

from .conftest import N_FRAMES, connection_of


class Answer(NamedTuple):
    status: int
    fields: Mapping[str, str]
    body: bytes


def ask(url: str, method: str = "GET", *, path: str | None = None, **fields: str) -> Answer:
    host, target = connection_of(url)
    connection = http.client.HTTPConnection(host, timeout=60)
    try:
        headers = {name.replace("_", "-"): value for name, value in fields.items()}
        connection.request(method, target if path is None else path, headers=headers)
        answer = connection.getresponse()
        return Answer(answer.status, dict(answer.headers), answer.read())
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, None),
        ("bytes=0-0", (0, 1)),
        ("bytes=10-", (10, 100)),
        ("bytes=-1", (99, 100)),
        ("bytes=-1000", (0, 100)),
        ("bytes=90-1000", (90, 100)),
        ("BYTES=5-6", (5, 7)),
        ("bytes=6-5", None),
        ("bytes=a-b", None),
        ("bytes=-", None),
        ("bytes=0-1,4-5", None),
        ("lines=0-1", None),
        ("bytes=+1-2", None),
    ],
)
def test_a_range_is_read_as_rfc_9110_says(text: str | None, expected: ByteRange | None) -> None:
    assert parse_range(text, 100) == expected


@pytest.mark.parametrize("text", ["bytes=100-", "bytes=100-200", "bytes=-0"])
def test_a_range_beyond_the_file_cannot_be_satisfied(text: str) -> None:
    with pytest.raises(UnsatisfiableRangeError):
        parse_range(text, 100)


def test_whole_and_part_have_their_status_and_length(server: VideoServer, deep: Path) -> None:
    url = server.add(deep)
    whole = ask(url)
    assert (whole.status, whole.fields["Accept-Ranges"]) == (200, "bytes")
    assert whole.fields["Content-Type"] == "video/x-matroska"
    size = int(whole.fields["Content-Length"])
    assert len(whole.body) == size
    part = ask(url, Range="bytes=1000-1999")
    assert (part.status, part.fields["Content-Range"]) == (206, f"bytes 1000-1999/{size}")
    assert part.body == whole.body[1000:2000]
    assert ask(url, Range="bytes=-10").body == whole.body[-10:]
    assert ask(url, Range=f"bytes={size - 5}-").body == whole.body[-5:]
    assert ask(url, Range="bytes=0-1,4-5").body == whole.body
    assert ask(url, Range="bytes=0-3", If_Range=whole.fields["ETag"]).status == 206
    assert ask(url, Range="bytes=0-3", If_Range='"another"').status == 200
    beyond = ask(url, Range=f"bytes={size}-")
    assert (beyond.status, beyond.fields["Content-Range"]) == (416, f"bytes */{size}")


def test_head_decodes_nothing(server: VideoServer, deep: Path) -> None:
    answer = ask(server.add(deep), "HEAD")
    assert answer.status == 200
    assert int(answer.fields["Content-Length"]) > 10_000
    assert answer.body == b""
    assert server.statistics.n_frames_decoded == 0


def test_only_the_secret_path_is_found(server: VideoServer, deep: Path) -> None:
    url = server.add(deep)
    _, path = connection_of(url)
    assert len(path.split("/")[1]) >= 32
    folder = path.rpartition("/")[0]
    for other in ("/", "/favicon.ico", folder, folder + "/", path + "x", path[:-1], "/x" + path, path.upper()):
        answer = ask(url, path=other)
        assert (answer.status, answer.body) == (404, b"Not Found\n"), other


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_other_methods_are_not_allowed(server: VideoServer, deep: Path, method: str) -> None:
    answer = ask(server.add(deep), method)
    assert (answer.status, answer.fields["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("host", ["example.com", "example.com:80", "127.0.0.1.example.com", "", "127.0.0.1:x"])
def test_a_name_that_was_made_to_point_here_is_forbidden(server: VideoServer, deep: Path, host: str) -> None:
    assert ask(server.add(deep), Host=host).status == 403


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "LOCALHOST:1"])
def test_names_of_this_machine_are_served(server: VideoServer, deep: Path, host: str) -> None:
    assert ask(server.add(deep), "HEAD", Host=host).status == 200


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("object=person", "'object' is unknown"),
        ("objects=persn", "did you mean person"),
        ("background=2", "background=2"),
        ("every=0", "every=0"),
        ("flow=1&keyframes=1", "key frames have no flow"),
        ("fill=pink", "fill=pink"),
        ("objects=", "objects names nothing"),
        ("flow=1&flow=1", "flow is given twice"),
    ],
)
def test_a_wrong_query_is_told_what_is_wrong(server: VideoServer, rich: Path, query: str, reason: str) -> None:
    answer = ask(server.add(rich) + "?" + query)
    assert answer.status == 400
    assert answer.fields["Content-Type"] == "text/plain; charset=utf-8"
    assert reason in answer.body.decode()
    with pytest.raises(MediaError, match=reason):
        server.url(rich, query)


def test_the_query_is_encoded_for_a_url(server: VideoServer, rich: Path) -> None:
    assert server.url(rich, "objects=person,#9&background=1").endswith(".mkv?objects=person,%239&background=1")
    assert server.url(rich, "") == server.add(rich)


def test_what_is_no_ssv_is_refused(server: VideoServer, tmp_path: Path) -> None:
    path = tmp_path / "x.ssv"
    path.write_bytes(b"no Matroska")
    for name in (path, tmp_path / "absent.ssv", tmp_path):
        with pytest.raises(MediaError, match=str(name)):
            server.add(name)


def test_a_port_that_is_taken_is_an_error(server: VideoServer) -> None:
    with pytest.raises(MediaError, match="cannot listen on port"):
        VideoServer(port=server.port)


def test_requests_follow_one_another_on_one_connection(server: VideoServer, deep: Path) -> None:
    host, path = connection_of(server.add(deep))
    connection = http.client.HTTPConnection(host, timeout=60)
    bodies: list[bytes] = []
    for text in ("bytes=0-99", "bytes=5000-5099", "bytes=0-99"):
        connection.request("GET", path, headers={"Range": text})
        bodies.append(connection.getresponse().read())
    connection.close()
    assert bodies[0] == bodies[2] != bodies[1]


def test_a_slow_reader_makes_the_decoder_wait(server: VideoServer, rich: Path) -> None:
    """It reads nothing: what fits into the buffers of the connection is decoded, and no more."""
    url = server.add(rich)
    host, path = connection_of(url)
    name, port = host.split(":")
    with socket.socket() as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.connect((name, int(port)))
        reader.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        reader.recv(64)
        assert ask(url, Range="bytes=0-99").status == 206  # others are served meanwhile
    assert server.statistics.n_frames_decoded < N_FRAMES


def test_closing_ends_connections_and_threads(deep: Path) -> None:
    before = set(threading.enumerate())
    server = VideoServer(threads=1)
    server.start()
    host, path = connection_of(server.add(deep))
    name, port = host.split(":")
    with socket.create_connection((name, int(port))) as idle:
        idle.sendall(f"HEAD {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert idle.recv(4096)
        server.close()
        assert idle.recv(4096) == b""
    assert set(threading.enumerate()) <= before
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((name, int(port)))
