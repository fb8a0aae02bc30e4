"""`hcq query` beside a running `hcq serve`: the same bytes as without it, and never more than it can answer."""

from __future__ import annotations

import fcntl
import itertools
import os
import re
import resource
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from served import Served

from hcq_cli.running_server import SOCKET, answered, socket_address
from hcq_cli.web.shells import Shells

pytest.importorskip("starlette")
TIMES = re.compile(rb'"ms": \{[^}]*\}|\(text .* ms\)')
"""What differs from run to run."""


def shell(served: Served, *arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """The command as a shell starts it, which may ask the server."""
    usual = {name: value for name, value in os.environ.items() if not name.startswith("HCQ_")}
    command = [sys.executable, "-m", "hcq_cli", *arguments]
    return subprocess.run(
        command, cwd=served.workspace.parent, capture_output=True, env={**usual, "NO_COLOR": "1", **environment}
    )


@pytest.fixture(scope="module")
def socket_file(served: Served) -> Path:
    """The server's, once it is ready."""
    path = served.workspace / SOCKET
    for _ in range(600):
        if path.exists():
            return path
        time.sleep(0.1)
    raise AssertionError("no socket")


ASKED = [
    ["a man cooking"],
    ["a", "man", "cooking", "-k", "3", "--json"],
    ["a dog", "-k", "4", "--by", "segment", "--sort", "path", "--offset", "2", "--columns", "folder"],
    ["a dog", "--where", "folder = 'gone'", "--exact", "--json", "-q"],
    ["a dog", "--like", "plain.mp4", "--not", "red ball", "--json"],
    ["--like", "gone/7.mp4", "-k", "2"],
    ['"plain"', "--all"],
    ["-cat dog", "-k", "2"],
    ["--", "a"],
]


@pytest.mark.usefixtures("socket_file")
@pytest.mark.parametrize("asked", ASKED, ids=" ".join)
def test_the_answer_is_the_commands_own_to_the_byte(
    hcq: Callable[..., Any], served: Served, asked: list[str]
) -> None:
    fast = shell(served, "query", "-v", *asked)
    by_itself = hcq("query", *asked, cwd=served.workspace.parent)
    says = fast.stderr.partition(b"\n")
    assert fast.returncode == 0 and (says[0].startswith(b"answered by the hcq serve") or "-q" in asked)
    out, err = fast.stdout, fast.stderr if "-q" in asked else says[2]
    mine, theirs = (b"\0".join(each) for each in ((out, err), (_bytes(by_itself.out), _bytes(by_itself.err))))
    assert TIMES.sub(b"", mine) == TIMES.sub(b"", theirs)


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")


def test_it_looks_the_same_on_a_terminal(served: Served, socket_file: Path) -> None:
    def seen(**environment: str) -> bytes:
        ours, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 44, 0, 0))
        usual = {name: value for name, value in os.environ.items() if not name.startswith("HCQ_")}
        command = [sys.executable, "-m", "hcq_cli", "query", "a man cooking", "-q"]
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), theirs)
        usual |= {"TERM": "xterm-256color", **environment}
        subprocess.run(command, cwd=served.workspace.parent, env=usual, check=True, **streams)
        os.close(theirs)
        printed = b""
        try:
            while more := os.read(ours, 1 << 16):
                printed += more
        except OSError:  # the end of a terminal
            os.close(ours)
        return TIMES.sub(b"", printed)

    by_server = seen()
    assert b"\x1b[" in by_server
    assert by_server == seen(HCQ_QUERY_K="10")  # which the server does not look at


@pytest.mark.usefixtures("socket_file")
def test_what_the_server_cannot_answer_the_command_does(served: Served) -> None:
    done = shell(served, "query", "a dog", "--threads", "1", "-v")
    assert done.returncode == 0 and b"answered by" not in done.stderr and b"plain.mp4" in done.stdout


