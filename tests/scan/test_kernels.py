from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from emulated import emulated_kernels
from handmade import (
    plain_scan,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from hcq_cli.errors import UsageError
from hcq_cli.scan import kernels as kernels_module
from hcq_cli.scan.blocks import WIDTH, Blocks, RowMajorCodes, to_blocks
from hcq_cli.scan.kernels import kernel, kernels, scan
from hcq_cli.scan.topk import Kernel, TopK, Visits, stack

KERNELS = [*kernels().values(), *emulated_kernels()]
by_kernel = pytest.mark.parametrize("by", KERNELS, ids=lambda by: by.name)


def random_case(
    videos: int, subquantizers: int, codewords: int, queries: int, seed: int = 0, spread: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, codewords, (videos, subquantizers), dtype=np.uint8)
    tables = rng.normal(size=(queries, subquantizers, codewords)).astype(np.float32)
    return codes, tables * np.exp(spread * rng.normal(size=(1, subquantizers, 1))).astype(np.float32)


def assert_exact(found: TopK, codes: np.ndarray, tables: np.ndarray, k: int, alive: np.ndarray | None = None) -> None:
    rows = np.arange(len(codes)) if alive is None else np.flatnonzero(alive)
    for query, table in enumerate(tables):
        scores, expected = plain_scan(codes[rows], table, k)
        assert found.rows[query].tolist() == rows[expected].tolist()
        assert found.scores[query].tolist() == scores.tolist()


SHAPES = [  # videos, S, K, k
    (0, 4, 16, 3),
    (1, 1, 2, 1),
    (1, 8, 256, 5),
    (3, 2, 2, 10),
    (255, 3, 7, 4),
    (256, 16, 256, 10),
    (257, 64, 256, 10),
    (1000, 1, 256, 999),
    (1000, 5, 3, 1000),
    (5000, 256, 256, 10),
    (3000, 257, 200, 20),
    (700, 258, 256, 7),
    (2000, 1024, 256, 10),
    (600, 1024, 2, 600),
    (20000, 8, 16, 50),
]


@by_kernel
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("threads", [1, 2])
def test_equals_the_plain_float_scan(by: Kernel, shape: tuple[int, int, int, int], threads: int) -> None:
    videos, subquantizers, codewords, k = shape
    for spread in (0.0, 2.0):
        codes, tables = random_case(videos, subquantizers, codewords, 5, seed=videos, spread=spread)
        for queries in (tables, tables[:1]):  # together, and by itself
            assert_exact(scan([to_blocks(codes)], queries, k, threads=threads, by=by), codes, queries, k)


MANY = [  # videos, S, K, k
    *SHAPES,
    (300, 2, 5, 301),
    (511, 31, 100, 10),
    (1024, 128, 256, 10),
    (400, 512, 64, 25),
    (2500, 7, 256, 100),
]


@pytest.mark.slow
@by_kernel
@pytest.mark.parametrize("shape", MANY, ids=str)
def test_a_thousand_queries_of_twenty_shapes(by: Kernel, shape: tuple[int, int, int, int]) -> None:
    videos, subquantizers, codewords, k = shape
    codes, _ = random_case(min(videos, 3000), subquantizers, codewords, 1, seed=7)
    codes[len(codes) // 2 :: 3] = codes[: len(codes[len(codes) // 2 :: 3])]  # duplicate rows
    for start in range(0, 1000, 50):
        _, tables = random_case(0, subquantizers, codewords, 50, seed=start, spread=start / 500)
        if start % 100:
            tables = np.round(tables * 2) / 2  # ties between different codes
        for threads in (1, 2):
            assert_exact(scan([to_blocks(codes)], tables, k, threads=threads, by=by), codes, tables, k)


@by_kernel
def test_equal_scores_come_by_lowest_row(by: Kernel) -> None:
    codes, tables = random_case(3, 8, 16, 2)
    codes = np.repeat(codes, 700, axis=0)[np.random.default_rng(0).permutation(2100)]
    for threads in (1, 2):
        assert_exact(scan([to_blocks(codes)], tables, 900, threads=threads, by=by), codes, tables, 900)
    flat = np.zeros_like(tables)
    assert scan([to_blocks(codes)], flat, 5, by=by).rows.tolist() == [[0, 1, 2, 3, 4]] * 2


@by_kernel
@pytest.mark.parametrize("magnitude", [1e-30, 1e-6, 1e6, 1e30])
def test_tables_of_any_magnitude(by: Kernel, magnitude: float) -> None:
    codes, tables = random_case(3000, 32, 256, 3)
    tables *= np.float32(magnitude)
    assert_exact(scan([to_blocks(codes)], tables, 10, by=by), codes, tables, 10)
    tables += np.float32(1e3 * magnitude)  # differences far below the size of the entries
    assert_exact(scan([to_blocks(codes)], tables, 10, by=by), codes, tables, 10)


@by_kernel
def test_the_layout_changes_nothing(by: Kernel) -> None:
    codes, tables = random_case(2000, 16, 4, 3)  # few codewords: many ties
    for cuts in ([], [1], [256], [300, 301, 1500], [0, 1999]):
        pieces = np.split(codes, cuts)
        sources: list[Blocks] = [to_blocks(piece) for piece in pieces]
        assert_exact(scan(sources, tables, 40, by=by), codes, tables, 40)
        assert_exact(
            scan([RowMajorCodes(piece, len(piece)) for piece in pieces], tables, 40, threads=2, by=by),
            codes,
            tables,
            40,
        )


@by_kernel
@pytest.mark.parametrize("queries", [1, 3, 4, 15, 16, 17, 35])
def test_any_number_of_queries(by: Kernel, queries: int) -> None:
    for videos, subquantizers in ((700, 9), (5000, 64)):
        codes, tables = random_case(videos, subquantizers, 32, queries)
        tables = np.round(tables * 4) / 4
        assert_exact(scan([to_blocks(codes)], tables, 12, threads=2, by=by), codes, tables, 12)


@by_kernel
@pytest.mark.parametrize("queries", [1, 5])
def test_entries_that_clipping_hides(by: Kernel, queries: int) -> None:
    """The best videos have the very worst entry of the widest sub-quantizer."""
    for seed in range(5):
        codes, tables = random_case(4000, 40, 256, queries, seed)
        tables[:, 0] *= 200
        codes[:, 0] = np.random.default_rng(1).choice(tables[0, 0].argsort()[:3], 4000)
        assert_exact(scan([to_blocks(codes)], tables, 20, by=by), codes, tables, 20)


@by_kernel
@pytest.mark.parametrize("queries", [1, 5])
def test_entries_far_apart(by: Kernel, queries: int) -> None:
    """Sums of float64 that round: a bound that forgets it is too low."""
    rng = np.random.default_rng(0)
    for subquantizers in (2, 100, 300):
        codes = rng.integers(0, 256, (3000, subquantizers), dtype=np.uint8)
        tables = rng.choice(np.array([0, 0.15], np.float32), (queries, subquantizers, 256))
        tables[:, 0] = 2.0**50
        assert_exact(scan([to_blocks(codes)], tables, 20, by=by), codes, tables, 20)


@by_kernel
@pytest.mark.parametrize("queries", [1, 5])
@pytest.mark.parametrize("subquantizers", [1, 2, 4, 300])
def test_ties_in_any_order(by: Kernel, subquantizers: int, queries: int) -> None:
    """Whole scores, rows from last to first: an equal one that comes later has the lower row."""
    rng = np.random.default_rng(subquantizers)
    codes = rng.integers(0, 256, (2000, subquantizers), dtype=np.uint8)
    tables = rng.integers(0, 2, (queries, subquantizers, 256)).astype(np.float32)
    blocks = Blocks(to_blocks(codes[::-1]).codes, 2000, None, np.arange(2000, dtype=np.uint32)[::-1].copy())
    assert_exact(scan([blocks], tables, 30, by=by), codes, tables, 30)


@by_kernel
@pytest.mark.parametrize("queries", [1, 5])
@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf, 3e38])
def test_tables_that_cannot_be_bounded_are_scored_in_full(by: Kernel, odd: float, queries: int) -> None:
    for seed in range(4):
        codes, tables = random_case(6000, 64, 256, queries, seed)
        codes[codes == 255] = 0
        tables[:, :, 255] = odd  # of a codeword that no video has
        assert_exact(scan([to_blocks(codes)], tables, 10, by=by), codes, tables, 10)


