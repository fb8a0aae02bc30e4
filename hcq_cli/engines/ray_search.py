"""An index searched by actors of a Ray cluster: each holds a group of its segments, mapped into memory.

In the place of an actor that dies or hangs another one is started, on whichever node has room, and asked; where that
does not come about in time, the search fails, or the answer is said to be partial.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from hcq_cli.engines.ray_cluster import check_nodes, connected, living_nodes, room_for
from hcq_cli.engines.ray_pool import START_S, Watch
from hcq_cli.engines.ray_worker import Watched
from hcq_cli.errors import HcqError
from hcq_cli.remote.nodes import Place, arrived, mirror_of, sent
from hcq_cli.scan.topk import TopK
from hcq_cli.search.groups import GroupedIndex, GroupQuestion, divide, search_group
from hcq_cli.search.index import Index
from hcq_cli.search.manifest import generations

STILL_S = 20.0
"""How long an actor may get no further with its answer before another one is asked, seconds."""
AGAIN_S = 60.0
"""How long that one may take to start."""
LOOK_S = 1.0
"""How often it is looked whether one hangs."""
PARTIAL_S = 5.0
"""How long a group may take to answer, where a partial answer is good enough."""


class GroupActor(Watched):
    """Holds a group of segments on some node.

    Args:
        place: of the index, as `nodes.sent` says it.
        generation: of it.
        first, last: the group.
    """

    def __init__(self, place: Place, generation: int, first: int, last: int) -> None:
        folder = arrived([place])[0]
        self._index = Index(folder, generations(folder).read(generation))
        self._group = range(first, last)

    def search(
        self, tables: np.ndarray, k: int, chosen: list[np.ndarray] | None, kernel: str | None, by_video: bool
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Scores and rows of the best k for each query."""
        self._at_work()
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
        segments = [segment.videos for segment in index.segments]
        parts, folder = divide(segments, room_for(groups or len(segments))), index.path.resolve()
        everywhere = [str(each.path) for each in index.segments] if mirror_of(folder) is None else []
        for lacks in check_nodes(living_nodes(), folder if everywhere else None, everywhere).values():
            raise lacks
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
        self._place = sent(folder)[0]
        self.watched = [Watch(self._start(group)) for group in groups]
        # How long they take to start is no answer's time.
        ray.wait([each.asked for each in self.watched], num_returns=len(groups), timeout=START_S)
        for each in self.watched:
            each.still_s()  # who has started is known from here on

    def _start(self, group: range) -> Any:
        import ray

        # Two threads: one that searches, one that tells how far it is.
        how: dict[str, Any] = {"num_cpus": 1, "max_restarts": 0, "max_concurrency": 2}
        actor = ray.remote(GroupActor).options(**how, scheduling_strategy="SPREAD")
        return actor.remote(self._place, self._generation, group.start, group.stop)

    def ask(self, question: GroupQuestion) -> list[list[TopK] | None]:
        """See `GroupHolder.ask`.

        Raises:
            HcqError: a group does not answer in time, and a partial answer was not asked for.
        """
        import ray

        # Put once: every actor of a node reads the same tables.
        asked = (ray.put(question.tables), question.k, question.chosen, question.kernel, question.by_video)
        answers: list[list[TopK] | None] = [None] * len(self._groups)
        until = time.monotonic() + PARTIAL_S if self._partial else math.inf
        give_up_at = [math.inf] * len(self._groups)
        """When a group is not asked once more: set where it was lost first."""
        waiting = {self._search(at, asked): at for at in range(len(self._groups))}
        while waiting and (left_s := until - time.monotonic()) > 0:
            done, others = ray.wait(list(waiting), num_returns=1, timeout=min(LOOK_S, left_s))
            lost = [each for each in others if self._hangs(waiting[each])]
            for reference in done:
                try:
                    answers[waiting[reference]] = [TopK(scores, rows) for scores, rows in ray.get(reference)]
                    del waiting[reference]
                except ray.exceptions.RayTaskError as error:
                    raise HcqError(f"{self._folder}: {error}", "run the same command again") from error
                except ray.exceptions.RayError:  # its process or its node has died
                    lost.append(reference)
            for at in [waiting.pop(reference) for reference in lost]:
                self._replace(at)
                if time.monotonic() < give_up_at[at]:
                    give_up_at[at] = min(give_up_at[at], time.monotonic() + AGAIN_S)
                    waiting[self._search(at, asked)] = at
        for at in waiting.values():  # there was no time to see that it hangs: the next question finds another one
            if self.watched[at].has_started and self.watched[at].still_s() > PARTIAL_S / 2:
                self._replace(at)
        missing = [group for group, answer in zip(self._groups, answers, strict=True) if answer is None]
        if missing and not self._partial:
            message = f"{self._folder}: nobody answers for the segments " + ", ".join(
                f"{group.start}-{group.stop - 1}" for group in missing
            )
            raise HcqError(message, "ray status; --partial takes an answer without them")
        return answers

    def _search(self, at: int, asked: Sequence[Any]) -> Any:
        """Ask a group."""
        self.watched[at].begin()
        return self.watched[at].actor.search.remote(*asked)

    def _hangs(self, at: int) -> bool:
        watch = self.watched[at]
        return watch.still_s() > (STILL_S if watch.has_started else AGAIN_S)

    def _replace(self, at: int) -> None:
        import ray

        with suppress(Exception):
            ray.kill(self.watched[at].actor)  # one that hangs is alive
        self.watched[at] = Watch(self._start(self._groups[at]))

    def close(self) -> None:
        """End all actors."""
        import ray

        for each in self.watched:
            with suppress(Exception):
                ray.kill(each.actor)
