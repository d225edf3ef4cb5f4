"""`ssvc serve` from outside: its URLs, its output streams, its end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from ssvc_codec.weights import load_model

MakeSsv = Callable[..., Path]
PROGRAM = [sys.executable, "-c", "import ssvc_codec.cli as c; c.main()", "serve"]


@pytest.fixture
def source(make_ssv: MakeSsv) -> Path:
    """An .ssv that names the installed weights; its pictures cannot be decoded."""
    return make_ssv("clip.ssv", ["p", "p", "pc"], weights=load_model("base").fingerprint)


@contextlib.contextmanager
def serving(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    command = [*PROGRAM, *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_url_for_each_file_until_a_signal(source: Path, tmp_path: Path, number: int, code: int) -> None:
    other = tmp_path / "b c.ssv"
    other.write_bytes(source.read_bytes())
    with serving(source, other, "--objects", "person,#2", "--fill", "black") as process:
        assert process.stdout is not None
        urls = [process.stdout.readline().strip() for _ in range(2)]
        assert urls[0].endswith("/clip.mkv?objects=person,%232&fill=black")
        assert urls[1].endswith("/b%20c.mkv?objects=person,%232&fill=black")
        for url in urls:
            request = urllib.request.Request(url, headers={"Range": "bytes=0-3"})
            with urllib.request.urlopen(request, timeout=30) as answer:
                assert (answer.status, answer.read()) == (206, b"\x1a\x45\xdf\xa3")
        process.send_signal(number)
        out, errors = process.communicate(timeout=60)
    assert process.returncode == code
    assert out == ""
    assert errors.count("\n") == 1
    assert urls[0] in errors


def test_nothing_but_urls_with_quiet_and_a_line_for_each_request_with_verbose(source: Path) -> None:
    with serving(source, "-q", "-v") as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(url + "x", timeout=30)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert errors == "ssvc: GET clip.mkvx  404\n"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["absent.ssv"], 1, "absent.ssv: No such file"),
        (["CLIP", "--objects", "persn"], 1, "did you mean person"),
        (["CLIP", "--flow-only", "--keyframes-only"], 2, "key frames have no flow"),
        (["CLIP", "--background-only", "--objects", "person"], 2, "does not go with --background-only"),
        (["CLIP", "--port", "70000"], 2, "less than or equal to 65535"),
        ([], 2, "IN..."),
    ],
)
def test_what_cannot_be_served_is_an_error_of_one_line(
    ssvc: Callable[..., Any], source: Path, arguments: list[str], code: int, said: str
) -> None:
    result = ssvc("serve", *(source if word == "CLIP" else word for word in arguments))
    assert (result.code, result.stdout) == (code, "")
    assert said in result.stderr


@pytest.mark.parametrize(
    ("options", "query"),
    [
        ({}, ""),
        ({"objects": ["person,dog", "#3"], "background": True}, "objects=person,dog,#3&background=1"),
        ({"exclude": ["car"], "fill": "blur"}, "exclude=car&fill=blur"),
        ({"background_only": True}, "background=only"),
        ({"background": False, "flow_only": True}, "background=0&flow=1"),
        ({"keyframes_only": True, "every": 3}, "keyframes=1&every=3"),
    ],
)
def test_options_become_a_query(options: dict[str, object], query: str) -> None:
    assert import_module("ssvc_codec.cli.serve").part_query(**options) == query
