"""Rows from many videos are run together where they fit, and each gets its own back."""

from __future__ import annotations

import json
import multiprocessing
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Listener
from pathlib import Path

import numpy as np
import pytest

from hcq_cli.errors import HcqError
from hcq_cli.extraction import inference_server
from hcq_cli.extraction.inference import RemoteNetwork
from hcq_cli.extraction.inference_server import BatchingServer, Request


class Doubling:
    """Twice its input; cannot take negative numbers, nor a batch with one among it."""

    def __init__(self) -> None:
        self.rows: list[int] = []

    def run(self, inputs):
        self.rows.append(len(inputs["x"]))
        if (inputs["x"] < 0).any():
            raise ValueError("negative")
        return 2 * inputs["x"]


class Kept:
    """A connection that keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def send_bytes(self, data) -> None:
        self.sent.append(bytes(data))

    def vectors(self) -> np.ndarray:
        shape = json.loads(self.sent[0])["shape"]
        return np.frombuffer(self.sent[1], np.float32).reshape(shape)


def request(expert: str, *rows: list[float]) -> Request:
    return Request(expert, {"x": np.array(rows, np.float32)}, Kept())  # type: ignore[arg-type]


def served(requests: list[Request], network: Doubling) -> list[list[Request]]:
    """All batches of a server to which these requests have come."""
    server = BatchingServer({"a": network, "b": network})  # type: ignore[dict-item]
    for each in requests:
        server._coming.put(each)
    batches = []
    while server._waiting or not server._coming.empty():
        batches.append(server.next_batch())
        server._run(batches[-1])
    return batches


def test_what_fits_is_run_together_in_the_order_of_the_oldest() -> None:
    network = Doubling()
    requests = [request("a", [1, 2]), request("b", [3, 4]), request("a", [5, 6], [7, 8]), request("a", [9, 9, 9])]
    batches = served(requests, network)
    numbers = {id(each): at for at, each in enumerate(requests)}
    assert [[numbers[id(each)] for each in batch] for batch in batches] == [[0, 2], [1], [3]]
    assert network.rows == [3, 1, 1]
    for each in requests:
        np.testing.assert_array_equal(each.connection.vectors(), 2 * each.arrays["x"])


def test_a_batch_is_no_larger_than_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference_server, "LARGEST_BATCH_BYTES", 3 * 8)
    network = Doubling()
    served([request("a", [1, 2], [1, 2]), request("a", [3, 4], [3, 4]), request("a", [5, 6])], network)
    assert network.rows == [3, 2]


def test_rows_that_fail_fail_alone() -> None:
    requests = [request("a", [1.0]), request("a", [-1.0]), request("a", [2.0])]
    served(requests, Doubling())
    assert json.loads(requests[1].connection.sent[0]) == {"error": "ValueError: negative"}
    assert [float(requests[at].connection.vectors()[0, 0]) for at in (0, 2)] == [2.0, 4.0]


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Where a server listens."""
    listener = Listener(str(tmp_path / "networks"), "AF_UNIX", backlog=8)
    server = BatchingServer({"a": Doubling()})  # type: ignore[dict-item]
    for loop in (lambda: server.listen(listener), server.serve):
        threading.Thread(target=loop, daemon=True).start()
    yield str(listener.address)


def test_a_worker_asks_over_the_socket(address: str) -> None:
    signs: list[None] = []
    network = RemoteNetwork(address, "a", alive=lambda: signs.append(None))
    rows = np.arange(12, dtype=np.float32).reshape(3, 4)
    np.testing.assert_array_equal(network.run({"x": rows.T[::2].T}), 2 * rows[:, ::2])
    assert signs
    with pytest.raises(RuntimeError, match="negative"):
        network.run({"x": -rows})
    np.testing.assert_array_equal(network.run({"x": rows}), 2 * rows)


def test_who_does_not_know_the_key_is_not_let_in_and_keeps_nobody_out(tmp_path: Path) -> None:
    listener, address, key = inference_server._listen(str(tmp_path), "127.0.0.1")
    server = BatchingServer({"a": Doubling()})  # type: ignore[dict-item]
    for loop in (lambda: server.listen(listener, key), server.serve):
        threading.Thread(target=loop, daemon=True).start()
    beginning = address.rpartition(":")[0]
    for wrong in (b"", bytes(32)):
        with pytest.raises(multiprocessing.AuthenticationError):
            RemoteNetwork(f"{beginning}:{wrong.hex()}", "a", alive=lambda: None)
    port = int(beginning.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)):
        pass
    with socket.create_connection(("127.0.0.1", port)) as browser, suppress(ConnectionResetError):
        browser.sendall(b"GET / HTTP/1.1\r\nHost: somebody\r\n\r\n")
        while browser.recv(1 << 10):  # until it is shown the door
            pass
    silent = socket.create_connection(("127.0.0.1", port))
    rows = np.ones((2, 3), np.float32)
    network = RemoteNetwork(address, "a", alive=lambda: None)
    np.testing.assert_array_equal(network.run({"x": rows}), 2 * rows)
    silent.close()
    with socket.fromfd(network._connection.fileno(), socket.AF_INET, socket.SOCK_STREAM) as connected:
        # A machine that loses its power says nothing: the system asks it now and then, and ends what it waits for.
        assert connected.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


def test_where_nobody_listens_the_run_ends(tmp_path: Path) -> None:
    with pytest.raises(HcqError, match="has ended"):
        RemoteNetwork(str(tmp_path / "nobody"), "a", alive=lambda: None)
