"""`hcq serve --on ray`: the page and its API by a process on every node of a cluster, behind one address (Ray Serve).

Each of them is what `hcq serve` is: a searcher with the index mapped into memory, which picks up a new generation by
itself. One that dies is started again, and others answer meanwhile.
"""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hcq_cli.engines.ray_cluster import (
    PROCESSOR,
    Node,
    check_nodes,
    connected,
    free_places,
    head_name,
    living_nodes,
    room_for,
)
from hcq_cli.engines.ray_pool import START_S
from hcq_cli.errors import HcqError, needing

if TYPE_CHECKING:
    from starlette.types import ASGIApp


APPLICATION = "hcq"
"""As Ray Serve calls it: whoever serves anew replaces what is there."""


def serve_on_ray(
    on: str,
    build: Callable[[str], ASGIApp],
    index: Path,
    *,
    host: str,
    port: int,
    started: Callable[[str], None],
    warn: Callable[[str], None] = lambda line: None,
) -> None:
    """Serve until the process is interrupted.

    Args:
        on: see `ray_cluster.connected`.
        build: makes the application, in each process; is told the name of the head, where it is asked.
        index: all nodes must see it.
        host, port: where the head of the cluster listens.
        started: told the name of the head when it answers.
        warn: told of nodes that have no free processor.

    Raises:
        NotFoundError: Ray Serve is not installed.
        HcqError: the cluster cannot be reached or is full, or a node cannot do the work, or the port is taken, or Ray
            Serve runs there already and listens elsewhere.
    """
    with connected(on):
        with needing("Ray Serve is not installed", "serve"):
            from ray import serve
            from ray.serve.api import _run
            from ray.serve.context import _get_global_client
        nodes, files = living_nodes(), sorted(map(str, index.glob("*.hcq")))
        for lacks in check_nodes(nodes, index, files).values():
            raise lacks
        head = head_name()

        def application() -> ASGIApp:  # Ray Serve takes a function and nothing else
            return build(head)

        running = _get_global_client(raise_if_no_controller_running=False)
        if running and (there := running.http_config) and (there.host, there.port) != (host, port):
            message = f"Ray Serve of this cluster listens at {there.host}:{there.port}, and at one address alone"
            raise HcqError(message, f"--host {there.host} --port {there.port} replaces what it serves as hcq")
        replaced = running is not None and APPLICATION in serve.status().applications
        wanted = None if replaced else _nodes_with_room(nodes, warn)
        logging.getLogger("ray.serve").setLevel(logging.ERROR)
        how: dict[str, Any] = {"num_replicas": len(nodes), "max_replicas_per_node": 1}
        front = serve.deployment(serve.ingress(application)(), **how, ray_actor_options={"num_cpus": 1})
        try:
            serve.start(http_options={"host": host, "port": port})
            _run(front.bind(), name=APPLICATION, route_prefix="/", _blocking=False)
            _wait_for(wanted)
            started(head)
            signal.pause()
        except (RuntimeError, ValueError) as error:
            # Before the last line of what Ray says stands where in its code it was.
            message = f"Ray Serve does not start: {str(error).strip().splitlines()[-1][-300:]}"
            raise HcqError(message, "serve status; another --port") from error
        finally:
            if set(serve.status().applications) <= {APPLICATION}:
                serve.shutdown()
            else:  # somebody else's are there, too
                serve.delete(APPLICATION)


def _nodes_with_room(nodes: Sequence[Node], warn: Callable[[str], None]) -> int:
    """How many nodes have a processor for a process now; Ray Serve starts one on the others when they do.

    Raises:
        HcqError: none has.
    """
    room_for(1)
    free = free_places(PROCESSOR)
    count = sum(free[node.id] > 0 for node in nodes)
    if count < len(nodes):
        warn(f"{count} of {len(nodes)} nodes have a free processor: the others begin to answer when they have")
    return count


def _wait_for(processes: int | None) -> None:
    """Wait until so many processes answer, or all of those that take the place of earlier ones.

    Raises:
        HcqError: they cannot, or there are none in time.
    """
    from ray import serve

    until, hint = time.monotonic() + START_S, "ray status; serve status; the logs of the nodes"
    while (there := serve.status().applications[APPLICATION]).status != "RUNNING":
        answer = sum(each.replica_states.get("RUNNING", 0) for each in there.deployments.values())
        if processes is not None and answer >= processes:
            return
        if there.status == "DEPLOY_FAILED":
            raise HcqError(f"Ray Serve does not start: {there.message.strip()[-300:]}", hint)
        if time.monotonic() > until and not answer:
            raise HcqError(f"Ray Serve has started no process in {START_S:.0f} s: others use its nodes", hint)
        time.sleep(0.2)