@pytest.mark.usefixtures("socket_file")
def test_a_new_generation_answers(hcq: Callable[..., Any], served: Served) -> None:
    hcq("index", "remove", "gone/8.mp4", "-w", served.workspace)
    done = shell(served, "query", "a dog", "-k", "200", "--json", "-v")
    assert b"answered by" in done.stderr
    assert b'"videos_searched": 106' in done.stdout and b"gone/8.mp4" not in done.stdout


@pytest.mark.usefixtures("socket_file")
def test_settings_of_the_folder_hold(served: Served) -> None:
    file = served.workspace.parent / "hcq.toml"
    file.write_text("[query]\nk = 2\n")
    try:
        done = shell(served, "query", "a dog", "--json", "-v")
    finally:
        file.unlink()
    assert done.stdout.count(b'"rank"') == 2 and b"answered by" not in done.stderr


@pytest.mark.usefixtures("socket_file")
@pytest.mark.parametrize("asked", [["--help"], ["a", "--sort", "size"], ["--like", "none.mp4"], ["a", "-w", "/gone"]])
def test_help_and_errors_are_the_commands_own(hcq: Callable[..., Any], served: Served, asked: list[str]) -> None:
    done = shell(served, "query", *asked)
    by_itself = hcq("query", *asked, cwd=served.workspace.parent, code=None)
    assert (done.returncode, done.stdout, done.stderr) == (
        by_itself.code,
        _bytes(by_itself.out),
        _bytes(by_itself.err),
    )


def test_the_socket_is_the_persons_own(socket_file: Path) -> None:
    assert socket_file.stat().st_mode & 0o777 == 0o600


def test_it_asks_without_what_a_query_imports() -> None:
    script = (
        "import sys, hcq_cli.running_server as server\n"
        "assert server.answered(['query', 'a'], '0') is None\n"
        "print(sorted({'numpy', 'onnxruntime', 'typer', 'rich', 'dataclasses'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, cwd="/")
    assert done.stdout == b"[]\n", done.stderr


def test_without_descriptors_it_waits_and_then_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual, accept, tries = resource.getrlimit(resource.RLIMIT_NOFILE), socket.socket.accept, itertools.count()
    monkeypatch.setattr("socket.socket.accept", lambda listener: (next(tries), accept(listener))[1])
    with Shells(tmp_path, lambda asked: asked), ExitStack() as stack:
        asking = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(2)]
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, usual[1]))
        try:
            for each in asking:  # the first may still get what was set aside when it was waited for
                each.settimeout(10)
                each.connect(socket_address(str(tmp_path / SOCKET)))
                each.sendall(b'{"a": 1}')
                each.shutdown(socket.SHUT_WR)
            time.sleep(0.5)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, usual)
        assert [each.recv(100) for each in asking] == [b'{"a": 1}'] * 2 and next(tries) < 20
    assert not list(tmp_path.iterdir())


def say_something(listener: socket.socket) -> None:
    """Answer one shell as no hcq does."""
    connection, _ = listener.accept()
    with connection:
        while connection.recv(1 << 10):
            pass
        connection.sendall(b'{"hello": 1}')


@pytest.mark.parametrize("state", ["dead", "silent", "foreign", "no socket", "strange"])
def test_a_socket_that_does_not_answer_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    monkeypatch.setattr("hcq_cli.running_server.ANSWER_S", 0.2)
    for name in [name for name in os.environ if name.startswith("HCQ_")]:
        monkeypatch.delenv(name)
    path = tmp_path / SOCKET
    listener = socket.socket(socket.AF_UNIX)
    if state == "no socket":
        path.write_text("")
    else:
        listener.bind(socket_address(str(path)))
    if state in ("silent", "strange"):
        listener.listen()
    if state == "strange":
        threading.Thread(target=say_something, args=(listener,), daemon=True).start()
    if state == "foreign":
        monkeypatch.setattr("os.geteuid", lambda: os.getuid() + 1)
        listener.listen()
    with listener:
        begun = time.monotonic()
        assert answered(["query", "a dog", "-w", str(tmp_path)], "0") is None
        assert time.monotonic() - begun < 10
