"""`hcq query` with several parts: texts, examples, and what is not wanted."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trained import AWKWARD, CAPTIONS

from hcq_cli.codes.codefile import CodeWriter, open_codes
from hcq_cli.commands.query import EXAMPLES

Run = Callable[..., Any]
TEXT, OTHER = "a dog in the snow", "red ball"


def expected_scores(workspace: Path, text: str, likes: list[str], nots: list[str]) -> dict[str, float]:
    """Cosine of each video, of float codewords, with text + examples − ½ of what is not wanted, all of length 1."""
    from hcq_cli.model import checkpoint

    file = open_codes(workspace / "codes.hcq")
    videos = np.stack([np.concatenate([file.codebooks[s, c] for s, c in enumerate(row)]) for row in file.codes])
    videos /= np.linalg.norm(videos, axis=1, keepdims=True)
    texts = [text] * bool(text) + nots
    levels = checkpoint.load(workspace / "model").encode_texts(texts) if texts else np.empty((0, 4, 32))
    parts = np.concatenate([videos[[list(file.ids).index(name) for name in likes]], levels.reshape(len(texts), 128)])
    weights = [1.0] * (len(parts) - len(nots)) + [-0.5] * len(nots)
    query = sum(w * part / np.linalg.norm(part) for w, part in zip(weights, parts, strict=True))
    return dict(zip(file.ids, videos @ (query / np.linalg.norm(query)), strict=True))


def named_codes(workspace: Path, path: Path, ids: list[str]) -> Path:
    """The workspace's first videos, under other names."""
    kept = open_codes(workspace / "codes.hcq")
    with CodeWriter(path, kept.header, kept.codebooks, kept.scale) as writer:
        writer.append(ids, ids, kept.codes[: len(ids)])
    return path


@pytest.mark.parametrize(
    ("text", "likes", "nots"),
    [
        (TEXT, [], [OTHER]),
        ("", ["v3.mp4", "v7.mp4"], []),
        (TEXT, ["v3.mp4"], []),
        ("", ["v3.mp4"], [OTHER]),
        (TEXT, ["v3.mp4", "plain.mp4"], [OTHER, "two people dance"]),
    ],
)
def test_parts_are_added_up(ask: Run, workspace: Path, text: str, likes: list[str], nots: list[str]) -> None:
    given = [*([text] if text else []), *(a for each in likes for a in ("--like", each))]
    given += [a for each in nots for a in ("--not", each)]
    found = ask(*given, "--json", "-k", "204").json
    assert found["query"] == (text or ", ".join(likes))
    assert found.get("like", []) == likes and found.get("not", []) == nots
    scores = expected_scores(workspace, text, likes, nots)
    assert {hit["id"] for hit in found["hits"]} == set(scores) - set(likes)
    assert [hit["rank"] for hit in found["hits"]] == list(range(1, 205 - len(likes)))
    assert max(abs(hit["score"] - scores[hit["id"]]) for hit in found["hits"]) < 1e-5
    assert not any("confidence" in hit for hit in found["hits"])
    assert len(ask(*given, "--json", "-k", "3", "--codes", workspace / "codes.hcq").json["hits"]) == 3


def test_not_lowers_what_it_names(ask: Run) -> None:
    ball = AWKWARD[CAPTIONS.index(OTHER)]

    def found(*nots: str) -> dict[str, Any]:
        return {hit["id"]: hit for hit in ask(TEXT, *nots, "--json", "-k", "204").json["hits"]}

    before, after = found(), found("--not", OTHER)
    assert after[ball]["score"] < before[ball]["score"] and after[ball]["rank"] > before[ball]["rank"]
    assert after[AWKWARD[CAPTIONS.index(TEXT)]]["rank"] == 1


def test_people_see_a_table_and_an_example_alone_is_told_as_before(ask: Run) -> None:
    shown = ask(TEXT, "--like", "v3.mp4", "--not", OTHER, "-k", "3")
    assert "rank" in shown.out and "204 videos searched" in shown.err
    assert ask("--like", "v3.mp4", "--json").json["like"] == "v3.mp4"


def test_the_example_of_the_help_runs(hcq: Run, workspace: Path, tmp_path: Path) -> None:
    (example,) = (each for each in EXAMPLES if "--not " in each)
    codes = named_codes(workspace, tmp_path / "named.hcq", ["holiday/sea.mp4", "holiday/surf.mp4", "a.mp4", "b.mp4"])
    found = hcq(*shlex.split(example)[1:], "-w", workspace, "--codes", codes, "--json").json
    assert sorted(hit["id"] for hit in found["hits"]) == ["a.mp4", "b.mp4"]
    assert found["like"] == ["holiday/sea.mp4", "holiday/surf.mp4^2"] and found["not"] == ["people"]


def test_quotes_and_dashes_narrow_a_composed_query(hcq: Run, tmp_path: Path, workspace: Path) -> None:
    named = named_codes(workspace, tmp_path / "named.hcq", ["a cake.mp4", "cat cake.mp4", "ball.mp4"])
    hcq("-w", workspace, "index", "build", named, "--index", "named")

    def found(*arguments: str) -> list[str]:
        return [
            hit["id"] for hit in hcq("query", "-w", workspace, "--index", "named", *arguments, "--json").json["hits"]
        ]

    assert sorted(found('"cake"', "--not", OTHER)) == ["a cake.mp4", "cat cake.mp4"]
    assert found('"cake" -cat', "--not", OTHER) == ["a cake.mp4"]
    assert found('"cake"', "--like", "a cake.mp4") == ["cat cake.mp4"]
    assert sorted(found("dog -cat", "--like", "ball.mp4")) == ["a cake.mp4"]
    assert sorted(found(" -cat", "--like", "ball.mp4")) == ["a cake.mp4"]


def test_what_is_no_composed_query(ask: Run) -> None:
    assert "not looked for" in ask("--not", "people", code=2).err
    assert "one" in ask("-", "--not", "people", code=2).err
    assert "--not" in ask("x", "--not", " ", code=2).err
    assert "--min-confidence" in ask("x", "--not", "y", "--min-confidence", "0.5", code=2).err
    assert "stand alone" in ask("--video", "a.mp4", "--not", "x", code=2).err
    assert "stand alone" in ask("--video", "a.mp4", "--image", "a.jpg", code=2).err
    assert "holds no word" in ask("x", "--not", "\u200b", code=2).err
    assert "only what must not occur" in ask(" -cat", "--not", "x", code=2).err
    assert "no word of the query is known" in ask("a dog", "--not", "\u732b", "--json").json["note"]
    assert "nobody" in ask("x", "--like", "nobody", code=10).err


def test_an_id_may_end_like_a_weight_and_one_example_may_have_one(hcq: Run, tmp_path: Path, workspace: Path) -> None:
    named = named_codes(workspace, tmp_path / "named.hcq", ["a.mp4", "a.mp4^2", "b.mp4"])
    hcq("-w", workspace, "index", "build", named, "--index", "named")

    def found(*arguments: str) -> set[str]:
        asked = ("query", "-w", workspace, "--index", "named", *arguments, "--json")
        return {hit["id"] for hit in hcq(*asked).json["hits"]}

    assert found("--like", "b.mp4^3") == {"a.mp4", "a.mp4^2"}
    assert found("--like", "a.mp4^2") == {"a.mp4", "b.mp4"} == found("--like", "a.mp4^2^9")
    assert found("--like", "a.mp4^2", "--like", "b.mp4^.5") == {"a.mp4"}
    assert "weight" in hcq("query", "-w", workspace, "--index", "named", "--like", "b.mp4^0", code=2).err
