"""People by example, on face vectors that were planted: near ones for one person, any for strangers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from handmade import names, random_codes, random_levels, write_codes
from indexes import build

from experts.base import State, Tokens
from experts.classic.face import Face
from hcq_cli.codes.ids import video_of
from hcq_cli.errors import NotFoundError, UsageError
from hcq_cli.features.records import VideoFeatures
from hcq_cli.features.writer import FeatureWriter
from hcq_cli.search import faces
from hcq_cli.search.composing import ComposedSearch
from hcq_cli.search.faces import NO_SAME_FACE, ONLY_LOOKS, SAME_PERSON, people
from hcq_cli.search.filtered import FilteredIndex
from hcq_cli.search.fusing import fused
from hcq_cli.search.index import Index
from hcq_cli.search.index_words import FoundWords
from hcq_cli.search.params import SearchParams
from hcq_cli.words.sentences import Sentence

DIM, VIDEOS = 128, 60
ANNA, BEN = np.linalg.qr(np.random.default_rng(7).normal(size=(DIM, 2)))[0].T
SEEN = {
    "v3.mp4": [(5, ANNA)],
    "v7.mp4": [(1, ANNA), (2, ANNA), (3, ANNA), (9, ANNA)],
    "v9.mp4": [(4, ANNA), (4, BEN), (8, BEN)],
}
"""Who is seen in which video, at which seconds; strangers in every second one of the others, nobody in the rest."""
IDENTITY = "face|1|sha256:00|frames_per_second=1.0|"


def write_store(folder: Path, dim: int = DIM, identity: str = IDENTITY) -> Path:
    rng = np.random.default_rng(0)
    with FeatureWriter(folder) as writer:
        for number, id in enumerate(names(VIDEOS)):
            seen = SEEN.get(id) or [(second, rng.normal(size=DIM)) for second in range(number % 2 * 6)]
            # Lengths differ, and a person's vectors have a cosine of about 0.9.
            vectors = [(x / np.linalg.norm(x) + 0.04 * rng.normal(size=DIM)) * rng.uniform(1, 9) for _, x in seen]
            tokens = Tokens.none(dim, State.NOTHING_FOUND)
            if seen:
                vectors = np.stack(vectors)[:, np.arange(dim) % DIM].astype(np.float32)
                tokens = Tokens(vectors, np.array([second for second, _ in seen], np.float32))
            video = VideoFeatures(id, f"/videos/{id}", id, 1, 1, duration_s=12.0)
            writer.add_videos([replace(video, tokens={"face": tokens}, identities={"face": identity})])
    return folder


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("faces") / "features")


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    folder = tmp_path_factory.mktemp("index")
    ids = [*names(VIDEOS), "v7.mp4#t=0,6", "v9.mp4#t=0,6"]
    build(folder / "index", [write_codes(folder / "codes.hcq", ids, random_codes(len(ids)))])
    return Index.open(folder / "index")


def found(store: Path, index: Index, *wanted: str, without: tuple[str, ...] = (), k: int = 5) -> list:
    asked = people(store, index, wanted, without)
    (answer,) = asked.answers(None, asked.without_unwanted(index), [""], k)
    return list(answer.hits)


def test_videos_come_by_the_cosine_of_their_nearest_face(
    store: Path, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faces, "VIDEOS_AT_ONCE", 7)
    asked = people(store, index, ["v3.mp4@5"])
    example = asked.examples[0].astype(np.float64)
    nearest = {}
    for row, id in enumerate(asked.store.ids):
        tokens = asked.store.read([row], ["face"])["face"].features.astype(np.float64)
        if len(tokens):
            nearest[id] = (tokens @ example / np.linalg.norm(tokens, axis=1)).max()
    (answer,) = asked.answers(None, index, [""], VIDEOS)
    assert [hit.id for hit in answer.hits] == sorted(nearest, key=lambda id: -nearest[id])
    assert all(hit.score == pytest.approx(nearest[hit.id], abs=1e-5) for hit in answer.hits)
    assert {hit.id for hit in answer.hits[:3]} == SEEN.keys() and answer.hits[3].score < SAME_PERSON
    assert answer.hits[2].score > SAME_PERSON and answer.hits[0].found_by == {"face": 1} and not answer.note
    assert answer.hits[0].path == "/videos/v3.mp4"


def test_a_hit_shows_from_where_to_where_the_face_is_seen(store: Path, index: Index) -> None:
    moments = {hit.id: hit.moment for hit in found(store, index, "v7.mp4@9", k=3)}
    assert (moments["v7.mp4"].time_s, moments["v7.mp4"].start_s, moments["v7.mp4"].end_s) == (9, 9, 10)
    moments = {hit.id: hit.moment for hit in found(store, index, "v7.mp4@2", k=3)}
    assert (moments["v7.mp4"].start_s, moments["v7.mp4"].end_s) == (1, 4)


def test_who_is_not_wanted_is_left_out_and_only_who_is_nearer_to_that(store: Path, index: Index) -> None:
    assert {hit.id for hit in found(store, index, "v3.mp4@5", without=("v9.mp4@8.4",), k=2)} == {"v3.mp4", "v7.mp4"}
    # The larger face of v9 is Anna's, and it is the one that counts.
    assert "v9.mp4" in {hit.id for hit in found(store, index, "v9.mp4@4", without=("v9.mp4@4",), k=9)}
    nobody = people(store, index, [], ["v3.mp4@5"]).without_unwanted(index)
    assert isinstance(nobody, FilteredIndex) and nobody.videos == VIDEOS - len(SEEN)
    assert not any(nobody.rows_of(id) for id in SEEN)


def test_faces_are_a_ranking_beside_the_rest_and_keep_to_what_is_searched(store: Path, index: Index) -> None:
    asked = people(store, index, ["v3.mp4@5", "v7.mp4@1^2"])
    rest = ComposedSearch([(random_levels(1), 1.0)], [], None, params=SearchParams())
    alone = [hit.id for hit in rest.answers(index, [""], VIDEOS)[0].hits]
    (answer,) = asked.answers(rest, index, [""], VIDEOS)
    # A person's face counts for those who show it alone: no stranger's does.
    assert {hit.id for hit in answer.hits if "face" in (hit.found_by or {})} == SEEN.keys()
    for hit in answer.hits:
        ranks = {"model": alone.index(hit.id) + 1, **(hit.found_by or {})}
        assert hit.found_by == ranks and hit.score == pytest.approx(sum(61 / (60 + r) for r in ranks.values()))
    kept = [~np.isin(np.arange(segment.videos), [3]) for segment in index.segments]
    (answer,) = asked.answers(rest, FilteredIndex(index, kept), [""], VIDEOS)
    assert len(answer.hits) == VIDEOS - 1 and "v3.mp4" not in {hit.id for hit in answer.hits}


@pytest.mark.parametrize("first", [1, 1000])
def test_of_the_few_that_pass_a_filter_the_nearest_are_found(
    store: Path, index: Index, monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    monkeypatch.setattr(faces, "ASKED_FOR", first)
    passing = {"v9.mp4", "v31.mp4", "v33.mp4", "v40.mp4"}  # v40 shows nobody
    kept = [np.array([video_of(id) in passing for id in segment.ids]) for segment in index.segments]
    every = [hit.id for hit in found(store, index, "v3.mp4@5", k=VIDEOS)]
    for k in (1, 2, 9):
        hits = [hit.id for hit in found(store, FilteredIndex(index, kept), "v3.mp4@5", k=k)]
        assert hits == [id for id in every if id in passing][:k]


def test_what_is_doubtful_is_said(store: Path, index: Index, tmp_path: Path) -> None:
    asked = people(store, index, ["v9.mp4@4"])
    assert "of 2 faces at second 4 the largest counts" in asked.notes[0]
    narrow = FilteredIndex(index, [np.arange(segment.videos) == 1 for segment in index.segments])
    assert NO_SAME_FACE in people(store, index, ["v3.mp4@5"]).answers(None, narrow, [""], 3)[0].note
    (answer,) = asked.answers(None, index, [""], 3)
    said = [FoundWords("v1.mp4", "", Sentence("a party", "caption"), 1.0)]
    assert fused(answer, said, 3).note == asked.notes[0]  # whoever says the words, that is as doubtful as before
    looks = people(write_store(tmp_path / "looks", dim=40), index, ["v3.mp4@5"])
    assert ONLY_LOOKS in looks.answers(None, index, [""], 3)[0].note and looks.same > SAME_PERSON


def test_published_features_need_not_say_when_a_face_is_seen(index: Index, tmp_path: Path) -> None:
    with FeatureWriter(tmp_path / "features") as writer:
        for id, times in (("v3.mp4", [2.0]), ("v7.mp4", [np.nan]), ("v9.mp4", [np.nan, 4.0])):
            tokens = Tokens(np.tile(ANNA, (len(times), 1)).astype(np.float32), np.array(times, np.float32))
            video = VideoFeatures(id, f"/videos/{id}", id, 1, 1, duration_s=12.0)
            writer.add_videos([replace(video, tokens={"face": tokens}, identities={"face": IDENTITY})])
    for example in ("v3.mp4@2", "v9.mp4@4"):
        hits = people(tmp_path / "features", index, [example]).answers(None, index, [""], 9)[0].hits
        assert {hit.id: hit.time_s for hit in hits} == {"v3.mp4": 2, "v7.mp4": None, "v9.mp4": None}
    with pytest.raises(NotFoundError, match="is not known"):
        people(tmp_path / "features", index, ["v7.mp4@1"])


def test_an_example_without_a_face_and_a_store_without_vectors(store: Path, index: Index, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no face was found at second 11") as error:
        people(store, index, ["v7.mp4@11"])
    assert "at second 1, 2, 3, 9" in error.value.hint
    with pytest.raises(NotFoundError, match="no face was found in it"):
        people(store, index, ["v2.mp4@1"])
    with pytest.raises(NotFoundError, match="give its second"):
        people(store, index, ["v7.mp4"])
    with pytest.raises(NotFoundError, match="no such file"):
        people(store, index, ["nobody.jpg"])
    with pytest.raises(UsageError, match="tells no person from another"):
        people(write_store(tmp_path / "classic", identity=f"face|1|{Face.weights}|x|"), index, ["v3.mp4@5"])
    with FeatureWriter(tmp_path / "seen") as writer:
        pictures = {"appearance": Tokens(np.ones((1, 4), np.float32), np.zeros(1, np.float32))}
        writer.add_videos([VideoFeatures("a", "/a", "a", 1, 1, tokens=pictures, identities={"appearance": "1"})])
    with pytest.raises(NotFoundError, match="holds no face vectors") as error:
        people(tmp_path / "seen", index, ["v3.mp4@5"])
    assert "biometric" in error.value.hint
