"""A Ray cluster of two nodes on this machine, one processor each, for tests."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hcq_cli.engines.ray_cluster import BEFORE_IMPORT

NODE = {"num_cpus": 1, "memory": 4 << 30, "object_store_memory": 80 << 20, "include_dashboard": False}
NODE["node_ip_address"] = "127.0.0.1"
"""What a node of a test has, whatever this machine has; Ray takes no smaller object store."""


ATTEMPTS = 4
"""Ray gives a node 30 seconds to start, which a busy machine exceeds."""


@contextmanager
def two_nodes(environment: Mapping[str, str], **more: Any) -> Iterator[Any]:
    """A cluster with `environment` on top of this process's; its workers see nothing else. `more` is of each node."""
    # Ray's workers would have the niceness 15 and wait for everybody else on the machine.
    os.environ.update({**BEFORE_IMPORT, "RAY_NUM_REDIS_GET_RETRIES": "120", "RAY_worker_niceness": "0"})
    from ray._private import ray_constants
    from ray.cluster_utils import Cluster

    ray_constants.ENABLE_RAY_CLUSTER = False  # all is on 127.0.0.1, also for who connects from this process

    before = dict(os.environ)
    os.environ.update(environment)
    try:
        cluster = Cluster()
        for _ in range(2):
            _add(cluster, **more)
    finally:
        os.environ.clear()
        os.environ.update(before)
    try:
        yield cluster
    finally:
        cluster.shutdown()


def add_node(cluster: Any, environment: Mapping[str, str], **more: Any) -> Any:
    """Start one more node, with an environment as `two_nodes` gives it, and more, or else, than `NODE`."""
    before = dict(os.environ)
    os.environ.update(environment)
    try:
        return _add(cluster, **more)
    finally:
        os.environ.clear()
        os.environ.update(before)


def wait_for(holds: Callable[[], bool], timeout_s: float = 60.0) -> None:
    """Wait for what a cluster does in its own time, such as telling what is free."""
    end = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.2)


def processes(log: Path) -> dict[int, str]:
    """The processes of clusters whose environment names this log, and of commands there: their command lines."""
    found = {}
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"OPENED_LOG={log}".encode() in (place / "environ").read_bytes():
                found[int(place.name)] = (place / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
    return found


def actors(kind: str, log: Path) -> list[int]:
    """The actors of a kind among them."""
    return [process for process, command in processes(log).items() if command.startswith(f"ray::{kind}")]


def reached(log: Path) -> set[str]:
    """Addresses that they are connected to, but for this machine's own."""
    import psutil  # Ray brings it

    found = set()
    for process in processes(log):
        with suppress(psutil.Error):
            found |= {each.raddr.ip for each in psutil.Process(process).net_connections("inet") if each.raddr}
    return {address for address in found if not address.removeprefix("::ffff:").startswith("127.")}


def _add(cluster: Any, **more: Any) -> Any:
    """The first is the head."""
    for attempt in range(ATTEMPTS):
        try:
            return cluster.add_node(**{**NODE, **more})
        except Exception as error:
            if "timed out during startup" not in str(error) or attempt == ATTEMPTS - 1:
                raise
    raise AssertionError
