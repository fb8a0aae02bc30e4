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
from pathlib import Path
from typing import Any

import pytest
from ray_cluster import actors, wait_for
from served import Served, make_workspace

pytest.importorskip("ray.serve")
pytestmark = pytest.mark.long


@contextmanager
def served_there(workspace: Path, cluster: Any, env: dict[str, str]) -> Iterator[Served]:
    """`hcq serve --on ray` as a person starts it, and ends it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "hcq_cli", "serve", "--port", str(port), "--json", "-w", os.fspath(workspace)]
    command += ["--on", f"ray:{cluster.address}"]
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
