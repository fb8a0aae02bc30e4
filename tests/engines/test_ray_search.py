"""A Ray cluster searches an index: the answers of one machine, also when an actor dies."""

from __future__ import annotations

import numpy as np
import pytest
from handmade import names, quantizer, random_codes, random_levels, write_codes

pytest.importorskip("ray")

from hcq_cli.engines import ray_search
from hcq_cli.scan.table import tables
from hcq_cli.search.index import Index
from hcq_cli.search.index_writer import add, build
from hcq_cli.search.searchable import SearchParams, find

pytestmark = pytest.mark.long


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
        ray.kill(grouped._holder.actors[0])
        assert same() and not grouped.missing
        # No time for another actor: the answer is said to be partial, and what is there is right.
        monkeypatch.setattr(ray_search, "PARTIAL_S", 20.0)
        grouped._holder._partial = True
        monkeypatch.setattr(grouped._holder, "_start", lambda group: grouped._holder.actors[1])
        ray.kill(grouped._holder.actors[1])
        part = find(grouped, levels, table, 25, params=SearchParams(exact=True))
        assert grouped.missing == [grouped.groups[1]] and grouped.missing_rows == 600
        assert part.rows.max() < 600
        for mine, every in zip(
            part.rows, find(index, levels, table, 1200, params=SearchParams(exact=True)).rows, strict=True
        ):
            assert mine.tolist() == [row for row in every.tolist() if row < 600][:25]
