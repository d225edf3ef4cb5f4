"""A loopback HTTP server that offers the decoded video of .ssv files."""

from __future__ import annotations

import contextlib
import hmac
import secrets
import socket
import socketserver
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from ffmpeg_bridge.serving.frames import FramePool, Stream
from ffmpeg_bridge.serving.part import Part, encode_query
from ffmpeg_bridge.serving.pictures import DecoderOptions
from ffmpeg_bridge.serving.request import RequestHandler
from ffmpeg_bridge.serving.source import SsvSource
from ssvc_codec.errors import MediaError
from ssvc_codec.weights import load_model

__all__ = ["Statistics", "VideoServer"]

_HOST = "127.0.0.1"
_MAX_PARTS = 32
_SEND_BUFFER_BYTES = 1 << 17


@dataclass(frozen=True, slots=True)
class Statistics:
    """What a server has done so far."""

    n_requests: int
    n_frames_decoded: int  # each time a frame was decoded counts
    n_frames_concealed: int


@dataclass(slots=True)
class _Offer:
    path: str
    source: SsvSource
    streams: dict[Part, Stream]


class HttpServer(ThreadingHTTPServer):
    """Listens on loopback alone. Knows its open connections, so that it can end them."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 32

    def __init__(self, port: int, owner: VideoServer) -> None:
        self.owner = owner
        self._open: dict[socket.socket, threading.Thread] = {}
        self._lock = threading.Lock()
        super().__init__((_HOST, port), RequestHandler)

    def server_bind(self) -> None:
        """Takes the port."""
        # HTTPServer's own asks the name service for the name of 127.0.0.1
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = _HOST, self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serves one connection in a thread of its own, which end_connections knows from the start."""
        # what lies in buffers was decoded for nobody when a reader seeks
        request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        thread = threading.Thread(target=self.process_request_thread, args=(request, client_address), daemon=True)
        with self._lock:
            self._open[request] = thread
        thread.start()

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """All requests of one connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._lock:
                del self._open[request]

    def handle_error(self, request: object, client_address: object) -> None:
        """Connections break: a reader that goes away is no error of ours."""

    def end_connections(self) -> None:
        """Ends every connection, and waits for the threads."""
        with self._lock:
            connections = dict(self._open)
            for connection in connections:
                with contextlib.suppress(OSError):  # it may have ended by itself
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in connections.values():
            thread.join()


class VideoServer:
    """Offers .ssv files as seekable Matroska files of raw video, decoded while they are read.

    Only this machine can reach it, and only whoever knows the URL: its path is a secret.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        device: str = "auto",
        threads: int = 0,
        model: str | None = None,
        strict: bool = False,
        log: Callable[[str], None] | None = None,
    ) -> None:
        """port: 0 takes any that is free. Others: see Decoder. log: gets a line for each request and each failure.

        Raises MediaError where the port is taken.
        """
        self._model = model
        self.pool = FramePool(DecoderOptions(device, threads, model, strict))
        self.log = log
        self._offers: list[_Offer] = []
        self._lock = threading.Lock()
        self._n_requests = 0
        self._thread: threading.Thread | None = None
        try:
            self._http = HttpServer(port, self)
        except (OSError, OverflowError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise MediaError(f"cannot listen on port {port} of {_HOST}: {reason}") from error

    @property
    def port(self) -> int:
        """The port in use."""
        return self._http.server_port

    @property
    def statistics(self) -> Statistics:
        """What was done so far."""
        return Statistics(self._n_requests, self.pool.n_decoded, self.pool.n_concealed)

    def add(self, source: str | Path) -> str:
        """Offers one .ssv; gives its URL. Its index is made here.

        Raises MediaError, and ModelError where the weights are not there that the stream was coded with.
        """
        return self._url(self._offer(source))

    def url(self, source: str | Path, query: str) -> str:
        """The URL of a part of an .ssv, which is added if it is new.

        query: as one writes it after "?": "objects=person,#3&background=0&flow=1". Raises MediaError, ModelError.
        """
        offer = self._offer(source)
        try:
            self._stream(offer, query)
        except ValueError as error:
            raise MediaError(f"{source}?{query}: {error}") from error
        encoded = encode_query(query)
        return self._url(offer) + ("?" + encoded if encoded else "")

    def _url(self, offer: _Offer) -> str:
        return f"http://{_HOST}:{self.port}{offer.path}"

    def _offer(self, source: str | Path) -> _Offer:
        path = Path(source)
        for offer in self._offers:
            if offer.source.path == path:
                return offer
        opened = SsvSource(path)
        try:
            header = opened.sequence_header
            load_model(self._model or header.model, header.weights_hash)
        except BaseException:
            opened.close()
            raise
        name = quote(path.stem, safe="") or "video"
        self._offers.append(_Offer(f"/{secrets.token_urlsafe(24)}/{name}.mkv", opened, {}))
        return self._offers[-1]

    def _stream(self, offer: _Offer, query: str) -> Stream:
        part = Part.from_query(query)
        with self._lock:
            stream = offer.streams.get(part)
            if stream is None:
                stream = Stream(offer.source, part)
                while len(offer.streams) >= _MAX_PARTS:
                    del offer.streams[next(iter(offer.streams))]
                offer.streams[part] = stream
            return stream

    def find(self, path: str, query: str) -> Stream | None:
        """What a request asks for; None where no file is offered there. Raises ValueError: a wrong query."""
        found: _Offer | None = None
        for offer in self._offers:
            if hmac.compare_digest(offer.path.encode(), path.encode("utf-8", "surrogateescape")):
                found = offer
        return None if found is None else self._stream(found, query)

    def count_request(self) -> None:
        """Takes note of a request."""
        with self._lock:
            self._n_requests += 1

    def start(self) -> None:
        """Answers requests from now on, in threads of its own."""
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends all connections and closes the files."""
        if self._thread is not None:
            self._http.shutdown()
            self._thread.join()
            self._thread = None
        self._http.end_connections()
        self._http.server_close()
        for offer in self._offers:
            offer.source.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
