"""Command lines of this person's shells, through a socket in the workspace (running_server.py asks)."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from hcq_cli.running_server import SOCKET, socket_address

LONGEST = 1 << 20
"""Bytes of a question."""
PATIENCE_S = 1.0
"""For a shell that has begun to ask."""
PAUSE_S = 0.2
"""Before the next one is looked for where the process may open no more files: accept would fail again at once."""

Answer = Callable[[dict[str, Any]], dict[str, Any] | None]


class Shells:
    """Answers in a thread of its own; a context manager. Where no socket can be made shells do without.

    Args:
        workspace: the folder that the socket is made in.
        answer: what a question, as `running_server.answered` sends it, is answered with.
    """

    def __init__(self, workspace: Path, answer: Answer) -> None:
        self._path, self._answer = workspace / SOCKET, answer
        self._listener = socket.socket(socket.AF_UNIX)
        self._made: os.stat_result | None = None
        self._ended = threading.Event()

    def __enter__(self) -> Shells:
        with suppress(OSError):  # a file system without sockets, or a path that is too long for one
            self._listen()
            threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        with suppress(OSError):  # a later server may have put its own there
            if self._made is not None and os.path.samestat(self._made, self._path.stat()):
                self._path.unlink()
        self._listener.close()

    def _serve(self) -> None:
        while not self._ended.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                self._ended.wait(PAUSE_S)
                continue
            with connection, suppress(OSError, ValueError):  # of one shell; the next one is served all the same
                connection.settimeout(PATIENCE_S)
                _answer(connection, self._answer)

    def _listen(self) -> None:
        """Make the socket; whoever may write to it may ask: the person alone."""
        place = self._path.with_name(f"{SOCKET}.{os.getpid()}")
        try:
            self._listener.bind(socket_address(os.fspath(place)))
            place.chmod(0o600)
            self._listener.listen()
            place.replace(self._path)
            self._made = self._path.stat()
        finally:
            place.unlink(missing_ok=True)


def _answer(connection: socket.socket, answer: Answer) -> None:
    """Answer one shell; with nothing where its own process is to run the command."""
    question = b""
    while len(question) < LONGEST and (received := connection.recv(1 << 16)):
        question += received
    try:
        found = answer(json.loads(question))
    except Exception:  # a question that makes no sense
        found = None
    if found is not None:
        connection.sendall(json.dumps(found).encode())
