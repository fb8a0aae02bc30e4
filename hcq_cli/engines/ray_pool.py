"""Workers of one kind on the nodes of a cluster: a job each at a time, and again where a worker hangs or dies.

A worker is a `ray_worker.PoolWorker`. Jobs and answers are JSON: ids, hashes and seconds. All other jobs wait in the
driver: whichever worker is free gets the next one, and a node that dies takes with it only what its workers were at.
"""

from __future__ import annotations

import json
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from hcq_cli.engines.claims import Claim, as_options
from hcq_cli.engines.ray_cluster import (
    MOST_DEATHS,
    Node,
    anywhere_but,
    free_places,
    is_dead,
    living_nodes,
    room_for,
)
from hcq_cli.errors import HcqError

START_S = 180.0
"""How long nobody may be at work, or get on with its start, before the cluster is given up, seconds."""
HANG_S = 300.0
"""How long a worker may get no further with its job before another one gets it, seconds."""
LOOK_S = 5.0
"""How often the driver looks for workers that hang, and for nodes that have joined, seconds."""
POLL_S = 1.0

Json = dict[str, Any]


def start_worker(worker: type, *given: Any, claim: Claim, without: Collection[str] = ()) -> Any:
    """Start a `PoolWorker` on whichever node has room.

    Args:
        worker: its class.
        given: what that is made with.
        claim: what Ray sets aside for it.
        without: nodes that get none.
    """
    import ray

    how = {**as_options(claim), "scheduling_strategy": anywhere_but(without)}
    # Two threads: one at a job, one that tells how far it is.
    return ray.remote(worker).options(**how, max_restarts=0, max_concurrency=2).remote(*given)


class Watch:
    """How long an actor has got no further with what it is at; it must be a `ray_worker.Watched`.

    Attributes:
        asked: what it answers when it has started; later, how far it is.
    """

    def __init__(self, actor: Any) -> None:
        self.actor, self._moved = actor, -1.0
        self.begin()

    def begin(self) -> None:
        """It has been given something to do."""
        self.asked, self._moved_at = self.actor.moved.remote(), time.monotonic()

    @property
    def has_started(self) -> bool:
        """Whether it has ever said anything."""
        return self._moved >= 0

    def still_s(self) -> float:
        """For how long it has not moved, seconds; to be asked now and then."""
        import ray

        if ray.wait([self.asked], timeout=0)[0]:
            with suppress(ray.exceptions.RayError):  # it has died, which its answer tells as well
                if (moved := ray.get(self.asked)) != self._moved:
                    self._moved, self._moved_at = moved, time.monotonic()
            self.asked = self.actor.moved.remote()
        return time.monotonic() - self._moved_at


@dataclass
class _Worker:
    """A worker as the driver sees it."""

    actor: Any
    waits_for: Any
    """That it is ready, at first; then the answer to its job; None while it is idle."""
    watch: Watch
    job: Json | None = None
    node: str = ""
    """Where it runs, once that is known."""