@by_kernel
def test_the_queries_beside_change_nothing(by: Kernel) -> None:
    codes, tables = random_case(3000, 24, 64, 70)
    together = scan([to_blocks(codes)], tables, 5, by=by)
    for query in (0, 33, 69):
        alone = scan([to_blocks(codes)], tables[query : query + 1], 5, by=by)
        assert alone.rows[0].tolist() == together.rows[query].tolist()
        assert alone.scores[0].tolist() == together.scores[query].tolist()


@by_kernel
def test_dead_rows_are_never_found(by: Kernel) -> None:
    codes, tables = random_case(1500, 8, 4, 3)
    rng = np.random.default_rng(3)
    for share in (0.01, 0.5, 0.999, 1.0):
        dead = rng.random(1500) < share
        found = scan([Blocks(to_blocks(codes).codes, 1500, dead)], tables, 30, threads=2, by=by)
        assert found.rows.shape == (3, min(30, int((~dead).sum())))
        assert_exact(found, codes, tables, 30, ~dead)


@by_kernel
def test_codes_beyond_the_codebook_count_as_the_last_codeword(by: Kernel) -> None:
    codes, tables = random_case(500, 8, 16, 2)
    clipped = codes.copy()
    codes[::3] += 100
    clipped[::3] = 15
    assert_exact(scan([to_blocks(codes)], tables, 500, by=by), clipped, tables, 500)


