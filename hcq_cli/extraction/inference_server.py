"""The process that runs the networks: takes rows from all decoding processes, and runs them in batches.

Run by inference.py as `python -P -m hcq_cli.extraction.inference_server`. Whatever has come in for an expert while
the last batch ran makes the next one, whichever videos it is of; so neither side waits for the other as long as there
is work for both, and a GPU is fed by as many decoding processes as there are. It ends when its parent does.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import sys
import tempfile
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, Listener
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hcq_cli.extraction.remote import raw, receive_arrays

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

    def answer(self, vectors: NDArray[np.float32]) -> None:
        """Send the vectors of its rows; whoever is gone needs none."""
        self._send(json.dumps({"shape": vectors.shape}).encode(), vectors)

    def refuse(self, error: str) -> None:
        """Send the reason why its rows have no vectors; whoever is gone needs none."""
        self._send(json.dumps({"error": error}).encode())

    def _send(self, header: bytes, vectors: NDArray[np.float32] | None = None) -> None:
        try:
            self.connection.send_bytes(header)
            if vectors is not None:
                self.connection.send_bytes(raw(vectors))
        except OSError:
            self.connection.close()


class Kitchen:
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

    def listen(self, listener: Listener) -> None:
        """Take connections, each read by a thread of its own; never returns."""
        while True:
            connection = listener.accept()
            threading.Thread(target=self._read, args=(connection,), daemon=True).start()

    def _read(self, connection: Connection) -> None:
        try:
            while True:
                expert, arrays = receive_arrays(connection)
                self._coming.put(Request(expert, arrays, connection))
        except (EOFError, OSError):
            connection.close()

    def serve(self) -> None:
        """Run batches; never returns. Where a batch fails, each of its requests is run alone, and fails alone."""
        while True:
            batch = self.next_batch()
            try:
                self._run(batch)
            except Exception as error:  # whatever a network meets in these rows; each alone may do
                if len(batch) == 1:
                    batch[0].refuse(f"{type(error).__name__}: {error}")
                else:
                    for request in batch:
                        self._run_alone(request)

    def next_batch(self) -> list[Request]:
        """The oldest request and all that fit to it; waits for one."""
        if not self._waiting:
            self._waiting.append(self._coming.get())
        while not self._coming.empty():
            self._waiting.append(self._coming.get())
        batch = [self._waiting.popleft()]
        size, others = batch[0].nbytes, deque[Request]()
        for request in self._waiting:
            if batch[0].fits(request) and size + request.nbytes <= LARGEST_BATCH_BYTES:
                batch.append(request)
                size += request.nbytes
            else:
                others.append(request)
        self._waiting = others
        return batch

    def _run(self, batch: list[Request]) -> None:
        first = batch[0]
        together = {name: np.concatenate([each.arrays[name] for each in batch]) for name in first.arrays}
        begun = time.monotonic()
        vectors = self._networks[first.expert].run(together)
        self.busy_s += time.monotonic() - begun
        at = 0
        for request in batch:
            request.answer(vectors[at : at + request.rows])
            at += request.rows

    def _run_alone(self, request: Request) -> None:
        try:
            self._run([request])
        except Exception as error:
            request.refuse(f"{type(error).__name__}: {error}")


def _loaded(experts: list[str], device: str) -> dict[str, Network]:
    from experts.neural.expert import NetworkExpert
    from experts.registry import load

    return {each.name: each.load_network(device) for each in load(experts) if isinstance(each, NetworkExpert)}


def main() -> None:
    """Load the networks of the line on stdin, say where it listens, and serve until stdin ends."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    words_in, words_out = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what libraries print is no message
    told = json.loads(words_in.readline())
    folder = tempfile.mkdtemp(prefix="hcq-")
    kitchen: Kitchen | None = None

    def ended() -> None:
        words_in.readline()  # the parent wants to know how busy the networks were, or is gone
        with suppress(OSError):
            words_out.write(json.dumps({"busy_s": kitchen.busy_s if kitchen else 0.0}).encode() + b"\n")
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(0)

    threading.Thread(target=ended, daemon=True).start()
    try:
        kitchen = Kitchen(_loaded(told["experts"], told["device"]))
        listener = Listener(str(Path(folder) / "networks"), "AF_UNIX", backlog=256)
    except Exception as error:
        hint = getattr(error, "hint", "")
        reason = str(error) if hint else f"{type(error).__name__}: {error}"
        words_out.write(json.dumps({"error": reason, "hint": hint}).encode() + b"\n")
        shutil.rmtree(folder, ignore_errors=True)
        sys.exit(1)
    threading.Thread(target=kitchen.listen, args=(listener,), daemon=True).start()
    words_out.write(json.dumps({"address": listener.address, "folder": folder}).encode() + b"\n")
    kitchen.serve()


if __name__ == "__main__":
    main()
