"""`ssvc worker` as a process."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from ffmpeg_bridge.worker_protocol import Channel, MessageType, hello

COMMAND = [sys.executable, "-c", "import ssvc_codec.cli as c; c.main()", "worker"]


@pytest.fixture
def start() -> Iterator[Callable[[], tuple[subprocess.Popen[bytes], socket.socket]]]:
    """Starts workers that have greeted."""
    with contextlib.ExitStack() as stack:

        def run() -> tuple[subprocess.Popen[bytes], socket.socket]:
            ours, theirs = socket.socketpair()
            stack.enter_context(ours)
            with theirs:
                number = theirs.fileno()
                process = subprocess.Popen(
                    [*COMMAND, "--fd", str(number)], pass_fds=[number], stdout=subprocess.PIPE, stderr=subprocess.PIPE
                )
            stack.enter_context(process)
            stack.callback(process.kill)
            channel = Channel(ours.fileno(), ours.fileno())
            channel.write(MessageType.HELLO, hello())
            head = channel.read_head()
            assert head is not None
            assert channel.read(head.size) == hello()
            return process, ours

        yield run


def test_it_ends_when_the_host_closes_and_says_nothing(
    start: Callable[[], tuple[subprocess.Popen[bytes], socket.socket]],
) -> None:
    process, connection = start()
    connection.close()
    assert process.communicate(timeout=30) == (b"", b"")
    assert process.returncode == 0


def test_ctrl_c_is_left_to_the_host(start: Callable[[], tuple[subprocess.Popen[bytes], socket.socket]]) -> None:
    process, connection = start()
    process.send_signal(signal.SIGINT)
    channel = Channel(connection.fileno(), connection.fileno())
    channel.write(MessageType.CONFIGURE_DECODER, bytes(4))
    head = channel.read_head()
    assert head is not None
    assert head.type is MessageType.CONFIGURED
    channel.write(MessageType.BYE)
    assert process.communicate(timeout=30) == (b"", b"")
    assert process.returncode == 0


def test_it_speaks_over_stdin_and_stdout_too() -> None:
    sent = b"\x08\0\0\0\1\0\0\0" + hello() + b"\0\0\0\0\x0b\0\0\0"
    result = subprocess.run(COMMAND, input=sent, capture_output=True, timeout=60, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, sent[:16], b"")


def test_a_socket_that_is_not_open_is_an_error() -> None:
    with open(os.devnull) as nothing:
        number = nothing.fileno() + 50
    result = subprocess.run([*COMMAND, "--fd", str(number)], capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 1
    assert "Bad file descriptor" in result.stderr
    assert "Traceback" not in result.stderr
