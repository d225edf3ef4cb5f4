"""Codes or decodes for a host written in C: what `ssvc worker` does, message by message (worker_protocol.py)."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import struct
import threading
from typing import Final, NoReturn, Protocol

from ffmpeg_bridge.worker_options import DecoderOptions, EncoderOptions, parse_options
from ffmpeg_bridge.worker_protocol import (
    MAX_CONFIGURATION_BYTES,
    VERSION,
    Channel,
    ErrorCode,
    Message,
    MessageType,
    ProtocolError,
    hello,
)
from ssvc_codec.errors import SsvcError

__all__ = ["serve", "serve_files"]

_HELLO_BYTES: Final = 8


class _Session(Protocol):
    """Answers PACKET, FRAME, DRAIN and FLUSH."""

    def answer(self, message: Message, channel: Channel) -> None: ...


def serve_files(fd: int | None) -> NoReturn:
    """Serves one host over a socket, or over stdin and stdout where fd is None, and ends the process.

    From now on stdin is empty, stdout is stderr, and SIGINT is ignored: the host decides what it means. Whatever
    is going on, the process ends when the host closes its end. Raises OSError where fd is not open.
    """
    os.fstat(fd or 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    input_fd, output_fd = (os.dup(0), os.dup(1)) if fd is None else (fd, fd)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    threading.Thread(target=_end_with_host, args=(output_fd,), daemon=True).start()
    os._exit(serve(Channel(input_fd, output_fd)))  # the interpreter takes 2 s to tidy up, with nothing to save


def _end_with_host(fd: int) -> NoReturn:
    """Ends the process when nobody can read fd any more, whatever it is doing."""
    poll = select.poll()
    poll.register(fd, 0)  # POLLHUP and POLLERR are always reported
    poll.poll()
    os._exit(0)


def serve(channel: Channel) -> int:
    """Answers one host until it closes or an error ends the conversation. Returns the exit code."""
    try:
        return _converse(channel)
    except BrokenPipeError:
        return 0
    except ProtocolError as error:
        code, text = ErrorCode.FAILED, f"protocol: {error}"
    except ValueError as error:
        code, text = ErrorCode.ARGUMENT, str(error)
    except MemoryError:
        code, text = ErrorCode.FAILED, "out of memory"
    except (SsvcError, OSError) as error:
        code, text = ErrorCode.FAILED, str(error)
    except Exception as error:
        code, text = ErrorCode.FAILED, f"internal error, please report it ({type(error).__name__}: {error})"
    with contextlib.suppress(OSError):
        channel.write_error(code, " ".join(text.split()))
    return 1


def _converse(channel: Channel) -> int:
    session: _Session | None = None
    has_greeted = False
    while (message := channel.read_head()) is not None and message.type is not MessageType.BYE:
        if message.type is MessageType.HELLO and not has_greeted:
            _greet(message, channel)
            has_greeted = True
        elif not has_greeted:
            raise ProtocolError("HELLO comes first")
        elif message.type in (MessageType.CONFIGURE_DECODER, MessageType.CONFIGURE_ENCODER) and session is None:
            session = _configure(message, channel)
        elif session is None:
            raise ProtocolError(f"{message.type.name} before the configuration")
        else:
            session.answer(message, channel)
    return 0


def _greet(message: Message, channel: Channel) -> None:
    data = channel.read(message.size) if message.size == _HELLO_BYTES else b""
    if data[:4] != hello()[:4]:
        raise ProtocolError("HELLO does not begin with SSVW")
    if data != hello():
        raise ProtocolError(f"version {struct.unpack('<I', data[4:])[0]} is not known, this worker speaks {VERSION}")
    channel.write(MessageType.HELLO, hello())


def _configure(message: Message, channel: Channel) -> _Session:
    if not 4 <= message.size <= MAX_CONFIGURATION_BYTES:
        raise ProtocolError(f"a configuration of {message.size} bytes")
    data = channel.read(message.size)
    end = 4 + int.from_bytes(data[:4], "little")
    if end > len(data):
        raise ProtocolError("the extradata is longer than its message")
    options = parse_options(data[end:])
    from ffmpeg_bridge.worker_sessions import DecoderSession, EncoderSession

    if message.type is MessageType.CONFIGURE_DECODER:
        session: _Session = DecoderSession(data[4:end], DecoderOptions.parse(options))
        channel.write(MessageType.CONFIGURED)
    else:
        encoder = session = EncoderSession(EncoderOptions.parse(options))
        channel.write(MessageType.CONFIGURED, encoder.sequence_header)
    return session
