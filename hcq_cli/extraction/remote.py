"""What a decoding process and the one that runs the networks say to each other, over a local socket.

A connection serves one expert: rows of inputs go out, their vectors come back, one request at a time. A request is a
line of JSON (the expert, and for each array its name, type and shape), then the bytes of each array; an answer is a
line of JSON with a shape or an error, then the bytes. Nothing is pickled.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from multiprocessing.connection import Client, Connection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hcq_cli.errors import HcqError

SIGN_OF_LIFE_S = 5.0
"""While a decoding process waits for a network it says so this often, seconds."""
GONE = "the process that runs the networks has ended"
HINT = "run the same command again; if memory was short: --workers 1, a smaller network, or another --device"


def send_arrays(connection: Connection, expert: str, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Send named arrays; all are contiguous on the other side."""
    header = {"expert": expert, "arrays": [[name, a.dtype.str, list(a.shape)] for name, a in arrays.items()]}
    connection.send_bytes(json.dumps(header).encode())
    for array in arrays.values():
        connection.send_bytes(raw(array))


def raw(array: NDArray[Any]) -> Any:
    """The bytes of an array, not copied if they lie in a row."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def receive_arrays(connection: Connection) -> tuple[str, dict[str, NDArray[Any]]]:
    """The expert and the named arrays that `send_arrays` sent.

    Raises:
        EOFError, OSError: the other side is gone.
    """
    header = json.loads(connection.recv_bytes())
    arrays = {}
    for name, kind, shape in header["arrays"]:
        arrays[name] = np.frombuffer(connection.recv_bytes(), np.dtype(kind)).reshape(shape)
    return header["expert"], arrays


class RemoteNetwork:
    """A network that runs in the process listening at an address.

    Args:
        address: of its socket.
        expert: whose network.
        alive: called now and then while it is waited for.

    Raises:
        HcqError: nobody listens there any more.
    """

    def __init__(self, address: str, expert: str, alive: Callable[[], None]) -> None:
        self._expert, self._alive = expert, alive
        self._turn = threading.Lock()
        try:
            self._connection: Any = Client(address, "AF_UNIX")
        except OSError as error:
            raise HcqError(GONE, HINT) from error

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """Inputs of n rows -> float32 [n, …, dim].

        Raises:
            RuntimeError: the network cannot take them.
            HcqError: the process is gone.
        """
        with self._turn:  # of a video that was given up, a request may still be on its way
            try:
                return self._asked(inputs)
            except (EOFError, OSError) as error:
                raise HcqError(GONE, HINT) from error

    def _asked(self, inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        send_arrays(self._connection, self._expert, inputs)
        while not self._connection.poll(SIGN_OF_LIFE_S):
            self._alive()
        answer = json.loads(self._connection.recv_bytes())
        self._alive()
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return np.frombuffer(self._connection.recv_bytes(), np.float32).reshape(answer["shape"])
