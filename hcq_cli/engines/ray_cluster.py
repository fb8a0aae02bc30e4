"""Reaching a Ray cluster, and seeing that its nodes can do the work, before anything begins.

Ray Core alone is used: it starts workers and says when one dies; the file system holds the truth. Nothing is fetched
and nothing reported: no dashboard, no usage statistics, no runtime environments.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from hcq_cli.cores import cores
from hcq_cli.engines.claims import Claim, places, told
from hcq_cli.errors import HcqError, UsageError

ON_RAY = "ray"
CONNECT_S = 5.0
"""How long a machine may take to answer at all, seconds."""
PROBE_S = 120.0
"""How long a node may take to start a process and look at a few files, seconds."""
BEFORE_IMPORT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_gcs_server_request_timeout_seconds": "20",
    "RAY_NUM_REDIS_GET_RETRIES": "2",
}
"""What Ray reads when it is imported: nothing is sent to anybody, and a cluster that does not answer is given up."""
OBJECT_STORE_BYTES = 80 * 2**20
"""Of a cluster of this machine alone; hcq keeps nothing in it, and Ray takes no less."""
RELEASE_S = 5.0
"""How long a command that has just ended may keep its processors: Ray gives them back a moment later."""
PROCESSOR: Claim = {"CPU": 1}
MOST_DEATHS = 3
"""Processes that may die or hang at a job before it is taken for the cause."""
SAMPLES = 16
"""Videos that every node must see."""


class Node(NamedTuple):
    """A machine of the cluster: as Ray names it and as people do, and what it has of each resource."""

    id: str
    host: str
    resources: Mapping[str, float]


def address_of(on: str) -> str:
    """The address of the cluster that `on` names: of `ray` the one that this machine is a node of, or RAY_ADDRESS; of
    `ray:HOST:PORT` that one; `local` of `ray:local`, which is one of this machine alone.

    Raises:
        UsageError: it names no engine.
    """
    engine, _, address = on.partition(":")
    if engine != ON_RAY:
        raise UsageError(f"--on {on!r} names no engine", "--on ray, --on ray:HOST:PORT or --on ray:local")
    return address or os.environ.get("RAY_ADDRESS", "auto")


def without_engine(on: str | None, step: str, note: Callable[[str], None]) -> None:
    """Say that a step runs on this machine, where an engine is named that other steps have a use for.

    Raises:
        UsageError: `on` names no engine.
    """
    if on is not None:
        address_of(on)
        note(f"{step} on this machine")


@contextmanager
def connected(on: str) -> Iterator[None]:
    """Be connected to the cluster that `on` names (`address_of`).

    Raises:
        UsageError: `on` names no engine, or Ray is not installed.
        HcqError: there is no such cluster, this machine is none of its nodes, or it runs other versions.
    """
    address = address_of(on)
    os.environ.update(BEFORE_IMPORT)
    if address == "local" or _answers_at_home_alone(address):
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    try:
        import ray
    except ImportError:
        raise UsageError("Ray is not installed", 'pip install "hcq[ray]"') from None
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "CRITICAL", "namespace": secrets.token_hex(8)}
    if address == "local":
        quiet |= {"num_cpus": cores(), "include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
        quiet["_node_ip_address"] = "127.0.0.1"  # whoever reaches a Ray cluster may run anything on it
    at_end = signal.getsignal(signal.SIGTERM)
    try:
        # What befalls its nodes Ray prints on stdout, where the answer of the command alone belongs.
        from ray._private import worker

        worker.print_to_stdstream = lambda *told, **how: None
        # Ray puts the current folder on the path of every worker: it may hold anybody's Python files.
        with contextlib.chdir("/"):
            ray.init(address=address, **quiet)
    except Exception as error:  # a node that does not start in time is a bare Exception of Ray's
        told = " ".join(str(error).split())
        if "ersion mismatch" in told:
            raise HcqError(f"Ray at {address}: {told}", "run the same Python and Ray on all machines") from error
        if address == "local":  # Ray gives the processes of a node half a minute, and some of them half of that
            message, hint = "Ray does not start here", "run it again when this machine is less busy"
        else:
            message = f"Ray cannot be reached at {address}"
            hint = "start hcq on a machine of the cluster (ray start --address=…), or --on ray:local"
        raise HcqError(f"{message}: {told[:300]}", hint) from error
    with contextlib.suppress(ValueError):  # not in the main thread
        signal.signal(signal.SIGTERM, at_end)  # Ray's own way is to abort with a stack
    try:
        yield
    finally:
        ray.shutdown()


def _answers_at_home_alone(address: str) -> bool:
    """See that somebody listens at an address: where Ray would wait for minutes, this takes seconds.

    Returns:
        whether that is so on the loopback interface alone. Ray takes 127.0.0.1 for this machine's address in the
        network, unless it is told that there is no network.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        return False
    try:
        socket.create_connection((host, int(port)), CONNECT_S).close()
    except OSError as error:
        message = f"Ray cannot be reached at {address}: {error.strerror or error}"
        raise HcqError(message, "ray status --address=… tells whether it runs; --on ray:HOST:PORT") from error
    if host not in ("127.0.0.1", "localhost"):
        return False
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(("192.0.2.1", 9))  # which sends nothing, and tells by which address it would
            outside = probe.getsockname()[0]
        socket.create_connection((outside, int(port)), CONNECT_S).close()
    except OSError:
        return True
    return False


