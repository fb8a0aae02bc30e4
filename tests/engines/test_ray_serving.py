"""`hcq serve --on ray`: the answers of the command line from a process on each node; where Ray Serve is installed."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from ray_cluster import actors, wait_for
from served import Served, make_workspace

from hcq_cli.engines import ray_cluster

pytest.importorskip("ray.serve")
pytestmark = pytest.mark.long


@contextmanager
def served_there(workspace: Path, cluster: Any, env: dict[str, str], *more: str) -> Iterator[Served]:
    """`hcq serve --on ray` as a person starts it, and ends it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "hcq_cli", "serve", "--port", str(port), "--json", "-w", os.fspath(workspace)]
    command += ["--on", f"ray:{cluster.address}", *more]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **env})
    assert process.stdout is not None
    try:
        yield Served(workspace, json.loads(process.stdout.readline())["address"])
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 128 + signal.SIGTERM
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_each_node_answers_as_the_command_line_also_after_one_has_died_and_of_a_new_index(
    cluster: Any, hcq: Callable[..., Any], slowly: dict[str, str], log: Path, tmp_path: Path
) -> None:
    workspace = make_workspace(tmp_path / "workspace", [])

    def ranking(served: Served | None = None) -> list[tuple[str, float]]:
        run = ("query", "-w", workspace, "a man cooking", "-k", "20", "--json")
        found = served.search("a man cooking", k=20) if served else hcq(*run).json
        return [(hit["id"], hit["score"]) for hit in found["hits"]]

    with served_there(workspace, cluster, slowly) as served:
        there = actors("ServeReplica", log)
        assert len(there) == 2
        assert all(ranking(served) == ranking() for _ in range(10))
        elsewhere = hcq("serve", "--on", f"ray:{cluster.address}", "--port", "1", "-w", workspace, env=slowly, code=1)
        assert served.address.rpartition(":")[2].strip("/") in elsewhere.err
        os.kill(there[0], signal.SIGKILL)
        answered = [answers(served) for _ in range(20)]
        assert answered.count(True) >= 18  # what was on its way to it may be lost
        gone = ranking()[0][0]
        hcq("index", "remove", gone, "-w", workspace)
        wait_for(lambda: all(ranking(served) == ranking() for _ in range(5)))
        assert gone not in {name for name, _ in ranking(served)}
    wait_for(lambda: not actors("ServeReplica", log))


@contextmanager
def held(processors: int) -> Iterator[None]:
    """Processors of the cluster are at somebody else's work."""
    import ray

    def work() -> None:
        time.sleep(3600)

    def free() -> int:
        return ray_cluster.free_places(ray_cluster.PROCESSOR).total()

    wait_for(lambda: free() == 2)
    task = ray.remote(work).options(num_cpus=1, scheduling_strategy="SPREAD")
    working = [task.remote() for _ in range(processors)]
    wait_for(lambda: free() == 2 - processors)
    yield
    for each in working:
        ray.cancel(each, force=True)


def test_nodes_without_a_free_processor_are_told_and_all_addresses_are_those_of_the_head(
    cluster: Any, hcq: Callable[..., Any], slowly: dict[str, str], log: Path, tmp_path: Path
) -> None:
    workspace = make_workspace(tmp_path / "workspace", [])
    with ray_cluster.connected(f"ray:{cluster.address}"):
        with held(2):
            run = ("serve", "--on", f"ray:{cluster.address}", "--port", "1", "-w", workspace)
            assert "is full" in hcq(*run, env=slowly, code=1).err
        everywhere = ("--host", "0.0.0.0", "--token", "s3cret")
        with held(1), served_there(workspace, cluster, slowly, *everywhere) as served:
            assert len(actors("ServeReplica", log)) == 1
            head = ray_cluster.head_name()
            assert served.address.startswith(f"http://{head}:") and served.address.endswith("?token=s3cret")
            port = served.address.rpartition(":")[2].partition("/")[0]
            for host, status in ((head, 200), ("127.0.0.1", 200), ("192.0.2.7", 200), ("evil.example", 421)):
                connection = HTTPConnection("127.0.0.1", int(port), timeout=60)
                headers = {"Host": f"{host}:{port}", "Authorization": "Bearer s3cret"}
                connection.request("GET", "/api/search?q=a+dog", headers=headers)
                assert connection.getresponse().status == status
                connection.close()


def test_a_port_that_is_taken(cluster: Any, hcq: Callable[..., Any], slowly: dict[str, str], tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "workspace", [])
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        on = ("--on", f"ray:{cluster.address}")
        told = hcq("serve", *on, "--port", port, "-w", workspace, env=slowly, code=1).err
    assert port in told and "another --port" in told


def answers(served: Served) -> bool:
    time.sleep(0.1)
    return bool(served.get("/api/search?q=a+dog")[0] == 200)
