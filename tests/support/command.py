"""Runs `hcq ARGUMENTS` as a person would: a process of its own, of which exit code, stdout and stderr are seen."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import IO, Any
from zlib import crc32

from filelock import FileLock

FORK_SERVER = Path(__file__).with_name("fork_server.py")
PLUGINS = Path(__file__).with_name("sample_plugins")
PLANTED = {"PYTHONPATH": os.pathsep.join(filter(None, [str(PLUGINS), os.environ.get("PYTHONPATH")]))}
"""Environment in which a stranger's decoders and experts look installed; a fork still comes early enough for it."""
# The models of the tests are small: where cores are few, a second thread costs more in waiting than it saves.
os.environ.setdefault("OMP_NUM_THREADS", "1")
START_ENVIRONMENT = dict(os.environ)
"""What the fork server begins with."""
READ_AT_THE_START = ("PYTHON", "LANG", "LC_", "HOME", "TMPDIR", "HF_", "TRANSFORMERS_", "OMP_", "MKL_")
"""Beginnings of variables that Python, or a library while it is imported, reads: a fork is too late for them."""
OUR_OWN = {
    ("OMP_WAIT_POLICY", "PASSIVE"),
    ("HF_HUB_OFFLINE", "1"),
    ("PYTHONSAFEPATH", "1"),
    ("ORT_DISABLE_TELEMETRY", "1"),
}
"""What hcq sets by itself, in this process too as soon as a test has imported a verb or run a command in it."""


class Outcome:
    """What a run of hcq printed and returned."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


@cache
def fork_server(begun: frozenset[tuple[str, str]] = frozenset()) -> str | None:
    """The socket of the server (see `fork_server.py`), one for a whole test run; None where there can be none.

    Whoever asks first starts it; it lives as long as the process that gave the tests out. One more is started for
    each other environment that it has to begin with.
    """
    try:
        os.close(os.pidfd_open(os.getpid()))  # type: ignore[attr-defined]
    except (AttributeError, OSError):  # no Linux, or one that lacks what the server waits with
        return None
    run, owner = os.environ.get("PYTEST_XDIST_TESTRUNUID"), os.getppid()
    if run is None:
        run, owner = "alone", os.getpid()
    path = os.path.join(tempfile.gettempdir(), f"hcq-fork-{run[:12]}-{owner}")
    path += f"-{crc32(repr(sorted(begun)).encode()):x}" if begun else ""
    with FileLock(f"{path}.lock"):
        if not os.path.exists(path):
            command = [sys.executable, FORK_SERVER, path, str(owner)]
            own = {**START_ENVIRONMENT, **dict(begun)}
            server = subprocess.Popen(command, cwd="/", env=own, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
            assert server.stdout and server.stdout.readline() == b"ready\n"
    return path


def run_hcq(
    *arguments: str | os.PathLike[str],
    cwd: Path,
    code: int | None = 0,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 300,
    fresh: bool = False,
    begun: Mapping[str, str] | None = None,
) -> Outcome:
    """Run a command in `cwd` and assert its exit code (None: any).

    Args:
        env: variables on top of this process's.
        fresh: start a Python of its own also where a fork of one that has imported hcq would do: for tests of what is
            imported, of the interpreter's own variables, and of starting.
        begun: variables that a fork of another server begins with, where many commands need just these.
    """
    own = {"NO_COLOR": "1", "XDG_CONFIG_HOME": str(cwd / ".config"), **(env or {})}
    asked = list(map(os.fspath, arguments))
    begun = begun or {}
    environment = {**os.environ, **begun, **own}
    changed = {name for name, _ in (environment.items() ^ {**START_ENVIRONMENT, **begun}.items()) - OUR_OWN}
    if environment.items() >= PLANTED.items():  # nothing was imported from there: the copy puts it on its path itself
        changed.remove("PYTHONPATH")
    fresh = fresh or any(name.startswith(READ_AT_THE_START) for name in changed)
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write((stdin or "").encode(errors="surrogateescape"))
        given.seek(0)
        streams = (given, out, err)
        server = None if fresh else fork_server(frozenset(begun.items()))
        if server is None:
            command = [sys.executable, "-m", "hcq_cli", *asked]
            places = dict(zip(("stdin", "stdout", "stderr"), streams, strict=True))
            found = subprocess.run(command, cwd=cwd, env=environment, timeout=timeout, **places).returncode
        else:
            request = {"cwd": os.fspath(cwd), "environment": environment, "arguments": asked}
            found = _forked(server, request, streams, timeout)
        outcome = Outcome(found, _text(out), _text(err))
    if code is not None:
        assert outcome.code == code, f"exit {outcome.code}\n{outcome.out}\n{outcome.err}"
    return outcome


def _forked(server: str, request: dict[str, Any], streams: tuple[IO[bytes], ...], timeout: float) -> int:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.settimeout(timeout)
        connection.connect(server)
        socket.send_fds(connection, [json.dumps(request).encode()], [stream.fileno() for stream in streams])
        pid = int(connection.recv(64))
        try:
            return int(connection.recv(64))
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            raise subprocess.TimeoutExpired(request["arguments"], timeout) from None


def _text(stream: IO[bytes]) -> str:
    stream.seek(0)
    text = stream.read().decode(errors="surrogateescape")
    return text.replace("\r\n", "\n").replace("\r", "\n")
