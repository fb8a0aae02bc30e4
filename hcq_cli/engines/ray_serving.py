"""`hcq serve --on ray`: the page and its API by a process on every node of a cluster, behind one address (Ray Serve).

Each of them is what `hcq serve` is: a searcher with the index mapped into memory, which picks up a new generation by
itself. One that dies is started again, and others answer meanwhile.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hcq_cli.engines.ray_cluster import check_nodes, connected, living_nodes
from hcq_cli.errors import HcqError, needing

if TYPE_CHECKING:
    from starlette.types import ASGIApp


APPLICATION = "hcq"
"""As Ray Serve calls it: whoever serves anew replaces what is there."""


def serve_on_ray(
    on: str,
    build: Callable[[], ASGIApp],
    index: Path,
    *,
    host: str,
    port: int,
    started: Callable[[], None],
) -> None:
    """Serve until the process is interrupted.

    Args:
        on: see `ray_cluster.connected`.
        build: makes the application, in each process.
        index: all nodes must see it.
        host, port: where the head of the cluster listens.
        started: called when it answers.

    Raises:
        NotFoundError: Ray Serve is not installed.
        HcqError: the cluster cannot be reached, or a node cannot do the work, or the port is taken, or Ray Serve runs
            there already and listens elsewhere.
    """
    with connected(on):
        with needing("Ray Serve is not installed", "serve"):
            from ray import serve
            from ray.serve.context import _get_global_client
        nodes, files = living_nodes(), sorted(map(str, index.glob("*.hcq")))
        for lacks in check_nodes(nodes, index, files).values():
            raise lacks

        def application() -> ASGIApp:  # Ray Serve takes a function and nothing else
            return build()

        running = _get_global_client(raise_if_no_controller_running=False)
        if running and (there := running.http_config) and (there.host, there.port) != (host, port):
            message = f"Ray Serve of this cluster listens at {there.host}:{there.port}, and at one address alone"
            raise HcqError(message, f"--host {there.host} --port {there.port} replaces what it serves as hcq")
        logging.getLogger("ray.serve").setLevel(logging.ERROR)
        how: dict[str, Any] = {"num_replicas": len(nodes), "max_replicas_per_node": 1}
        front = serve.deployment(serve.ingress(application)(), **how, ray_actor_options={"num_cpus": 1})
        try:
            serve.start(http_options={"host": host, "port": port})
            serve.run(front.bind(), name=APPLICATION, route_prefix="/")
            started()
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