def living_nodes() -> list[Node]:
    """The nodes that have processors for work."""
    import ray

    found = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) >= 1]
    return [Node(node["NodeID"], node["NodeManagerHostname"], node["Resources"]) for node in found]


def head_name() -> str:
    """What the machine is called that the cluster began with."""
    import ray

    return next(str(n["NodeManagerHostname"]) for n in ray.nodes() if "node:__internal_head__" in n["Resources"])


def is_dead(node: str) -> bool:
    """Whether a node has died, by what the cluster knows."""
    import ray

    return all(not known["Alive"] for known in ray.nodes() if known["NodeID"] == node)


def free_places(claim: Claim, without: Collection[str] = ()) -> Counter[str]:
    """How many processes with a claim each node has room for now, but for nodes that get none."""
    from ray._private import state

    free = state.available_resources_per_node()
    return Counter({node: places(has, claim) for node, has in free.items() if node not in without})


def anywhere_but(without: Collection[str]) -> Any:
    """How Ray chooses the node of a worker: spread over all, or over all others than these."""
    import ray
    from ray.util.scheduling_strategies import NodeLabelSchedulingStrategy, NotIn

    if not without:
        return "SPREAD"
    # What the label is called that holds a node's id is not the same in all versions of Ray.
    names = (name for node in ray.nodes() for name, text in node["Labels"].items() if text == node["NodeID"])
    return NodeLabelSchedulingStrategy(hard={next(names): NotIn(*without)})


def room_for(most: int, claim: Claim = PROCESSOR, least: int = 1) -> int:
    """How many processes with a claim there is room for, at most so many.

    Args:
        most: that are wanted.
        claim: of each.
        least: that there must be room for.

    Raises:
        HcqError: no node has what they claim, or the cluster is full.
    """
    import ray

    until = time.monotonic() + RELEASE_S
    while (free := free_places(claim).total()) < least and time.monotonic() < until:
        time.sleep(0.1)
    if free < least:
        where, every = ray.get_runtime_context().gcs_address, [places(n.resources, claim) for n in living_nodes()]
        if not any(every):
            message = f"Ray at {where}: no node has {told(claim)}"
            raise HcqError(message, "give it a machine that has it; of hcq extract --claim says what is claimed")
        message = f"Ray at {where} is full: it has room for {sum(every)} processes with {told(claim)}, now for {free}"
        raise HcqError(message, "wait until it is free (ray status), or give it more machines")
    return min(free, most)


