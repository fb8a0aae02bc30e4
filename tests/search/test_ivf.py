"""Lists: what a kernel sees of some slots, which videos lie together, how good a search of a few lists is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from emulated import emulated_kernels
from handmade import names, plain_scan, quantizer, random_codes, random_levels, write_codes

from hcq_cli.codes.codefile import CodeHeader, open_codes
from hcq_cli.scan.blocks import Blocks, to_blocks
from hcq_cli.scan.kernels import kernels, scan
from hcq_cli.scan.table import tables
from hcq_cli.scan.topk import Kernel, Visits
from hcq_cli.search import segment_writer
from hcq_cli.search.collection import SearchParams
from hcq_cli.search.index import Index
from hcq_cli.search.index_writer import add, build, compact, remove
from hcq_cli.search.ivf import (
    LEADERS,
    InvertedLists,
    Tuning,
    best_lists,
    level_weights,
    list_sizes,
    nearest,
    reconstruct_vectors,
    weighted_codewords,
)
from hcq_cli.search.ivf_training import TuningQueries, kmeans, lists_for
from hcq_cli.search.query import search_levels

WIDE = CodeHeader("videos", "a" * 64, "/nowhere/model", levels=4, M=4, K=16, D=32)
KERNELS = [*kernels().values(), *emulated_kernels()]
by_kernel = pytest.mark.parametrize("by", KERNELS, ids=lambda by: by.name)


@by_kernel
@pytest.mark.parametrize("seed", range(20))
def test_a_kernel_sees_what_each_query_visits_and_nothing_else(by: Kernel, seed: int) -> None:
    rng = np.random.default_rng(seed)
    videos, subquantizers, queries = int(rng.integers(1, 3000)), int(rng.integers(1, 140)), 1 + seed % 5
    codes = rng.integers(0, 3, (videos, subquantizers), np.uint8)  # few codewords: ties
    table = np.round(rng.normal(size=(queries, subquantizers, 3)) * 4).astype(np.float32) / 4
    order = rng.permutation(videos).astype(np.uint32)
    dead = rng.random(videos) < 0.2
    blocks = Blocks(to_blocks(codes[order]).codes, videos, dead, order)
    cuts = np.sort(rng.integers(0, videos + 1, 9))
    seen: list[list[int]] = [[] for _ in range(queries)]
    ranges, askers = [], []
    for at in rng.permutation(len(cuts) - 1):
        asking = np.flatnonzero(rng.random(queries) < 0.5)
        if cuts[at] < cuts[at + 1] and len(asking):
            ranges.append([cuts[at], cuts[at + 1], len(askers), len(askers) + len(asking)])
            askers += asking.tolist()
            for query in asking:
                seen[query] += order[cuts[at] : cuts[at + 1]].tolist()
    visits = Visits(np.array(ranges, np.int64).reshape(-1, 4), np.array(askers, np.int32))
    for query, found in enumerate(by.visit(blocks, table, 20, visits)):
        rows = np.array(sorted(row for row in seen[query] if not dead[row]), np.int64)
        scores, best = plain_scan(codes[rows], table[query], 20)
        assert found.rows.tolist() == rows[best].tolist()
        assert found.scores.tolist() == scores.tolist()
    everything = scan([blocks, to_blocks(codes[:10])], table, 30, threads=2, by=by)
    both, alive = np.concatenate([codes, codes[:10]]), np.concatenate([np.flatnonzero(~dead), videos + np.arange(10)])
    alive = alive[alive < len(both)]
    for query in range(queries):
        scores, best = plain_scan(both[alive], table[query], 30)
        assert everything.rows[query].tolist() == alive[best].tolist()


def test_a_vector_holds_the_score() -> None:
    """The inner product of weighted vectors is the hybrid score."""
    codebooks, scale = quantizer(WIDE)
    codes, levels, weights = random_codes(50, WIDE), random_levels(3, WIDE), level_weights(scale)
    vectors = reconstruct_vectors(codes, *weighted_codewords(codebooks, weights))
    queries = (levels.reshape(3, WIDE.S, -1) * weights[:, None]).reshape(3, -1)
    table = tables(levels, codebooks, scale)
    scores = np.stack([one[np.arange(WIDE.S), codes].sum(1) for one in table])
    assert np.allclose(queries @ vectors.T, scores, atol=1e-5)


def test_nearest_and_kmeans_in_plain_numpy() -> None:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(6, 8)) * 10
    points = (centres[rng.integers(0, 6, 900)] + rng.normal(size=(900, 8))).astype(np.float32)
    found = kmeans(points, 6, np.random.default_rng(1))
    distances = ((points[:, None] - found[None]) ** 2).sum(2)
    assert nearest(points, found).tolist() == distances.argmin(1).tolist()
    for cell, centroid in enumerate(found):
        assert np.allclose(points[distances.argmin(1) == cell].mean(0), centroid, atol=1e-3)


def clustered(videos: int, header: CodeHeader, seed: int = 0) -> np.ndarray:
    """Codes of videos around 40 themes: each code is its theme's, three times in four."""
    rng = np.random.default_rng(seed)
    themes = rng.integers(0, header.K, (40, header.S), np.uint8)
    own = rng.integers(0, header.K, (videos, header.S), np.uint8)
    return np.where(rng.random((videos, header.S)) < 0.75, themes[rng.integers(0, 40, videos)], own)


