"""A Ray cluster searches an index: the answers of one machine, also when an actor dies."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from handmade import HEADER, names, quantizer, random_codes, random_levels, write_codes

pytest.importorskip("ray")

from indexes import add, build
from ray_cluster import actors, add_node

from hcq_cli.engines import ray_search
from hcq_cli.errors import HcqError
from hcq_cli.scan.table import tables
from hcq_cli.search.groups import GroupedIndex
from hcq_cli.search.index import Index
from hcq_cli.search.params import SearchParams
from hcq_cli.search.query import find

pytestmark = pytest.mark.long
EXACT = SearchParams(exact=True)
LARGE = replace(HEADER, levels=16, K=256)
"""64 bytes."""


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    """Four segments of 300 videos, each of which is there several times."""
    folder = tmp_path_factory.mktemp("index")
    codes = random_codes(200)[np.random.default_rng(3).integers(0, 200, 1200)]
    for number in range(4):
        part = codes[300 * number : 300 * (number + 1)]
        file = write_codes(folder / f"{number}.hcq", names(300, f"v{number}-"), part)
        build(folder / "index", [file]) if number == 0 else add(folder / "index", [file])
    return Index.open(folder / "index")


def test_the_answers_are_those_of_one_machine_also_after_an_actor_has_died(cluster, index, monkeypatch) -> None:
    """All in one process: who has been connected to one cluster is not connected to another."""
    import ray

    levels = random_levels(40)
    table = tables(levels, *quantizer())
    whole = find(index, levels, table, 25, params=SearchParams(exact=True))
    with ray_search.search_on_ray(f"ray:{cluster.address}", index) as grouped:
        assert len(grouped.groups) == 2

        def same() -> bool:
            found = find(grouped, levels, table, 25, params=SearchParams(exact=True))
            return np.array_equal(found.rows, whole.rows) and np.array_equal(found.scores, whole.scores)

        assert same() and not grouped.missing
        ray.kill(grouped._holder.watched[0].actor)
        assert same() and not grouped.missing
        # No time for another actor: the answer is said to be partial, and what is there is right.
        monkeypatch.setattr(ray_search, "PARTIAL_S", 20.0)
        grouped._holder._partial = True
        waits = ray.remote(ray_search.GroupActor).options(num_cpus=1000)
        monkeypatch.setattr(grouped._holder, "_start", lambda group: waits.remote("", 0, 0, 0))
        ray.kill(grouped._holder.watched[1].actor)
        part = find(grouped, levels, table, 25, params=SearchParams(exact=True))
        assert grouped.missing == [grouped.groups[1]] and grouped.missing_rows == 600
        assert part.rows.max() < 600
        for mine, every in zip(
            part.rows, find(index, levels, table, 1200, params=SearchParams(exact=True)).rows, strict=True
        ):
            assert mine.tolist() == [row for row in every.tolist() if row < 600][:25]


def test_an_actor_that_hangs_is_replaced_or_said_to_be_missing(cluster, index, log, monkeypatch) -> None:
    levels = random_levels(40)
    table = tables(levels, *quantizer())
    whole = find(index, levels, table, 25, params=EXACT)
    monkeypatch.setattr(ray_search, "STILL_S", 4.0)

    def stop_one() -> int:
        alive = actors("GroupActor", log)
        os.kill(alive[0], signal.SIGSTOP)
        return alive[0]

    with ray_search.search_on_ray(f"ray:{cluster.address}", index) as grouped:
        find(grouped, levels, table, 25, params=EXACT)
        stopped, begun = stop_one(), time.monotonic()
        found = find(grouped, levels, table, 25, params=EXACT)
        assert np.array_equal(found.rows, whole.rows) and np.array_equal(found.scores, whole.scores)
        assert not grouped.missing and stopped not in actors("GroupActor", log)
        assert time.monotonic() - begun < ray_search.AGAIN_S
        # Where a partial answer was asked for it comes in time, and the next one is whole again.
        grouped._holder._partial = True
        stopped, begun = stop_one(), time.monotonic()
        found = find(grouped, levels, table, 25, params=EXACT)
        assert time.monotonic() - begun < 2 * ray_search.PARTIAL_S and len(grouped.missing) == 1
        lost = range(600) if grouped.missing == [grouped.groups[0]] else range(600, 1200)
        assert not any(row in lost for row in found.rows.ravel().tolist())
        monkeypatch.setattr(ray_search, "PARTIAL_S", 60.0)
        found = find(grouped, levels, table, 25, params=EXACT)
        assert np.array_equal(found.rows, whole.rows) and not grouped.missing


def test_an_actor_that_nobody_can_take_the_place_of_is_told_in_time(cluster, index, monkeypatch) -> None:
    import ray

    levels = random_levels(2)
    monkeypatch.setattr(ray_search, "AGAIN_S", 3.0)
    with ray_search.search_on_ray(f"ray:{cluster.address}", index) as grouped:
        waits = ray.remote(ray_search.GroupActor).options(num_cpus=1000)
        monkeypatch.setattr(grouped._holder, "_start", lambda group: waits.remote("", 0, 0, 0))
        ray.kill(grouped._holder.watched[1].actor)
        with pytest.raises(HcqError, match="nobody answers for the segments 2-3"):
            find(grouped, levels, tables(levels, *quantizer()), 5, params=EXACT)


@pytest.fixture(scope="module")
def million(tmp_path_factory: pytest.TempPathFactory) -> Index:
    """A million codes of 64 bytes in 64 segments; half of them are there twice or more: many scores are equal."""
    folder, total = tmp_path_factory.mktemp("million"), 1_000_000
    codes, chosen = random_codes(total, LARGE), np.random.default_rng(0)
    codes[total // 2 :] = codes[chosen.integers(0, total // 2, total - total // 2)]
    files = [
        write_codes(folder / f"{number}.hcq", names(len(part), f"v{number}-"), codes[part], LARGE, batch=1 << 16)
        for number, part in enumerate(np.array_split(np.arange(total), 64))
    ]
    build(folder / "index", files, lists=0)
    return Index.open(folder / "index")


LEVELS = random_levels(int(os.environ.get("HCQ_TEST_QUERIES", "1000")), LARGE)


@pytest.fixture
def roomy(cluster: Any, slowly: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The cluster with a node that says it has 64 processors; waits long, because the machine may be busy."""
    monkeypatch.setattr(ray_search, "AGAIN_S", 600.0)
    monkeypatch.setattr(ray_search, "STILL_S", 300.0)
    node = add_node(cluster, slowly, num_cpus=64)
    yield f"ray:{cluster.address}"
    cluster.remove_node(node)


