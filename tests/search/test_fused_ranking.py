"""Sight, sound and words together: no worse than the best of them alone, and better where a query needs several.

The clips are the demo's, as its grammar knows them, with sentences planted that have nothing to do with what is seen.
In place of a trained model stands one that knows what the clips show, but for some noise: its errors are what matters
here, not where they come from.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from handmade import random_codes, write_codes
from indexes import build

from hcq_cli.codes.codefile import CodeFile
from hcq_cli.demo.clips import DemoClip, compose
from hcq_cli.demo.grammar import WORDS
from hcq_cli.search.fusing import with_words
from hcq_cli.search.index import Index
from hcq_cli.search.index_words import IndexWords
from hcq_cli.search.query import Hit, QueryResult
from hcq_cli.words.sentences import Sentence
from hcq_cli.words.tokens import asked_words

CLIPS = compose(720, seed=0)
SAID = (
    ("captain", "doctor", "painter", "farmer", "lawyer", "singer", "baker", "pilot", "judge", "sailor"),
    ("finds", "paints", "sells", "breaks", "hides", "cleans"),
    ("violin", "mirror", "ladder", "pumpkin", "telescope", "umbrella", "hammer", "carpet", "candle", "basket"),
    ("paris", "london", "madrid", "rome", "berlin", "vienna"),
)
SHOWN = {form: (name, value) for name, values in WORDS.items() for value, forms in values.items() for form in forms}
Asked = tuple[str, set[str]]
"""A query, and the ids that are right."""


class Planted:
    """Two sentences a clip; every tenth also speaks of a thing and a colour that it need not show."""

    def __init__(self) -> None:
        rng = random.Random(0)
        self.said = {clip.file: [tuple(map(rng.choice, SAID)) for _ in range(2)] for clip in CLIPS}

    def sentences_of(self, id: str, path: str) -> Iterable[Sentence]:
        for who, does, thing, city in self.said[id]:
            yield Sentence(f"the {who} {does} a {thing} in {city}", "speech", 2.0, 4.0)
        rng = random.Random(id)
        if rng.random() < 0.1:
            yield Sentence(
                f"a {rng.choice([*WORDS['colour']])} {rng.choice([*WORDS['object']])}, he said", "speech", 5.0
            )

    def digest_of(self, file: CodeFile) -> str:
        return file.digest


PLANTED = Planted()


def says(clip: DemoClip, *words: str) -> bool:
    return any(set(words) <= set(sentence) for sentence in PLANTED.said[clip.file])


def shows(clip: DemoClip, other: DemoClip, *names: str) -> bool:
    return all(clip.values[name] == other.values[name] for name in names)


def questions(kind: str) -> Iterator[Asked]:
    """A hundred queries of a kind."""
    rng = random.Random(1)
    for clip in rng.sample([clip for clip in CLIPS if clip.split == "test"], 100):
        said = {name: rng.choice(WORDS[name][value]) for name, value in clip.values.items()}
        who, _, thing, city = rng.choice(PLANTED.said[clip.file])
        object = f"a {said['colour']} {said['object']}"
        if kind == "sight":
            seen = ("colour", "object", "motion", "background")
            text = f"{object} {said['motion']} before {said['background']}"
            yield text, {each.file for each in CLIPS if shows(each, clip, *seen)}
        elif kind == "sound":
            yield f"the sound of {said['sound']}", {each.file for each in CLIPS if shows(each, clip, "sound")}
        elif kind == "words":
            yield f"the {who} in {city} and his {thing}", {e.file for e in CLIPS if says(e, who, city, thing)}
        else:
            right = (each for each in CLIPS if shows(each, clip, "colour", "object") and says(each, who, thing))
            yield f"{object} and a {who} with a {thing}", {each.file for each in right}


def model(collection: Index, texts: Sequence[str], k: int) -> list[QueryResult]:
    """Finds what shows most of what a text names; noise is as large as half of a thing."""
    answers = []
    for text in texts:
        named = {SHOWN[form] for form in SHOWN if form in text}
        noise = np.random.default_rng(list(text.encode())).normal(0, 0.5, len(CLIPS))
        scores = noise + [sum(clip.values[name] == value for name, value in named) for clip in CLIPS]
        best = np.argsort(-scores)[:k].tolist()
        hits = (Hit(rank, float(scores[at]), CLIPS[at].file, "") for rank, at in enumerate(best, 1))
        answers.append(QueryResult(text, tuple(hits), len(CLIPS), text_ms=0.0, scan_ms=0.0))
    return answers


def recall(asked: Sequence[Asked], found: Sequence[Sequence[str]]) -> np.ndarray:
    """R@1 and R@10, in percent."""
    rights = [[id in right for id in ids[:10]] for (_, right), ids in zip(asked, found, strict=True)]
    return (
        np.array([np.mean([right[:1] == [True] for right in rights]), np.mean([any(right) for right in rights])])
        * 100
    )


@pytest.mark.long
def test_fused_is_no_worse_than_the_best_channel_and_better_on_a_mixture(tmp_path: Path) -> None:
    ids = [clip.file for clip in CLIPS]
    build(tmp_path / "index", [write_codes(tmp_path / "codes", ids, random_codes(len(ids)))], words=PLANTED)
    index = Index.open(tmp_path / "index")
    words = IndexWords(index)
    by_kind: dict[str, np.ndarray] = {}
    for kind in ("sight", "sound", "words", "mixed"):
        asked = list(questions(kind))
        texts = [text for text, _ in asked]
        seen = [[hit.id for hit in answer.hits] for answer in model(index, texts, 10)]
        said = [[hit.id for hit in words.best(asked_words(text), 10)] for text in texts]
        answers = [with_words(index, asked_words(text), 10, model) or model(index, [text], 10)[0] for text in texts]
        both = [[hit.id for hit in answer.hits] for answer in answers]
        by_kind[kind] = np.array([recall(asked, found) for found in (seen, said, both)])
        assert (by_kind[kind][2] >= by_kind[kind][:2].max(0) - 1).all(), (kind, by_kind[kind])  # a query may differ
    assert (by_kind["mixed"][2] >= by_kind["mixed"][:2].max(0) + 10).all(), by_kind["mixed"]
    whole = np.mean(list(by_kind.values()), axis=0)
    assert (whole[2] >= whole[:2].max(0) + 20).all(), whole