@pytest.mark.parametrize("values", [2, 5, 1000])
def test_the_most_promising_lists_in_plain_numpy(values: int) -> None:
    expected = np.random.default_rng(values).integers(0, values, 97).astype(np.float32)
    in_order = np.argsort(-expected, kind="stable")
    for count in (1, 2, 40, 96, 97, 98):
        assert best_lists(expected, count).tolist() == in_order[:count].tolist()


def test_few_lists_find_nearly_everything_and_info_says_so(tmp_path: Path) -> None:
    codes = clustered(6000, WIDE)
    path = write_codes(tmp_path / "c", names(6000), codes, WIDE, 1000)
    build(tmp_path / "index", [path], lists=60)
    index = Index.open(tmp_path / "index")
    assert index.ivf and index.ivf.tuning
    tuning = index.ivf.tuning
    assert tuning.source == "noisy videos"
    assert tuning.recall > 0.97
    assert tuning.nprobe < 30
    codebooks = quantizer(WIDE)[0]
    chunks = codebooks[np.arange(WIDE.S), codes[:200]]
    noise = np.random.default_rng(8).normal(size=chunks.shape) * 0.2
    levels = (chunks + noise).reshape(200, WIDE.levels, -1).astype(np.float32)
    levels /= np.linalg.norm(levels, axis=2, keepdims=True)
    queries = [str(number) for number in range(200)]
    quick = search_levels(index, queries, levels, 10, threads=2)
    exact = search_levels(index, queries, levels, 10, params=SearchParams(exact=True))
    alone = [search_levels(index, [name], level[None], 10)[0] for name, level in zip(queries, levels, strict=True)]
    assert [answer.hits for answer in alone] == [answer.hits for answer in quick]
    shared = [len({hit.id for hit in a.hits} & {hit.id for hit in b.hits}) for a, b in zip(quick, exact, strict=True)]
    assert np.mean(shared) / 10 > 0.97
    by_id = [{hit.id: hit.score for hit in answer.hits} for answer in exact]
    for answer, right in zip(quick, by_id, strict=True):  # a video that is found has its true score
        assert all(hit.score == right[hit.id] for hit in answer.hits if hit.id in right)


def test_lists_near_the_leaders_are_looked_into() -> None:
    rng = np.random.default_rng(0)
    centroids = rng.normal(size=(40, 40)).astype(np.float32)
    tuning = Tuning(7, 1.0, 10, 50, "captions", 0.1, gap=0.75)
    lists = InvertedLists(np.eye(40, dtype=np.float32), centroids, np.ones(1, np.float32), tuning)
    sizes, levels = np.full(40, 1000), np.eye(40, dtype=np.float32)[:, None]
    for query, chosen in enumerate(lists.choose(levels, sizes, 10)):
        scores = lists.centroids[:, query]
        leaders = np.sort(scores)[-LEADERS:].mean()
        assert chosen.tolist() == [n for n in np.argsort(-scores) if scores[n] >= leaders - np.float32(0.75)]
    assert len({len(chosen) for chosen in lists.choose(levels, sizes, 10)}) > 3
    one_topic = replace(lists, centroids=np.zeros((40, 40), np.float32))
    one_topic.centroids[5] = 9
    assert [chosen.tolist() for chosen in one_topic.choose(levels[:1], sizes, 10)] == [[5]]
    earlier = replace(lists, tuning=replace(tuning, gap=None))
    assert {len(chosen) for chosen in earlier.choose(levels, sizes, 10)} == {7}
    assert {len(chosen) for chosen in lists.choose(levels, sizes, 10, nprobe=3)} == {3}


