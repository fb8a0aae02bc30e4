"""Networks in a process of their own: how it is started, and how a worker asks it.

`InferenceProcess` is the parent's side; the process itself is inference_server.py. `RemoteNetwork` stands in a worker
where the network would: it sends the rows of inputs over a socket, and their vectors come back, a request at a time.
A request is a line of JSON (the expert, and for each array its name, type and shape), then the bytes of each array;
an answer is a line of JSON with a shape or an error, then the bytes. Nothing is pickled. The socket is a local one;
for workers on other machines of a cluster it is one of TCP: who knows its key may connect, and nothing is encrypted.
"""

from __future__ import annotations

import json
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Client, Connection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hcq_cli.errors import HcqError
from hcq_cli.process import ChildDied, ChildProcess

TCP = "tcp:"
"""What the address of a socket of TCP begins with; then host, port and key, with colons."""
LAST_WORD_S = 2.0
"""How long the process may take to say how busy its networks were, seconds."""
SIGN_OF_LIFE_S = 5.0
"""While a worker waits for a network it says so this often, seconds."""
KEEP_ALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 60_000}
"""Another machine that answers no packet for a minute is gone: seconds, seconds, a number, and milliseconds."""
GONE = "the process that runs the networks has ended"
HINT = "run the same command again; if memory was short: --workers 1, a smaller network, or another --device"


class InferenceProcess:
    """The process that runs the networks; started when a worker needs it first.

    Args:
        names: of the experts, as `experts.registry.load` takes them.
        device: where the networks shall run.
        host: at which workers of other machines reach this one; empty for those of this machine alone.
    """

    def __init__(self, names: Sequence[str], device: str, host: str = "") -> None:
        self._settings = {"experts": list(names), "device": device, "host": host}
        self._lock = threading.Lock()
        self._process: ChildProcess | None = None
        self._address, self._folder = "", ""

    def address(self) -> str:
        """Where it listens; starts it if it has not been started. May be called by several threads.

        Raises:
            HcqError: the networks cannot be loaded.
        """
        with self._lock:
            if self._process is None:
                # A folder of the user's own: nobody else can connect to a socket in it.
                self._folder = tempfile.mkdtemp(prefix="hcq-")
                self._process = ChildProcess("hcq_cli.extraction.inference_server", self._folder)
                try:
                    self._process.send(self._settings)
                    said = self._process.receive()  # no deadline: a large network may take minutes to load
                except ChildDied as death:
                    said = {"error": f"it ended with exit code {death.exit_code}", "hint": ""}
                if "error" in said:
                    raise HcqError(f"the networks cannot be loaded: {said['error']}", said["hint"] or "hcq doctor")
                self._address = said["address"]
            return self._address

    def close(self) -> float:
        """End the process, if it was ever started.

        Returns:
            how long its networks ran, seconds; 0 where it does not say.
        """
        busy_s = 0.0
        if self._process is not None:
            try:
                self._process.send({"stop": True})
                busy_s = float(self._process.receive(time.monotonic() + LAST_WORD_S)["busy_s"])
            except ChildDied:
                pass
            self._process.close()
            shutil.rmtree(self._folder, ignore_errors=True)
        return busy_s


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
            # One connection an expert: the server reads each in a thread, and so knows whom to answer.
            self._connection = _connect(address)
        except (OSError, EOFError) as error:
            raise HcqError(GONE, HINT) from error

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """Run the network.

        Args:
            inputs: by the name of the network's input, [n, …] each.

        Returns:
            float32 [n, …, dim].

        Raises:
            RuntimeError: the network cannot take them.
            HcqError: the process is gone.
        """
        with self._turn:  # of a video that was given up, a request may still be on its way
            try:
                send_arrays(self._connection, self._expert, inputs)
                while not self._connection.poll(SIGN_OF_LIFE_S):
                    self._alive()
                answer = json.loads(self._connection.recv_bytes())
                self._alive()  # the deadline of the video begins again: waiting was no fault of the file
                if "error" not in answer:
                    return np.frombuffer(self._connection.recv_bytes(), np.float32).reshape(answer["shape"])
            except (EOFError, OSError) as error:
                raise HcqError(GONE, HINT) from error
        raise RuntimeError(answer["error"])


def _connect(address: str) -> Any:
    if not address.startswith(TCP):
        return Client(address, "AF_UNIX")
    host, port, key = address.removeprefix(TCP).rsplit(":", 2)
    connection = Client((host, int(port)), "AF_INET", authkey=bytes.fromhex(key))
    # It shall fail where the other machine is gone without a word: else it would be waited for for ever.
    with socket.fromfd(connection.fileno(), socket.AF_INET, socket.SOCK_STREAM) as same:
        same.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in KEEP_ALIVE.items():
            if hasattr(socket, name):
                same.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return connection


def send_arrays(connection: Connection, expert: str, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Send named arrays; all are contiguous on the other side."""
    header = {"expert": expert, "arrays": [[name, a.dtype.str, list(a.shape)] for name, a in arrays.items()]}
    connection.send_bytes(json.dumps(header).encode())
    for array in arrays.values():
        connection.send_bytes(raw_bytes(array))


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


def raw_bytes(array: NDArray[Any]) -> Any:
    """The bytes of an array, not copied if they lie in a row."""
    # By way of uint8: an empty array, or one of a type of its own such as bfloat16, has no buffer to be cast.
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
