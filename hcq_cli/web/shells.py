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

Answer = Callable[[dict[str, Any]], dict[str, Any] | None]


class Shells:
    """Answers in a thread of its own; a context manager. Where no socket can be made shells do without.

    Args:
        workspace: the folder that the socket is made in, once the answers come at once.
        make: opens what answers, in that thread.

    Attributes:
        thread: that one.
    """

    def __init__(self, workspace: Path, make: Callable[[], Answer]) -> None:
        self._path, self._make = workspace / SOCKET, make
        self._listener: socket.socket | None = None
        self._made: os.stat_result | None = None
        self._ending = False
        self.thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Shells:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending = True
        with suppress(OSError):  # a later server may have put its own there
            if self._made is not None and os.path.samestat(self._made, self._path.stat()):
                self._path.unlink()
        if self._listener is not None:
            self._listener.close()

    def _serve(self) -> None:
        try:
            answer = self._make()
            if self._ending:  # meanwhile: nobody would take what waits at a socket
                return
            self._listen()
        except Exception:  # an index that cannot be opened, or a file system without sockets
            return
        while not self._ending:
            with suppress(OSError, ValueError):  # of one shell; the next one is served all the same
                assert self._listener is not None
                connection, _ = self._listener.accept()
                with connection:
                    connection.settimeout(PATIENCE_S)
                    _answer(connection, answer)

    def _listen(self) -> None:
        """Make the socket; whoever may write to it may ask: the person alone."""
        place = self._path.with_name(f"{SOCKET}.{os.getpid()}")
        self._listener = socket.socket(socket.AF_UNIX)
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
