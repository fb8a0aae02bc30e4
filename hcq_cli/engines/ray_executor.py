"""The executor of `hcq extract --on ray`: videos to workers on any node.

The driver holds the plan and the writer lock of the store; workers write what they find into the store themselves,
under names made of content (features/folder.py), so that a video that is decoded twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from hcq_cli.engines.claims import Claim, as_options, places, read_claims
from hcq_cli.engines.ray_cluster import (
    MOST_DEATHS,
    SAMPLES,
    Node,
    check_nodes,
    connected,
    is_dead,
    room_for,
)
from hcq_cli.engines.ray_pool import START_S, RayPool, start_worker
from hcq_cli.engines.ray_worker import NodeNetworks, NodeWorker
from hcq_cli.errors import HcqError, UsageError
from hcq_cli.extraction.executor import Job, Outcome
from hcq_cli.extraction.options import ExtractionOptions, load_experts, needs_inference
from hcq_cli.extraction.plan import identities_of
from hcq_cli.media.inputs import Inputs
from hcq_cli.remote.nodes import mirror_of, sent

WORKER: Claim = {"CPU": 1, "memory": 1 << 30}
"""What a worker claims where nothing else is said: its memory is what decoding a usual video takes at most."""


@contextmanager
def ray_executor(
    on: str,
    inputs: Inputs,
    names: Sequence[str],
    options: ExtractionOptions,
    claims: Sequence[str] = (),
    warn: Callable[[str], None] = lambda line: None,
) -> Iterator[RayExecutor]:
    """An executor on the cluster that `on` names (`ray_cluster.connected`), for one extraction; see `RayExecutor`."""
    videos = list(inputs.videos.values())
    with connected(on), closing(RayExecutor(videos, names, options, claims=claims, warn=warn)) as executor:
        yield executor


class RayExecutor:
    """Workers on the nodes of a cluster, and networks where experts need them; an `Executor`.

    Args:
        videos: the paths of all, some of which every node must see.
        names: the experts, as `experts.registry.load` takes them.
        options: of the extraction; `workers` are at most so many, by default as many as there is room for.
        claims: of workers and experts; see `claims.read_claims`.
        warn: told of a node that has joined and is left out.

    Raises:
        HcqError: the cluster is full, has other versions, or a node sees other files or cannot load the networks.
    """

    def __init__(
        self,
        videos: Sequence[str],
        names: Sequence[str],
        options: ExtractionOptions,
        claims: Sequence[str] = (),
        warn: Callable[[str], None] = lambda line: None,
    ) -> None:
        # The limit as this machine has it in its environment.
        limit_gib = options.memory_limit_bytes / 2**30
        self._options = replace(options, store=options.store.resolve(), memory_gib=limit_gib)
        self._names, self._folder, self.networks_s = list(names), str(Path.cwd()), 0.0
        self._networks: list[tuple[str, Any]] = []
        """Of each process that runs networks its node and its actor."""
        experts = load_experts(names, options.sample_fps)
        networks = {expert.name: needs_inference([expert]) for expert in experts}
        self._claims = read_claims(claims, networks, WORKER)
        if "GPU" in self._claims.networks and options.device == "cpu":
            raise UsageError("--claim: networks claim a GPU, which --device cpu does not use", "--device auto")
        identities = {f"expert {name}": known for name, known in identities_of(experts, options).items()}
        seen, most = videos[:: max(1, len(videos) // SAMPLES)], min(options.workers or len(videos), len(videos))
        self._mirror, self._store = mirror_of(options.store), sent(options.store)[0]
        check = partial(check_nodes, folder=None if self._mirror else self._options.store, files=seen)
        begin = self._start_networks if any(networks.values()) else lambda nodes: None
        how: dict[str, Any] = {"most": most, "check": check, "begin": begin, "warn": warn}
        self._pool = RayPool(self._start, self._claims.worker, identities, **how)

    @property
    def slots(self) -> int:
        """See `Executor.slots`; more when more workers have been started."""
        return 2 * len(self._pool)

    def submit(self, job: Job) -> None:
        """See `Executor.submit`."""
        self._pool.submit(job.to_json())

    def next_outcome(self) -> tuple[Job, Outcome]:
        """See `Executor.next_outcome`."""
        while True:
            job, said = self._pool.next_answer()
            if said is None:
                reason = f"{MOST_DEATHS} workers died or hung while they were at it"
                return Job.from_json(job), Outcome(error=reason, lasting=True)
            for name in said.pop("put", ()):
                assert self._mirror is not None
                self._mirror.take(self._mirror.folder / name)
            outcome = Outcome.from_json(said)
            if not outcome.killed:
                return Job.from_json(job), outcome
            # Its child process was, by the system or by somebody: no fault of the worker's.
            self._pool.again(job, counts=True)

    def close(self) -> None:
        """End all workers and networks."""
        import ray

        self._pool.close()
        for _, actor in self._networks:
            with suppress(ray.exceptions.RayError):
                self.networks_s += ray.get(actor.close.remote(), timeout=START_S)
        self._networks = []

    def _start(self, *, claim: Claim, without: Collection[str]) -> Any:
        """Start a worker, on whichever node has room; it asks networks of its own node, or else of another one."""
        networks = [each for each in self._networks if not is_dead(each[0])]
        if self._networks and not networks:
            raise HcqError("the nodes that ran the networks have died", "run the same command again")
        self._networks = [*self._networks[1:], *self._networks[:1]]  # each worker begins with the next one
        given = (self._names, {**self._options.to_json(), "store": self._store}, networks, self._folder)
        return start_worker(NodeWorker, *given, claim=claim, without=without)

    def _start_networks(self, nodes: Sequence[Node]) -> None:
        """Processes for the networks, for the workers of all nodes: as many as there is room for on the GPUs; where
        no GPU is to be used, one on every node that has what they claim."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        claim, cpu_alone = self._claims.networks, self._options.device not in ("auto", "cuda")
        on_gpu = not cpu_alone and any(node.resources.get("GPU", 0) >= claim.get("GPU", 1) for node in nodes)
        if on_gpu:
            claim = {"GPU": 1, **claim}
        there = [(node.id, places(node.resources, claim)) for node in nodes]
        chosen = [node for node, count in there for _ in range(count if on_gpu else min(count, 1))]
        room_for(len(chosen), claim, least=max(len(chosen), 1))
        # They end with their node, and on the same one they start again.
        how = {**as_options(claim), "max_restarts": -1, "max_task_retries": -1}
        started = [
            ray.remote(NodeNetworks)
            .options(**how, scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False))
            .remote(self._names, self._options.device, self._folder)
            for node in chosen
        ]
        for node, actor in zip(chosen, started, strict=True):
            try:
                said = ray.get(actor.address.remote())  # no deadline: a large network may take minutes to load
            except ray.exceptions.RayError as error:
                message = f"the process that runs the networks has died on node {node[:8]}"
                raise HcqError(message, "ray status; the logs of that node; run the same command again") from error
            if "fatal" in said:
                raise HcqError(said["fatal"], said["hint"])
            self._networks.append((node, actor))
