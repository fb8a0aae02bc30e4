"""Making inverted lists: k-means, and how good a search of a few lists is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from handmade import (
    FOUR_LEVELS,
    clustered_codes,
    names,
    quantizer,
    random_levels,
    write_codes,
)
from indexes import build

from hcq_cli.search.index import Index
from hcq_cli.search.ivf import (
    list_sizes,
    nearest,
)
from hcq_cli.search.ivf_training import TuningQueries, kmeans, lists_for
from hcq_cli.search.params import SearchParams
from hcq_cli.search.query import search_levels


def test_nearest_and_kmeans_in_plain_numpy() -> None:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(6, 8)) * 10
    points = (centres[rng.integers(0, 6, 900)] + rng.normal(size=(900, 8))).astype(np.float32)
    found = kmeans(points, 6, np.random.default_rng(1))
    distances = ((points[:, None] - found[None]) ** 2).sum(2)
    assert nearest(points, found).tolist() == distances.argmin(1).tolist()
    for cell, centroid in enumerate(found):
        assert np.allclose(points[distances.argmin(1) == cell].mean(0), centroid, atol=1e-3)


def test_few_lists_find_nearly_everything_and_info_says_so(tmp_path: Path) -> None:
    codes = clustered_codes(6000, FOUR_LEVELS)
    path = write_codes(tmp_path / "c", names(6000), codes, FOUR_LEVELS, 1000)
    build(tmp_path / "index", [path], lists=60)
    index = Index.open(tmp_path / "index")
    assert index.ivf and index.ivf.tuning
    tuning = index.ivf.tuning
    assert tuning.source == "noisy videos"
    assert tuning.recall > 0.97
    assert tuning.nprobe < 30
    codebooks = quantizer(FOUR_LEVELS)[0]
    chunks = codebooks[np.arange(FOUR_LEVELS.S), codes[:200]]
    noise = np.random.default_rng(8).normal(size=chunks.shape) * 0.2
    levels = (chunks + noise).reshape(200, FOUR_LEVELS.levels, -1).astype(np.float32)
    levels /= np.linalg.norm(levels, axis=2, keepdims=True)
    queries = [str(number) for number in range(200)]
    quick = search_levels(index, queries, levels, 10, params=SearchParams(threads=2))
    exact = search_levels(index, queries, levels, 10, params=SearchParams(exact=True))
    alone = [search_levels(index, [name], level[None], 10)[0] for name, level in zip(queries, levels, strict=True)]
    assert [answer.hits for answer in alone] == [answer.hits for answer in quick]
    shared = [len({hit.id for hit in a.hits} & {hit.id for hit in b.hits}) for a, b in zip(quick, exact, strict=True)]
    assert np.mean(shared) / 10 > 0.97
    by_id = [{hit.id: hit.score for hit in answer.hits} for answer in exact]
    for answer, right in zip(quick, by_id, strict=True):  # a video that is found has its true score
        assert all(hit.score == right[hit.id] for hit in answer.hits if hit.id in right)


@pytest.mark.parametrize("partitions", [4, 30, 60])
def test_given_queries_choose_the_gap(tmp_path: Path, partitions: int) -> None:
    path = write_codes(tmp_path / "c", names(3000), clustered_codes(3000, FOUR_LEVELS), FOUR_LEVELS, 1000)
    levels = random_levels(64, FOUR_LEVELS)
    build(tmp_path / "index", [path], lists=partitions, queries=lambda: TuningQueries(levels, "captions"))
    index = Index.open(tmp_path / "index")
    assert index.ivf and index.ivf.tuning
    tuning = index.ivf.tuning
    assert (tuning.source, tuning.queries, tuning.hits) == ("captions", 64, 10)
    held_out = levels[1::2]
    quick, exact = (
        search_levels(index, [""] * 32, held_out, 10, params=params)
        for params in (SearchParams(), SearchParams(exact=True))
    )
    shared = [len({hit.id for hit in a.hits} & {hit.id for hit in b.hits}) for a, b in zip(quick, exact, strict=True)]
    assert np.mean(shared) / 10 == pytest.approx(tuning.recall, abs=1e-9)
    sizes = list_sizes(index.list_starts(), index.ivf.lists)
    looked_into = index.ivf.choose(levels, sizes, 10)
    assert tuning.nprobe == round(np.mean([len(lists) for lists in looked_into]))
    assert tuning.scanned == pytest.approx(np.mean([sizes[lists].sum() for lists in looked_into]) / 3000)


def test_how_many_lists_there_are_by_default() -> None:
    assert [lists_for(videos) for videos in (0, 99_999, 1_000_000, 5_000_000, 10_000_000)] == [0, 0, 1024, 4096, 8192]