@pytest.mark.parametrize("partitions", [4, 30, 60])
def test_given_queries_choose_the_gap(tmp_path: Path, partitions: int) -> None:
    path = write_codes(tmp_path / "c", names(3000), clustered(3000, WIDE), WIDE, 1000)
    levels = random_levels(64, WIDE)
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


def test_a_tuning_is_read_back_or_refused() -> None:
    tuning = Tuning(7, 0.99, 10, 50, "captions", 0.1, 3000, 0.75)
    document = tuning.to_json()
    assert Tuning.from_json(document, 40) == tuning
    earlier = {name: value for name, value in document.items() if name not in ("gap", "videos")}
    assert Tuning.from_json(earlier, 40) == replace(tuning, gap=None, videos=0)
    for name, value in [("gap", ""), ("gap", []), ("gap", True), ("gap", np.nan), ("recall", None), ("probe", 41)]:
        with pytest.raises(ValueError, match=r"probe|numbers"):
            Tuning.from_json({**document, name: value}, 40)


def test_more_hits_than_a_list_holds(tmp_path: Path) -> None:
    codes = clustered(2000, WIDE)
    build(tmp_path / "index", [write_codes(tmp_path / "c", names(2000), codes, WIDE, 500)], lists=20)
    index, levels = Index.open(tmp_path / "index"), random_levels(3, WIDE)
    for params in (SearchParams(), SearchParams(nprobe=1)):
        for k in (1500, 2000, 5000):
            answers = search_levels(index, ["", "", ""], levels, k, params=params)
            assert all(len(answer.hits) == min(k, 2000) for answer in answers)


def test_adding_and_compacting_lists_gives_what_building_at_once_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segment_writer, "BUCKET_BYTES", 4096)  # many temporary files
    monkeypatch.setattr(segment_writer, "SLOTS_AT_ONCE", 300)
    codes, ids = clustered(3000, WIDE), names(3000)
    files = [
        write_codes(tmp_path / f"c{n}", ids[at : at + 1000], codes[at : at + 1000], WIDE, 500)
        for n, at in enumerate((0, 1000, 2000))
    ]
    build(tmp_path / "index", files[:1], lists=16)
    for file in files[1:]:
        add(tmp_path / "index", [file])
    levels = random_levels(8, WIDE)
    before = search_levels(Index.open(tmp_path / "index"), [""] * 8, levels, 10)
    compact(tmp_path / "index")
    index = Index.open(tmp_path / "index")
    index.verify()
    assert [answer.hits for answer in search_levels(index, [""] * 8, levels, 10)] == [a.hits for a in before]
    assert len(index.segments) == 1
    assert all(np.array_equal(index.codes(row), codes[row]) for row in range(0, 3000, 37))
    segment = index.segments[0][0]
    assert segment.list_starts is not None and index.ivf is not None
    lists = index.ivf.assign(codes, open_codes(files[0]).codebooks)
    assert segment.lists_of(np.arange(3000)).tolist() == lists.tolist()
    order = segment.blocks.order
    assert order is not None
    for start, stop in zip(segment.list_starts[:-1], segment.list_starts[1:], strict=True):
        assert (np.diff(order[start:stop].astype(np.int64)) > 0).all()  # inside a list by row
    remove(tmp_path / "index", ids[::2])
    compact(tmp_path / "index")
    assert Index.open(tmp_path / "index").name(3) == ("v7.mp4", "/videos/v7.mp4")


def test_how_many_lists_there_are_by_default() -> None:
    assert [lists_for(videos) for videos in (0, 99_999, 1_000_000, 5_000_000, 10_000_000)] == [0, 0, 1024, 4096, 8192]