@pytest.mark.slow
def test_a_million_codes_in_up_to_64_groups(roomy: str, million: Index) -> None:
    table = tables(LEVELS, *quantizer(LARGE))
    whole = {k: find(million, LEVELS, table, k, params=EXACT) for k in (1, 10, 1000)}
    for groups in (1, 2, 7, 64):
        with ray_search.search_on_ray(roomy, million, groups=groups) as grouped:
            assert len(grouped.groups) == groups
            for k, expected in whole.items():
                found = find(grouped, LEVELS, table, k, params=EXACT)
                assert np.array_equal(found.rows, expected.rows) and np.array_equal(found.scores, expected.scores)
                print(groups, "groups, k =", k, "are equal", flush=True)


@pytest.mark.slow
@pytest.mark.parametrize("partial", [False, True])
def test_a_million_codes_while_actors_are_killed(roomy: str, million: Index, log: Path, partial: bool) -> None:
    """The answer is right, or what it lacks is said, where a partial one was asked for."""
    levels, outcomes = LEVELS[:200], Counter[str]()
    table = tables(levels, *quantizer(LARGE))
    best = find(million, levels, table, 1000, params=EXACT).rows
    with ray_search.search_on_ray(roomy, million, groups=7, partial=partial) as grouped, killing(log):
        for _ in range(20):
            found = find(grouped, levels, table, 10, params=EXACT)
            right = is_right(found.rows, best, grouped)
            outcomes[("partial" if grouped.missing else "whole") if right else "wrong"] += 1
    print(partial, outcomes, flush=True)
    assert not outcomes["wrong"] and (partial or not outcomes["partial"])


@contextmanager
def killing(log: Path) -> Iterator[None]:
    """One of the actors dies every second or so."""
    done, chosen = threading.Event(), random.Random(3)

    def kill() -> None:
        while not done.wait(chosen.uniform(0.5, 2.0)):
            if alive := actors("GroupActor", log):
                os.kill(chosen.choice(alive), signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def is_right(rows: np.ndarray, best: np.ndarray, grouped: GroupedIndex) -> bool:
    """Whether rows [Q, k] are the first of the `best` [Q, more], but for those of groups that are said to be missing:
    of all of them, or of some, because not every query of a search need lack the same."""
    ends = np.cumsum([0, *(segment.videos for segment in grouped.segments)])
    lost = [range(ends[group.start], ends[group.stop]) for group in grouped.missing]
    left_out = [out for count in range(len(lost) + 1) for out in combinations(lost, count)]

    def without(every: list[int], out: tuple[range, ...]) -> list[int]:
        return [row for row in every if not any(row in part for part in out)][: rows.shape[1]]

    return all(
        any(mine == without(every, out) for out in left_out)
        for mine, every in zip(rows.tolist(), best.tolist(), strict=True)
    )
