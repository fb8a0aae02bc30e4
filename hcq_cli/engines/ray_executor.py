"""The executor of `hcq extract --on ray`: jobs go to workers on any node, and again where a worker or a node dies.

The driver holds the plan and the writer lock of the store; workers write what they find into the store themselves,
under names made of content (features/incoming.py), so that a video that is decoded twice changes nothing. A worker
has one job at a time, the others wait here: whichever is free gets the next one, and a node that dies takes with it
only what its workers were at.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from experts.base import Expert
from hcq_cli.engines.ray_cluster import Node, check_nodes, connected, free_processors, living_nodes
from hcq_cli.engines.ray_worker import NodeNetworks, NodeWorker
from hcq_cli.errors import HcqError
from hcq_cli.extraction.executor import Job, Outcome
from hcq_cli.extraction.inference import needs_inference
from hcq_cli.extraction.local import START_S
from hcq_cli.extraction.options import ExtractionOptions, load_experts
from hcq_cli.extraction.plan import identities_of
from hcq_cli.media.inputs import Inputs

MOST_DEATHS = 3
"""Workers that may die at a video before it is taken for the cause."""
DECODER_BYTES = 1 << 30
"""Memory that Ray sets aside for a worker: what decoding a usual video takes at most."""
POLL_S = 1.0


@contextmanager
def ray_executor(on: str, inputs: Inputs, names: Sequence[str], options: ExtractionOptions) -> Iterator[RayExecutor]:
    """An executor on the cluster that `on` names, for one extraction.

    Args:
        on: see `ray_cluster.connected`.
        inputs: of the extraction.
        names: the experts, as `experts.registry.load` takes them.
        options: of the extraction; `workers` are at most so many, by default one a free processor.

    Raises:
        HcqError: the cluster cannot be reached, is full, has other versions, or a node sees other files.
    """
    experts = load_experts(names, options.sample_fps)
    options.check()
    options = replace(
        options, store=options.store.resolve(), memory_gib=options.memory_limit_bytes / 2**30
    )  # as this machine has it in its environment
    with connected(on) as address:
        nodes = living_nodes()
        count = min(free_processors(address, options.workers), max(1, len(inputs.videos)))
        step = max(1, len(inputs.videos) // 16)
        check_nodes(nodes, options.store, [video.path for video in inputs.videos[::step]])
        executor = RayExecutor(nodes, experts, names, options, workers=count)
        try:
            yield executor
        finally:
            executor.close()


@dataclass
class _Worker:
    """A worker as the driver sees it.

    Args:
        actor: its handle.
        waits_for: that it is ready, at first; then for the outcome of its job; None while it is idle.
        job: what it is at.
        node: where it runs, once that is known.
        started: on the monotonic clock, seconds.
    """

    actor: Any
    waits_for: Any
    started: float
    job: Job | None = None
    node: str = ""


class RayExecutor:
    """Workers on the nodes of a cluster; an `Executor`.

    Args:
        nodes: of the cluster.
        experts: those asked for.
        names: the same, as `experts.registry.load` takes them.
        options: how to extract.
        workers: how many.

    Raises:
        HcqError: the networks cannot be loaded on a node.
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        experts: Sequence[Expert],
        names: Sequence[str],
        options: ExtractionOptions,
        *,
        workers: int,
    ) -> None:
        self._options, self._names, self._folder = options, list(names), str(Path.cwd())
        self._identities = identities_of(experts, options)
        self._networks: dict[str, tuple[Any, str]] = {}
        self.slots, self.networks_s = 2 * workers, 0.0
        self.lost_workers = self._failed_starts = 0
        self._waiting: deque[Job] = deque()
        self._deaths: Counter[str] = Counter()
        self._given_up: deque[tuple[Job, Outcome]] = deque()
        self._next_node = 0
        self._asks_networks = needs_inference(experts)
        if self._asks_networks:
            self._start_networks(nodes)
        self._workers = [self._start() for _ in range(workers)]
        self._heard = time.monotonic()

    def submit(self, job: Job) -> None:
        """See `Executor.submit`."""
        self._waiting.append(job)
        self._hand_out()

    def next_outcome(self) -> tuple[Job, Outcome]:
        """See `Executor.next_outcome`."""
        import ray

        while not self._given_up:
            self._hand_out()
            waited_for = {worker.waits_for: worker for worker in self._workers if worker.waits_for is not None}
            done, _ = ray.wait(list(waited_for), num_returns=1, timeout=POLL_S)
            if not done:
                self._see_that_one_works()
            for reference in done:
                if (found := self._settle(waited_for[reference])) is not None:
                    self._hand_out()
                    return found
        return self._given_up.popleft()

    def close(self) -> None:
        """End all workers and networks."""
        import ray

        for worker in self._workers:
            with suppress(Exception):  # it is gone already
                ray.kill(worker.actor)
        for actor, _ in self._networks.values():
            with suppress(ray.exceptions.RayError):
                self.networks_s += ray.get(actor.close.remote(), timeout=START_S)
        self._workers, self._networks = [], {}

    def _hand_out(self) -> None:
        for worker in self._workers:
            if not self._waiting:
                return
            if worker.waits_for is None:
                worker.job = self._waiting.popleft()
                worker.waits_for = worker.actor.run.remote(worker.job.to_json())

    def _settle(self, worker: _Worker) -> tuple[Job, Outcome] | None:
        """Deal with what a worker has said, or with its death; gives the outcome of a job, if there is one."""
        import ray

        job = worker.job
        try:
            said = ray.get(worker.waits_for)
        except ray.exceptions.RayTaskError as error:  # a bug of ours: no other worker would fare better
            raise HcqError(f"a worker failed: {error}", "hcq doctor on the nodes") from error
        except ray.exceptions.RayError as error:
            reason = (str(error).strip().splitlines() or [""])[-1]
            self._replace(worker, reason, by_node=_is_dead(worker.node))
            return None
        if "fatal" in said:
            where = f"node {said['node'][:8]}: " if "node" in said else ""
            raise HcqError(f"{where}{said['fatal']}", said["hint"])
        self._heard = time.monotonic()
        worker.waits_for = worker.job = None
        if job is None:
            worker.node, self._failed_starts = said["node"], 0
            self._compare(said["identities"], worker.node)
            return None
        outcome = Outcome.from_json(said)
        if outcome.killed:  # its child process, by the system or by somebody: no fault of the worker's
            self._again(job, counts=True)
            return None
        return job, outcome

    def _replace(self, worker: _Worker, reason: str, *, by_node: bool) -> None:
        """Start another worker in the place of one that has died; what it was at is done again."""
        import ray

        self.lost_workers += 1
        if by_node:
            self._networks.pop(worker.node, None)
        if worker.node == "":  # it has not even begun
            self._failed_starts += 1
            if self._failed_starts > MOST_DEATHS * len(self._workers):
                raise HcqError(
                    f"Ray's workers die when they start: {reason}", "the logs of the nodes; hcq doctor there"
                )
        with suppress(Exception):
            ray.kill(worker.actor)  # one that cannot be reached may be alive
        if worker.job is not None:
            self._again(worker.job, counts=not by_node)
        self._workers[self._workers.index(worker)] = self._start()

    def _again(self, job: Job, *, counts: bool) -> None:
        key = job.facts.path
        self._deaths[key] += counts
        if self._deaths[key] >= MOST_DEATHS:
            reason = f"{MOST_DEATHS} workers died while they were at it"
            self._given_up.append((job, Outcome(error=reason, lasting=True)))
        else:
            self._waiting.appendleft(job)

    def _start(self) -> _Worker:
        """Start a worker, on whichever node has room; where networks run on nodes, on one of these."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        placement: Any = "SPREAD"
        address = ""
        if self._asks_networks:
            if not self._networks:
                raise HcqError("the nodes that ran the networks have died", "run the same command again")
            node = list(self._networks)[self._next_node % len(self._networks)]
            self._next_node += 1
            placement, address = NodeAffinitySchedulingStrategy(node, soft=False), self._networks[node][1]
        actor = (
            ray.remote(NodeWorker)
            .options(num_cpus=1, memory=DECODER_BYTES, max_restarts=0, scheduling_strategy=placement)
            .remote(self._names, self._options.to_json(), address, self._folder)
        )
        return _Worker(actor, actor.ready.remote(), time.monotonic())

    def _start_networks(self, nodes: Sequence[Node]) -> None:
        """A process for the networks on each node with a GPU, on every node where no GPU is to be used."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        on_gpu = self._options.device in ("auto", "cuda") and any(node.gpus >= 1 for node in nodes)
        started = {}
        for node in nodes:
            if on_gpu and node.gpus < 1:
                continue
            started[node.id] = (
                ray.remote(NodeNetworks)
                .options(
                    num_cpus=0,
                    num_gpus=1 if on_gpu else 0,
                    scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False),
                )
                .remote(self._names, self._options.device, self._folder)
            )
        for id, actor in started.items():
            said = ray.get(actor.address.remote())  # no deadline: a large network may take minutes to load
            if "fatal" in said:
                raise HcqError(said["fatal"], said["hint"])
            self._networks[id] = actor, said["address"]

    def _compare(self, identities: Mapping[str, str], node: str) -> None:
        for name, ours in self._identities.items():
            if identities[name] != ours:
                message = f"the expert {name} is another one on node {node[:8]}: {identities[name]}, here {ours}"
                raise HcqError(message, "install the same packages and weights on all nodes")

    def _see_that_one_works(self) -> None:
        """Nothing has been heard for a while: somebody must be at work, or soon be."""
        if any(worker.job is not None or worker.waits_for is None for worker in self._workers):
            self._heard = time.monotonic()
        elif time.monotonic() - self._heard > START_S:
            message = f"Ray has started no worker for {START_S:.0f} s: its nodes have died, or others use them"
            raise HcqError(message, "ray status; run the same command again, what is finished is kept")


def _is_dead(node: str) -> bool:
    """Whether a node has died, by what the cluster knows."""
    import ray

    return all(not known["Alive"] for known in ray.nodes() if known["NodeID"] == node)