def check_nodes(nodes: Sequence[Node], folder: Path | None, files: Sequence[str]) -> dict[str, HcqError]:
    """See whether nodes have the same hcq as this machine, and see the same files.

    Args:
        nodes: those that shall work.
        folder: what they write to; need not be there yet. None where each has a mirror of its own.
        files: some of what they read; `SAMPLES` of them are looked at.

    Returns:
        of those that cannot do the work, by id, what each lacks.

    Raises:
        HcqError: this machine cannot write to the folder.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    probe, asked, lacking = _probe(), list[tuple[Node, Any]](), dict[str, HcqError]()
    with _marked(folder) as mark:
        here = probe(looked_at := list(files[:SAMPLES]))
        for node in nodes:
            there = NodeAffinitySchedulingStrategy(node.id, soft=False)
            task = ray.remote(probe).options(num_cpus=0, max_retries=0, scheduling_strategy=there)
            asked.append((node, task.remote([*looked_at, *mark])))
        for node, answer in asked:
            try:
                said = ray.get(answer, timeout=PROBE_S)
                if [path for path in mark if said[2].pop(path) is None]:
                    place = os.path.dirname(mark[0])  # noqa: PTH120
                    message = f"node {node.host} does not see the folder {place}, or another one under that name"
                    raise HcqError(message, SAME_PLACE)
                _compare(node.host, here, said)
            except HcqError as error:
                lacking[node.id] = error
            except ray.exceptions.RayError as error:
                if not is_dead(node.id):  # it might have died unnoticed until now
                    reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
                    message = f"node {node.host} cannot work: {reason}"
                    lacking[node.id] = HcqError(message, "ray status; the logs of that node")
    return lacking


SAME_PLACE = "mount the videos and the workspace on all nodes, under the same names"


def _compare(host: str, here: Probed, said: Probed) -> None:
    """Raise HcqError where a node's hcq or Python is another one, or the files that it sees."""
    same = "install the same hcq, in the same Python, on all nodes, and start Ray from there"
    if not said[0]:
        raise HcqError(f"node {host} has no hcq", same)
    if said[:2] != here[:2]:
        theirs, ours = (f"hcq {hcq} on Python {python}" for hcq, python, _ in (said, here))
        raise HcqError(f"node {host} has {theirs}, this machine {ours}", same)
    for path, known in here[2].items():
        if said[2][path] != known:
            what = "is not there" if said[2][path] is None else "is another file there"
            raise HcqError(f"node {host}: {path} {what}", SAME_PLACE)


@contextmanager
def _marked(folder: Path | None) -> Iterator[list[str]]:
    """A file in `folder`, or in that above which is there, by which others see that theirs is the same."""
    if folder is None:
        yield []
        return
    place = next(each for each in (folder, *folder.parents) if each.is_dir())
    mark = place / f".{secrets.token_hex(8)}.tmp"
    try:
        mark.touch()
    except OSError as error:
        message = f"{place}: cannot be written ({error.strerror})"
        raise HcqError(message, "choose a folder you may write to") from error
    try:
        yield [os.fspath(mark)]
    finally:
        mark.unlink(missing_ok=True)


Probed = tuple[str, str, dict[str, tuple[int, int] | None]]
"""The versions of hcq and Python on a machine, and of files their bytes and when they were changed."""


def _probe() -> Callable[[list[str]], Probed]:
    """What finds that out. Nested, and so sent as it is: where hcq is not installed, it says so."""

    def probe(paths: list[str]) -> Probed:
        import importlib.metadata
        import os
        import platform

        seen: dict[str, tuple[int, int] | None] = dict.fromkeys(paths)
        for path in paths:
            try:
                found = os.stat(path)  # noqa: PTH116
                seen[path] = (found.st_size, found.st_mtime_ns)
            except OSError:
                continue
        try:
            version = importlib.metadata.version("hcq")
        except ImportError:
            version = ""
        return version, platform.python_version(), seen

    return probe
