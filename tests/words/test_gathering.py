"""Where the words of a collection come from."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
from feature_samples import video
from handmade import random_codes, write_codes

from experts.base import Tokens
from hcq_cli.codes.codefile import open_codes
from hcq_cli.features.folder import write_incoming
from hcq_cli.features.store import FeatureStore
from hcq_cli.features.transcripts import write_transcripts
from hcq_cli.words.gathering import CollectionWords
from hcq_cli.words.sentences import Sentence

CUE = "1\n00:00:03,000 --> 00:00:04,000\nhello there\n"


def store_of(folder: Path, words: list[str]) -> FeatureStore:
    folder.mkdir(exist_ok=True)
    said = video("talk/Long_Film.mp4", ["appearance"], content="c1")
    tokens = Tokens(np.ones((len(words), 6), np.float32), np.arange(len(words), dtype=np.float32), words=tuple(words))
    said.tokens["speech"], said.identities["speech"] = tokens, "speech|1|||"
    for each in (said, video("other.mp4", ["appearance"], content="c2")):
        write_transcripts(folder, each)
        write_incoming(folder, each)
    return FeatureStore.open(folder)


def test_transcripts_subtitles_captions_and_names(tmp_path: Path) -> None:
    store = store_of(tmp_path / "features", ["good  evening", "good bye"])
    file = tmp_path / "Long_Film.mp4"
    file.write_bytes(b"")
    (tmp_path / "Long_Film.en.srt").write_text(CUE)
    (tmp_path / "Long_Film.de.srt").write_bytes(os.urandom(999))
    captions = tmp_path / "captions.jsonl"
    captions.write_text(json.dumps({"video": "Long_Film.mp4", "captions": ["a talk", "people sit"]}) + "\n{oops\n")
    warnings: list[str] = []
    words = CollectionWords(store, [captions, tmp_path / "gone.jsonl"], warnings.append)
    assert list(words.sentences_of("talk/Long_Film.mp4", str(file))) == [
        Sentence("talk/Long_Film", "name"),
        Sentence("a talk", "caption"),
        Sentence("people sit", "caption"),
        Sentence("good evening", "speech", 0.0, 0.0),
        Sentence("good bye", "speech", 1.0, 1.0),
        Sentence("hello there", "subtitles", 3.0, 4.0, "en"),
    ]
    assert len(warnings) == 2 and all("left out" in warning for warning in warnings)
    assert f"1 line (hcq captions check {captions})" in warnings[0] and "Long_Film.de.srt" in warnings[1]
    assert list(words.sentences_of("other.mp4", "/videos/other.mp4")) == [Sentence("other", "name")]
    assert list(CollectionWords(None).sentences_of("..", "")) == [Sentence("..", "name")]


def test_the_digest_changes_with_whatever_words_are_read_from(tmp_path: Path) -> None:
    codes = open_codes(write_codes(tmp_path / "codes", ["a.mp4", "b.mp4"], random_codes(2), folder=str(tmp_path)))
    (tmp_path / "a.mp4").write_bytes(b"")
    captions = tmp_path / "captions.jsonl"

    def digest() -> str:
        return CollectionWords(store, [captions]).digest_of(codes)

    store = store_of(tmp_path / "features", ["one"])
    seen = [digest()]
    assert digest() == seen[0]
    store = store_of(tmp_path / "features", ["one", "two"])
    seen.append(digest())
    for change in (
        lambda: (tmp_path / "a.srt").write_text(CUE),
        lambda: (tmp_path / "a.srt").write_text(CUE + "more"),
        lambda: captions.write_text('{"video": "a.mp4", "caption": "x"}'),
    ):
        change()
        seen.append(digest())
    (tmp_path / "a.srt").unlink()
    captions.unlink()
    assert len(set(seen)) == 5 and digest() == seen[1]
