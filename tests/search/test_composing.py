"""Queries of several parts: the formula, and what it does to what is found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from handmade import HEADER, hybrid_scores, names, quantizer, random_codes, random_levels, write_codes
from word_encoder import WordEncoder

from hcq_cli.errors import ModelMismatchError, UsageError
from hcq_cli.search.code_file import CodeFileIndex
from hcq_cli.search.composing import ComposedSearch, compose, weighted
from hcq_cli.search.params import SearchParams
from hcq_cli.search.query import NONE_KNOWN

NOTHING = random_levels(0)


def for_and_against(wanted: np.ndarray, unwanted: np.ndarray) -> np.ndarray:
    return compose(np.concatenate([wanted, unwanted]), [1.0] * len(wanted) + [-0.5] * len(unwanted))


def plain_composition(wanted: np.ndarray, unwanted: np.ndarray) -> np.ndarray:
    """The formula, a part at a time, in float64."""
    total = np.zeros(wanted.shape[1:])
    for weight, parts in ((1.0, wanted), (-0.5, unwanted)):
        for part in parts.astype(np.float64):
            total += weight * part / np.sqrt((part**2).sum())
    return np.sqrt(len(total)) * total[None] / np.sqrt((total**2).sum())


def search(collection: CodeFileIndex, text: str, *unwanted: str, examples: np.ndarray = NOTHING) -> list:
    asked = ComposedSearch(
        [(each[None], 1.0) for each in examples],
        [weighted(part) for part in unwanted],
        WordEncoder(),
        params=SearchParams(),
    )
    return list(asked.answers(collection, [text], collection.videos)[0].hits)


@pytest.mark.parametrize(("wanted", "unwanted"), [(1, 0), (1, 1), (3, 2), (0, 1), (40, 7)])
def test_a_composition_is_the_weighted_mean_of_directions(wanted: int, unwanted: int) -> None:
    # Of different lengths: a part counts by its direction alone.
    parts = random_levels(wanted + unwanted) * np.linspace(0.1, 9, wanted + unwanted, dtype=np.float32)[:, None, None]
    composed = for_and_against(parts[:wanted], parts[wanted:])
    assert composed.dtype == np.float32 and composed.shape == (1, HEADER.levels, HEADER.D)
    assert np.abs(composed - plain_composition(parts[:wanted], parts[wanted:])).max() < 1e-6


def test_a_part_alone_is_itself_and_a_rotation_of_all_levels_changes_nothing() -> None:
    one, parts = random_levels(1), random_levels(5)
    assert np.abs(for_and_against(one, NOTHING) - one).max() < 1e-6
    size = HEADER.levels * HEADER.D
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(size, size)))[0].astype(np.float32)

    def rotate(levels: np.ndarray) -> np.ndarray:
        return (levels.reshape(len(levels), size) @ rotation).reshape(levels.shape)

    turned = for_and_against(rotate(parts[:3]), rotate(parts[3:]))
    assert np.abs(turned - rotate(for_and_against(parts[:3], parts[3:]))).max() < 1e-5


def test_parts_that_cancel_each_other_out_leave_numbers() -> None:
    one = random_levels(1)
    assert np.isfinite(for_and_against(one, np.concatenate([one, one]))).all()


def test_hits_have_the_scores_of_the_composition(tmp_path: Path) -> None:
    collection = CodeFileIndex(write_codes(tmp_path / "c", names(300), random_codes(300)))
    examples, texts = random_levels(2), WordEncoder().encode(["a beach", "people", "dogs"])
    hits = search(collection, "a beach", "people", "dogs", examples=examples)
    wanted = plain_composition(np.concatenate([examples, texts[:1]]), texts[1:])
    expected = dict(zip(names(300), hybrid_scores(wanted, random_codes(300))[0], strict=True))
    assert [hit.id for hit in hits] == sorted(expected, key=lambda name: -expected[name])
    assert max(abs(hit.score - expected[hit.id]) for hit in hits) < 1e-5
    assert all(hit.confidence is None for hit in hits)


def test_what_is_not_wanted_falls_below_what_is(tmp_path: Path) -> None:
    beach, people = WordEncoder().encode(["a beach", "people"])
    codebooks, _ = quantizer()
    shown = np.stack([1.2 * beach + people, beach + 0.3 * random_levels(1)[0], people])
    chunks = shown.reshape(3, HEADER.S, HEADER.d)
    codes = np.einsum("nsd,skd->nsk", chunks, codebooks).argmax(2).astype(np.uint8)
    ids = ["both.mp4", "beach.mp4", "people.mp4", *names(40)]
    collection = CodeFileIndex(write_codes(tmp_path / "c", ids, np.concatenate([codes, random_codes(40)])))
    before, after = ({hit.id: hit for hit in search(collection, "a beach", *nots)} for nots in ([], ["people"]))
    assert after["people.mp4"].rank > before["people.mp4"].rank
    assert after["both.mp4"].score < before["both.mp4"].score
    assert after["beach.mp4"].rank == 1 and after["people.mp4"].rank == len(ids)


def test_words_that_nobody_knows_and_other_models(tmp_path: Path) -> None:
    collection = CodeFileIndex(write_codes(tmp_path / "c", names(3), random_codes(3)))
    asked = ComposedSearch([], [("猫", 1.0)], WordEncoder(), params=SearchParams())
    note = asked.answers(collection, ["a beach"], 3)[0].note
    assert "猫" in note and NONE_KNOWN in note and "beach" not in note
    with pytest.raises(UsageError, match="holds no word"):
        replace(asked, unwanted=[(" ", 1.0)]).answers(collection, ["a beach"], 3)
    with pytest.raises(ModelMismatchError):
        replace(asked, encoder=WordEncoder("f" * 64)).answers(collection, ["a beach"], 3)


def test_a_part_counts_as_often_as_is_written_behind_it() -> None:
    assert weighted("surf.mp4") == ("surf.mp4", 1.0) and weighted("surf.mp4^2") == ("surf.mp4", 2.0)
    assert weighted("a^2^.5") == ("a^2", 0.5) and weighted("x^y") == ("x^y", 1.0) and weighted("^2") == ("^2", 1.0)
    for wrong in ("a^0", "a^101", "a^0.0"):
        with pytest.raises(UsageError, match="weight"):
            weighted(wrong)
    parts = random_levels(2)
    twice = for_and_against(parts[[0, 0, 1]], NOTHING)
    assert np.abs(compose(parts, [2.0, 1.0]) - twice).max() < 1e-6