class RayPool:
    """The workers, as many as there is room for, also on nodes that join later; used by one thread.

    Args:
        start: starts a worker with a claim on another node than those `without`; see `start_worker`.
        claim: of a worker.
        identities: what the work depends on here, by name; must be the same wherever there is a worker.
        most: how many workers there may be.
        check: says what nodes lack, by their ids, before any of theirs begins.
        begin: called once the nodes have been checked, before there is any worker.
        warn: told of a node that has joined and is left out.

    Attributes:
        lost_workers: how many have died, or hung.

    Raises:
        HcqError: the cluster is full, or a node cannot do the work.
    """

    def __init__(
        self,
        start: Callable[..., Any],
        claim: Claim,
        identities: Mapping[str, str],
        *,
        most: int,
        check: Callable[[Sequence[Node]], Mapping[str, HcqError]] = lambda nodes: {},
        begin: Callable[[Sequence[Node]], None] = lambda nodes: None,
        warn: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._start, self._claim, self._identities, self._most = start, claim, identities, most
        self._check, self._warn = check, warn
        self._checked, self._left_out = set[str](), set[str]()
        room_for(most, claim)  # which says at once that there is none
        nodes = living_nodes()
        self._first = {node.id for node in nodes}
        """Nodes without which nothing shall begin."""
        self._check_those_that_joined()
        begin(nodes)
        self.lost_workers = self._failed_starts = 0
        self._waiting: deque[Json] = deque()
        self._deaths: Counter[str] = Counter()
        self._given_up: deque[Json] = deque()
        self._workers = [self._started() for _ in range(room_for(most, claim))]
        self._heard = self._looked = time.monotonic()

    def __len__(self) -> int:
        """How many workers there are."""
        return len(self._workers)

    def submit(self, job: Json) -> None:
        """Take a job; does not wait."""
        self._waiting.append(job)
        self._hand_out()

    def next_answer(self) -> tuple[Json, Json | None]:
        """Wait for a job to be done, in whatever order; gives it with its answer, None where it kills its workers.

        Raises:
            HcqError: a worker says that no other would fare better, or there are none any more.
        """
        import ray

        while not self._given_up:
            self._hand_out()
            if time.monotonic() - self._looked > LOOK_S:
                self._replace_those_that_hang()
                self._use_what_is_free()
                self._looked = time.monotonic()
            waited_for = {worker.waits_for: worker for worker in self._workers if worker.waits_for is not None}
            done, _ = ray.wait(list(waited_for), num_returns=1, timeout=POLL_S)
            if not done:
                self._see_that_one_works()
            for reference in done:
                if (found := self._settle(waited_for[reference])) is not None:
                    self._hand_out()
                    return found
        return self._given_up.popleft(), None

    def again(self, job: Json, *, counts: bool) -> None:
        """Let a job be done again, next of all; given up where that is the last of `MOST_DEATHS` that count."""
        key = json.dumps(job, sort_keys=True)
        self._deaths[key] += counts
        if self._deaths[key] >= MOST_DEATHS:
            self._given_up.append(job)
        else:
            self._waiting.appendleft(job)

    def close(self) -> None:
        """End all workers."""
        import ray

        for worker in self._workers:
            with suppress(Exception):  # it is gone already
                ray.kill(worker.actor)
        self._workers = []

    def _started(self) -> _Worker:
        actor = self._start(claim=self._claim, without=self._left_out)
        return _Worker(actor, actor.ready.remote(), Watch(actor))

    def _hand_out(self) -> None:
        for worker in self._workers:
            if not self._waiting:
                return
            if worker.waits_for is None:
                worker.job = self._waiting.popleft()
                worker.waits_for = worker.actor.run.remote(worker.job)
                worker.watch.begin()

    def _settle(self, worker: _Worker) -> tuple[Json, Json] | None:
        """Deal with what a worker has said, or with its death; gives a job with its answer, if there is one."""
        import ray

        try:
            said = ray.get(worker.waits_for)
        except ray.exceptions.RayTaskError as error:  # a bug of ours: no other worker would fare better
            raise HcqError(f"a worker failed: {error}", "hcq doctor on the nodes") from error
        except ray.exceptions.RayError as error:
            reason = (str(error).strip().splitlines() or [""])[-1]
            self._replace(worker, reason, by_node=is_dead(worker.node))
            return None
        self._heard = time.monotonic()
        job, worker.waits_for, worker.job = worker.job, None, None
        if job is None:
            worker.node, self._failed_starts = said["node"], 0
            self._accept(worker, said)
        elif "fatal" in said:
            raise HcqError(said["fatal"], said["hint"])
        return None if job is None else (job, said)

    def _accept(self, worker: _Worker, said: Json) -> None:
        """See that a worker that is ready would do what one does here; on a node that is left out it ends."""
        if worker.node not in self._checked:
            self._check_those_that_joined()
        if worker.node not in self._left_out:
            where, others = f"node {worker.node[:8]}", said.get("identities", {})
            if "fatal" in said:
                self._leave_out(worker.node, HcqError(f"{where}: {said['fatal']}", said["hint"]))
            for name, ours in self._identities.items():
                if others.get(name, ours) != ours:
                    message = f"{where} has another {name}: {others[name]}, here {ours}"
                    same = "install the same packages and weights on all nodes"
                    self._leave_out(worker.node, HcqError(message, same))
        if worker.node in self._left_out:
            self._start_another(worker)

    def _check_those_that_joined(self) -> None:
        joined = [node for node in living_nodes() if node.id not in self._checked]
        for node, lacks in self._check(joined).items():
            self._leave_out(node, lacks)
        self._checked |= {node.id for node in joined}

    def _leave_out(self, node: str, lacks: HcqError) -> None:
        """Go on without a node that cannot do the work. Raises what it lacks if it was there when all began."""
        if node in self._first:
            raise lacks
        if node not in self._left_out:
            self._left_out.add(node)
            self._warn(f"{lacks.message}; it is left out ({lacks.hint})")

    def _replace_those_that_hang(self) -> None:
        """What a worker was at that gets no further goes to another one."""
        for worker in list(self._workers):
            if worker.job is not None and worker.watch.still_s() > HANG_S:
                self._replace(worker, "it hangs", by_node=False)

    def _use_what_is_free(self) -> None:
        """Start more workers where nodes have joined, or others have left them; never while any is starting."""
        room = min(len(self._waiting), self._most - len(self._workers))
        if room > 0 and all(worker.node for worker in self._workers):
            self._check_those_that_joined()
            free = free_places(self._claim, self._left_out).total()
            self._workers += [self._started() for _ in range(min(room, free))]

    def _replace(self, worker: _Worker, reason: str, *, by_node: bool) -> None:
        """Start another worker in the place of one that has died or hangs; what it was at is done again."""
        self.lost_workers += 1
        if worker.node == "":  # it has not even begun
            self._check_those_that_joined()  # one of these may have no hcq at all
            self._failed_starts += 1
            if self._failed_starts > MOST_DEATHS * len(self._workers):
                raise HcqError(
                    f"Ray's workers die when they start: {reason}", "the logs of the nodes; hcq doctor there"
                )
        if worker.job is not None:
            self.again(worker.job, counts=not by_node)
        self._start_another(worker)

    def _start_another(self, worker: _Worker) -> None:
        import ray

        with suppress(Exception):
            ray.kill(worker.actor)  # one that hangs or cannot be reached may be alive
        self._workers[self._workers.index(worker)] = self._started()

    def _see_that_one_works(self) -> None:
        """Nothing has been heard for a while: somebody must be at work, or soon be; to be ready may take hours, where
        all features are to be fetched."""
        if any(
            worker.job is not None or worker.waits_for is None or worker.watch.still_s() < START_S
            for worker in self._workers
        ):
            self._heard = time.monotonic()
        elif time.monotonic() - self._heard > START_S:
            message = f"Ray has started no worker for {START_S:.0f} s: its nodes have died, or others use them"
            raise HcqError(message, "ray status; run the same command again, what is finished is kept")
