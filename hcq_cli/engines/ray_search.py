"""An index searched by actors of a Ray cluster: each holds a group of its segments, mapped into memory.

An actor that dies is started again on whichever node has room, and asked again; where that does not come about in
time, the search fails, or the answer is said to be partial.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from hcq_cli.engines.ray_cluster import check_nodes, connected, living_nodes, room_for
from hcq_cli.engines.ray_pool import START_S
from hcq_cli.errors import HcqError
from hcq_cli.scan.topk import TopK
from hcq_cli.search.groups import GroupedIndex, GroupQuestion, divide, search_group
from hcq_cli.search.index import Index, generations

AGAIN_S = 60.0
"""How long a group may take to answer, another actor for it included, seconds."""
PARTIAL_S = 5.0
"""The same where a partial answer is good enough."""


class GroupActor:
    """Holds a group of segments on some node.

    Args:
        folder: of the index.
        generation: of it.
        first, last: the group.
    """

    def __init__(self, folder: str, generation: int, first: int, last: int) -> None:
        self._index = Index(Path(folder), generations(Path(folder)).read(generation))
        self._group = range(first, last)

    def ready(self) -> bool:
        """True, once it can be asked."""
        return True

    def search(
        self, tables: np.ndarray, k: int, chosen: list[np.ndarray] | None, kernel: str | None, by_video: bool
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Scores and rows of the best k for each query."""
        found = search_group(self._index, self._group, GroupQuestion(tables, k, chosen, kernel, by_video))
        return [(answer.scores, answer.rows) for answer in found]


@contextmanager
def search_on_ray(
    on: str, index: Index, *, groups: int | None = None, partial: bool = False
) -> Iterator[GroupedIndex]:
    """The index, searched by the cluster that `on` names.

    Args:
        on: see `ray_cluster.connected`.
        index: open here.
        groups: of its segments; by default one a free processor.
        partial: whether an answer that lacks a group is better than none.

    Raises:
        HcqError: the cluster cannot be reached, is full, has other versions, or does not see the index.
    """
    with connected(on):
        segments = [segment.videos for segment, _ in index.segments]
        parts, folder = divide(segments, room_for(groups or len(segments))), index.path.resolve()
        check_nodes(living_nodes(), folder, [str(segment.path) for segment, _ in index.segments])
        actors = RayGroups(folder, index.generation, parts, partial=partial)
        try:
            yield GroupedIndex(index, parts, actors)
        finally:
            actors.close()


class RayGroups:
    """The actors of an index; a `GroupHolder`.

    Args:
        folder: of the index.
        generation: of it.
        groups: one an actor.
        partial: whether groups that do not answer in time are left out.
    """

    def __init__(self, folder: Path, generation: int, groups: Sequence[range], *, partial: bool) -> None:
        import ray

        self._folder, self._generation, self._groups, self._partial = folder, generation, groups, partial
        self.actors = [self._start(group) for group in groups]
        # How long they take to start is no answer's time.
        ray.wait([actor.ready.remote() for actor in self.actors], num_returns=len(groups), timeout=START_S)

    def _start(self, group: range) -> Any:
        import ray

        actor = ray.remote(GroupActor).options(num_cpus=1, max_restarts=0, scheduling_strategy="SPREAD")
        return actor.remote(str(self._folder), self._generation, group.start, group.stop)

    def ask(self, question: GroupQuestion) -> list[list[TopK] | None]:
        """See `GroupHolder.ask`.

        Raises:
            HcqError: a group does not answer in time, and a partial answer was not asked for.
        """
        import ray

        # Put once: every actor of a node reads the same tables.
        asked = (ray.put(question.tables), question.k, question.chosen, question.kernel, question.by_video)
        deadline = time.monotonic() + (PARTIAL_S if self._partial else AGAIN_S)
        waiting = {actor.search.remote(*asked): at for at, actor in enumerate(self.actors)}
        answers: list[list[TopK] | None] = [None] * len(self._groups)
        while waiting and (left_s := deadline - time.monotonic()) > 0:
            done, _ = ray.wait(list(waiting), num_returns=1, timeout=left_s)
            for reference in done:
                at = waiting.pop(reference)
                try:
                    answers[at] = [TopK(scores, rows) for scores, rows in ray.get(reference)]
                except ray.exceptions.RayTaskError as error:
                    raise HcqError(f"{self._folder}: {error}", "run the same command again") from error
                except ray.exceptions.RayError:  # its process or its node has died
                    self.actors[at] = self._start(self._groups[at])
                    waiting[self.actors[at].search.remote(*asked)] = at
        if waiting and not self._partial:
            lost = ", ".join(
                f"{self._groups[at].start}-{self._groups[at].stop - 1}" for at in sorted(waiting.values())
            )
            message = f"{self._folder}: nobody answers for the segments {lost}"
            raise HcqError(message, "ray status; --partial takes an answer without them")
        return answers

    def close(self) -> None:
        """End all actors."""
        import ray

        for actor in self.actors:
            with suppress(Exception):
                ray.kill(actor)
