"""One connection: requests in, bytes of virtual files out."""

from __future__ import annotations

import select
import socket
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from ffmpeg_bridge.serving.byte_range import ByteRange, UnsatisfiableRangeError, parse_range
from ffmpeg_bridge.serving.frames import Reader, ReaderGoneError
from ssvc_codec.errors import SsvcError

if TYPE_CHECKING:
    from ffmpeg_bridge.serving.frames import Stream
    from ffmpeg_bridge.serving.server import HttpServer, VideoServer

__all__ = ["RequestHandler"]

_NAMES = frozenset({"127.0.0.1", "localhost"})


class RequestHandler(BaseHTTPRequestHandler):
    """Answers GET and HEAD. Writes no more than the reader takes, and decodes no frame before its turn."""

    protocol_version = "HTTP/1.1"
    error_content_type = "text/plain; charset=utf-8"
    error_message_format = "%(message)s\n"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """Sends a virtual file, or a range of it."""
        stream = self._find()
        if stream is None:
            return
        size = stream.file.size
        try:
            asked = parse_range(self.headers.get("Range"), size) if self._may_be_partial(stream) else None
        except UnsatisfiableRangeError:
            self._refuse(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, content_range=f"bytes */{size}")
            return
        self._send_head(stream, asked)
        self._send_bytes(stream, asked or ByteRange(0, size))

    def do_HEAD(self) -> None:
        """Sends what GET would say. Ranges are for GET alone (RFC 9110, section 14.2)."""
        stream = self._find()
        if stream is not None:
            self._send_head(stream, None)

    def _not_allowed(self) -> None:
        self.close_connection = True  # what the request carries is not read
        self._refuse(HTTPStatus.METHOD_NOT_ALLOWED, allow="GET, HEAD")

    do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_TRACE = do_CONNECT = _not_allowed  # noqa: N815

    def version_string(self) -> str:
        """The Server header field."""
        return "ssvc"

    @property
    def _owner(self) -> VideoServer:
        return cast("HttpServer", self.server).owner

    def _find(self) -> Stream | None:
        """What is asked for. None where the answer was already given: it is refused."""
        self._owner.count_request()
        if self.headers.get("Content-Length") or self.headers.get("Transfer-Encoding"):
            self.close_connection = True
        host = self.headers.get("Host", "")
        name, _, port = host.partition(":")
        if name.lower() not in _NAMES or (port and not port.isdecimal()):
            # a page of the web whose name was made to point here is not to read what is offered
            self._refuse(HTTPStatus.FORBIDDEN)
            return None
        try:
            parts = urlsplit(self.path)
            stream = self._owner.find(parts.path, parts.query)
        except ValueError as error:
            self._refuse(HTTPStatus.BAD_REQUEST, str(error))
            return None
        except SsvcError as error:
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, str(error))
            return None
        if stream is None:
            self._refuse(HTTPStatus.NOT_FOUND)
        return stream

    def _may_be_partial(self, stream: Stream) -> bool:
        condition = self.headers.get("If-Range")
        return condition is None or condition == _etag(stream)

    def _send_head(self, stream: Stream, asked: ByteRange | None) -> None:
        size = stream.file.size
        self.send_response(HTTPStatus.OK if asked is None else HTTPStatus.PARTIAL_CONTENT)
        self.send_header("Content-Type", "video/x-matroska")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", _etag(stream))
        self.send_header("Content-Length", str(size if asked is None else asked.stop - asked.start))
        if asked is not None:
            self.send_header("Content-Range", f"bytes {asked.start}-{asked.stop - 1}/{size}")
        self._end_head()

    def _end_head(self) -> None:
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()

    def _refuse(
        self, status: HTTPStatus, reason: str | None = None, *, content_range: str | None = None, allow: str = ""
    ) -> None:
        text = f"{reason or status.phrase}\n".encode("utf-8", "replace")
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(text)))
        if content_range is not None:
            self.send_header("Content-Range", content_range)
        if allow:
            self.send_header("Allow", allow)
        self._end_head()
        if self.command != "HEAD":
            self.wfile.write(text)

    def _send_bytes(self, stream: Stream, wanted: ByteRange) -> None:
        reader = Reader(self._is_gone)
        pool = self._owner.pool
        try:
            for piece in stream.file.pieces(*wanted, lambda place: pool.frame(stream, place, reader)):
                self.connection.sendall(piece)
        except (ReaderGoneError, ConnectionError):
            self.close_connection = True
        except (SsvcError, ValueError, OSError) as error:
            self.close_connection = True  # the length is promised: only the end of the connection tells
            self._log_failure(str(error))
        finally:
            reader.is_active = False

    def _is_gone(self) -> bool:
        """Whether the other side has closed the connection."""
        readable, _, _ = select.select([self.connection], [], [], 0)
        if not readable:
            return False
        try:
            return not self.connection.recv(1, socket.MSG_PEEK)
        except OSError:
            return True

    def _log_failure(self, text: str) -> None:
        if self._owner.log is not None:
            self._owner.log(text)

    def log_message(self, format: str, *args: object) -> None:
        """A line for each request, where they are asked for; the secret is not in it."""
        if self._owner.log is not None:
            self._owner.log(format % args)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """See log_message."""
        del size
        number = code.value if isinstance(code, HTTPStatus) else code
        name = urlsplit(self.path).path.rpartition("/")[2]
        self.log_message("%s", f"{self.command} {name} {self.headers.get('Range', '')} {number}")


def _etag(stream: Stream) -> str:
    return f'"{stream.file.size:x}-{abs(hash(stream.part)):x}"'
