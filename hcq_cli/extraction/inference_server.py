"""The process that runs the networks: takes rows from all workers, and runs them in batches.

inference.py starts it, with the folder in which its socket shall lie, and says what goes over that socket. Whatever
has come in for an expert while the last batch ran makes the next one, whichever videos it is of; so neither side
waits for the other as long as there is work for both, and a GPU is fed by as many workers as there are. It ends when
its parent does.
"""

from __future__ import annotations

import json
import os
import queue
import secrets
import shutil
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, Listener, answer_challenge, deliver_challenge
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from hcq_cli.extraction.inference import TCP, raw_bytes, receive_arrays
from hcq_cli.process import ParentConnection

if TYPE_CHECKING:
    from experts.neural.network import Network

LARGEST_BATCH_BYTES = 1 << 28
"""Rows are gathered from several videos until they are as large as this."""


@dataclass(frozen=True)
class Request:
    """Rows that somebody waits for.

    Args:
        expert: whose network they are for.
        arrays: by the name of the network's input, [n, …] each.
        connection: where the answer goes.
    """

    expert: str
    arrays: dict[str, NDArray[Any]]
    connection: Connection

    @property
    def rows(self) -> int:
        """n; every array has as many."""
        return len(next(iter(self.arrays.values())))

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays: what a batch is limited by."""
        return sum(array.nbytes for array in self.arrays.values())

    def fits(self, other: Request) -> bool:
        """Whether the rows of both can be run together."""
        same = self.expert == other.expert and self.arrays.keys() == other.arrays.keys()
        return same and all(a.shape[1:] == other.arrays[name].shape[1:] for name, a in self.arrays.items())

    def reply(self, vectors: NDArray[np.float32] | None, error: str = "") -> None:
        """Send the vectors of its rows, or the reason why it gets none; whoever is gone needs neither."""
        header = {"error": error} if vectors is None else {"shape": vectors.shape}
        try:
            self.connection.send_bytes(json.dumps(header).encode())
            if vectors is not None:
                self.connection.send_bytes(raw_bytes(vectors))
        except OSError:
            self.connection.close()


class BatchingServer:
    """Runs what comes in, batch by batch.

    Args:
        networks: by the expert's name.
    """

    def __init__(self, networks: dict[str, Network]) -> None:
        self._networks = networks
        self.busy_s = 0.0
        """How long networks have run, seconds."""
        self._coming: queue.SimpleQueue[Request] = queue.SimpleQueue()
        self._waiting: deque[Request] = deque()

    def listen(self, listener: Listener, key: bytes | None = None) -> None:
        """Take connections, each read by a thread of its own that asks for the key, if any; never returns."""
        while True:
            try:
                connection = listener.accept()
            except ConnectionError:  # somebody who has gone already
                continue
            threading.Thread(target=self._read, args=(connection, key), daemon=True).start()

    def _read(self, connection: Connection, key: bytes | None) -> None:
        try:
            # Here and not in `accept`: somebody who says nothing, or something else, keeps nobody out.
            if key is not None:
                deliver_challenge(connection, key)
                answer_challenge(connection, key)
            while True:
                expert, arrays = receive_arrays(connection)
                self._coming.put(Request(expert, arrays, connection))
        except (AuthenticationError, EOFError, OSError):
            connection.close()

    def serve(self) -> None:
        """Run batches; never returns."""
        while True:
            self._run(self.next_batch())

    def next_batch(self) -> list[Request]:
        """The oldest request and all that fit to it; waits for one."""
        # Waiting only where there is nothing: whatever has come meanwhile is taken along without.
        if not self._waiting:
            self._waiting.append(self._coming.get())
        while not self._coming.empty():
            self._waiting.append(self._coming.get())
        batch = [self._waiting.popleft()]
        size, others = batch[0].nbytes, deque[Request]()
        for request in self._waiting:
            # Those that do not fit wait in their order: the oldest of them begins the next batch, and none starves.
            if batch[0].fits(request) and size + request.nbytes <= LARGEST_BATCH_BYTES:
                batch.append(request)
                size += request.nbytes
            else:
                others.append(request)
        self._waiting = others
        return batch

    def _run(self, batch: list[Request]) -> None:
        """Run requests together and answer them. Where that fails each is run alone, and fails alone."""
        first = batch[0]
        # Rows are numbered through: each request knows how many are its own, so nothing else travels with them.
        begun = time.monotonic()
        try:
            together = {name: np.concatenate([each.arrays[name] for each in batch]) for name in first.arrays}
            vectors = self._networks[first.expert].run(together)
        except Exception as error:  # whatever a network meets in these rows; each alone may do
            if len(batch) == 1:
                first.reply(None, f"{type(error).__name__}: {error}")
            else:
                for request in batch:
                    self._run([request])
            return
        self.busy_s += time.monotonic() - begun
        at = 0
        for request in batch:
            request.reply(vectors[at : at + request.rows])
            at += request.rows


def _listen(folder: str, host: str) -> tuple[Listener, str, bytes | None]:
    """A socket in `folder`, or one of TCP at `host`; its address, as `RemoteNetwork` takes it; the key, if any."""
    if not host:
        path = str(Path(folder) / "networks")
        return Listener(path, "AF_UNIX", backlog=256), path, None
    key = secrets.token_bytes(32)
    listener = Listener((host, 0), "AF_INET", backlog=256)
    return listener, f"{TCP}{host}:{listener.address[1]}:{key.hex()}", key


def main() -> None:
    """Load the networks of the first message, say where they are to be asked, and serve until another message comes.

    It does not call `die_with_parent`: the thread of the parent that needed a network first may end before the
    others.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"  # whatever a network needs is on this machine, or is missing
    folder = sys.argv[1]
    # Where the parent was killed, nobody else removes the folder with the socket.
    parent = ParentConnection(on_end=lambda: _leave(folder))
    settings = parent.receive()
    try:
        from experts.neural.expert import NetworkExpert
        from experts.registry import load

        networks = [each for each in load(settings["experts"]) if isinstance(each, NetworkExpert)]
        server = BatchingServer({each.name: each.load_network(settings["device"]) for each in networks})
        listener, address, key = _listen(folder, settings["host"])
    except Exception as error:
        hint = getattr(error, "hint", "")
        parent.send({"error": str(error) if hint else f"{type(error).__name__}: {error}", "hint": hint})
        parent.receive()
        _leave(folder)

    def stop_when_told() -> None:
        parent.receive()
        parent.send({"busy_s": server.busy_s})
        _leave(folder)

    threading.Thread(target=server.listen, args=(listener, key), daemon=True).start()
    threading.Thread(target=stop_when_told, daemon=True).start()
    parent.send({"address": address})
    server.serve()


def _leave(folder: str) -> NoReturn:
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)


if __name__ == "__main__":
    main()