@by_kernel
def test_no_queries_and_no_sources(by: Kernel) -> None:
    codes, tables = random_case(300, 8, 16, 2)
    assert scan([to_blocks(codes)], tables[:0], 5, by=by).rows.shape[0] == 0
    assert scan([], tables, 5, by=by).rows.shape == (2, 0)


@by_kernel
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_shape(by: Kernel, data: st.DataObject) -> None:
    videos, codewords = data.draw(st.integers(0, 900)), data.draw(st.integers(2, 256))
    subquantizers, k = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 1000))
    codes, tables = random_case(videos, subquantizers, codewords, 2, data.draw(st.integers(0, 2**32)))
    if data.draw(st.booleans()):  # a coarse grid of values: ties between different codes
        tables = np.round(tables * 2) / 2
    cut = data.draw(st.integers(0, videos))
    sources = [to_blocks(codes[:cut]), to_blocks(codes[cut:])]
    assert_exact(scan(sources, tables, k, threads=data.draw(st.integers(1, 3)), by=by), codes, tables, k)


def test_the_size_of_a_pass_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    codes, tables = random_case(3000, 8, 4, 5)
    monkeypatch.setattr(kernels_module, "BLOCKS_A_PASS", 2)
    monkeypatch.setattr(kernels_module, "SCORES_AT_ONCE", 3 * 2 * WIDTH)
    assert_exact(scan([to_blocks(codes)], tables, 30, by=kernel("numpy")), codes, tables, 30)


def test_the_kernel_is_chosen_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HCQ_KERNEL", "numpy")
    assert kernel().name == "numpy"
    monkeypatch.setenv("HCQ_KERNEL", "abacus")
    with pytest.raises(UsageError, match="'abacus'"):
        kernel()


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


def best_of_each(
    codes: np.ndarray, table: np.ndarray, k: int, owners: np.ndarray, rows: np.ndarray
) -> list[tuple[float, int]]:
    """The plain answer: all rows that may be found, best first, of each owner the first."""
    scores, order = plain_scan(codes[rows], table, len(rows))
    _, firsts = np.unique(owners[rows[order]], return_index=True)
    chosen = np.sort(firsts)[:k]
    return list(zip(scores[chosen].tolist(), rows[order[chosen]].tolist(), strict=True))


@by_kernel
@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("queries", [1, 5])
def test_of_each_video_the_best_row_is_found(by: Kernel, queries: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, k = int(rng.integers(1, 4000)), int(rng.choice([1, 3, 10, 200, 5000]))
    codes = rng.integers(0, 3, (rows, int(rng.integers(1, 90))), np.uint8)  # few codewords: ties
    table = np.round(rng.normal(size=(queries, codes.shape[1], 3)) * 4).astype(np.float32) / 4
    # Side by side or anywhere, a few of each or one that has nearly all.
    owners = np.minimum(np.arange(rows) // int(rng.integers(1, 60)), int(rng.choice([2, 4000]))).astype(np.uint32)
    owners = rng.permutation(owners) if seed % 3 == 0 else owners
    order = rng.permutation(rows).astype(np.uint32) if seed % 2 else None
    dead = rng.random(rows) < 0.3
    slots = np.arange(rows) if order is None else order
    blocks = Blocks(to_blocks(codes[slots]).codes, rows, dead, order, owners[slots])
    visits = Visits(
        np.array([[0, rows // 3, 0, queries], [rows // 3, rows, 0, queries]]), np.arange(queries, dtype=np.int32)
    )
    for found in (
        scan([blocks], table, k, by=by),
        scan([blocks], table, k, threads=3, by=by),
        stack(by.visit(blocks, table, k, visits)),
    ):
        for query in range(queries):
            expected = best_of_each(codes, table[query], k, owners, np.flatnonzero(~dead))
            assert list(zip(found.scores[query].tolist(), found.rows[query].tolist(), strict=True)) == expected


@by_kernel
def test_videos_of_several_sources_and_of_code_files(by: Kernel) -> None:
    codes, table = random_case(20_000, 8, 16, 5)
    owners = np.arange(20_000) // 21  # no multiple of a block: videos lie across parts
    file = RowMajorCodes(codes, len(codes), owners=owners.astype(np.uint32))
    halves = [
        replace(to_blocks(codes[part]), owners=(np.arange(9975) // 21 * 21).astype(np.uint32))
        for part in (slice(0, 9975), slice(9975, 19950))
    ]
    for sources, rows in (([file], np.arange(20_000)), (halves, np.arange(19_950))):
        found = scan(sources, table, 40, threads=2, by=by)
        for query in range(5):
            expected = best_of_each(codes, table[query], 40, owners, rows)
            assert list(zip(found.scores[query].tolist(), found.rows[query].tolist(), strict=True)) == expected
