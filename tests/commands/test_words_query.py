"""`hcq query` with words: in quotes, excluded, and mixed with what the model sees."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from handmade import names, random_codes, write_codes
from trained import save_workspace

Run = Callable[..., Any]
CUE = "1\n00:00:03,000 --> 00:00:04,000\n{}\n"


@pytest.fixture
def said(hcq: Run, tmp_path: Path) -> Callable[..., Any]:
    """An index of videos of which some have subtitles; its model is nowhere, so nothing can be asked of it."""
    (tmp_path / "v1.srt").write_text(CUE.format("Happy <b>Birthday</b> to you"))
    (tmp_path / "v2.en.vtt").write_text("WEBVTT\n\n00:07.500 --> 00:09.000\nno birthday, cat\n")
    ids = [*names(4), "summer/Old Barn.mp4"]
    for name in ids:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    write_codes(tmp_path / "w" / "codes.hcq", ids, random_codes(5), folder=str(tmp_path))
    built = hcq("index", "build", "-w", "w", "--json").json
    assert built["videos"] == 5
    return lambda *arguments, **named: hcq("query", "-w", "w", *arguments, **named)


def test_subtitles_beside_a_video_are_words_to_a_filter(said: Run) -> None:
    answer = said('"birthday"', "--where", "has_words", "--json").json
    assert sorted(hit["id"] for hit in answer["hits"]) == ["v1.mp4", "v2.mp4"] and answer["videos_searched"] == 2
    assert said('"old barn"', "--where", "has_words is null", "--json").json["videos_searched"] == 3


def test_who_says_just_that_is_found_with_second_and_sentence(said: Run, tmp_path: Path) -> None:
    (hit,) = said('"happy birthday"', "--json").json["hits"]
    assert hit == {
        "rank": 1,
        "score": 1.0,
        "id": "v1.mp4",
        "path": str(tmp_path / "v1.mp4"),
        "words": {
            "text": "Happy Birthday to you",
            "source": "subtitles",
            "start_s": 3.0,
            "end_s": 4.0,
            "language": "",
        },
        "found_by": {"words": 1},
        "time_s": 3.0,
    }
    shown = said('"happy birthday"').out
    assert "0:03" in shown and "Happy Birthday to you" in shown and "(subtitles)" in shown
    assert [hit["id"] for hit in said('"birthday" -cat', "--json").json["hits"]] == ["v1.mp4"]
    assert [hit["id"] for hit in said('"old barn"', "--json").json["hits"]] == ["summer/Old Barn.mp4"]
    assert [hit["id"] for hit in said('"summer"', "--json").json["hits"]] == ["summer/Old Barn.mp4"]
    nothing = said('"never said"', "--json").json
    assert nothing["hits"] == [] and "says or shows" in nothing["note"]


def test_a_line_of_input_each(said: Run) -> None:
    lines = said("-", "--json", stdin='"birthday"\n"cat"\n-cat\n').lines
    assert [sorted(hit["id"] for hit in line["hits"]) for line in lines] == [["v1.mp4", "v2.mp4"], ["v2.mp4"], []]
    assert "must not occur" in lines[2]["note"]


def test_what_cannot_be_is_said(said: Run, hcq: Run) -> None:
    assert "only what must not occur" in said("--", "-cat", code=2).err
    assert "only what must not occur" in said("-cat -x", code=2).err
    assert "No such option" in said("-cat", code=2).err
    assert [hit["id"] for hit in said('-cat "birthday"', "--json").json["hits"]] == ["v1.mp4"]
    hcq("index", "build", "-w", "w", "--no-words")
    without = said('"birthday"', "--json").json
    assert without["hits"] == [] and "hcq index build" in without["note"]
    assert hcq("index", "info", "-w", "w", "--json").json["sentences"] == 0


CODE = """
import sys
from hcq_cli.__main__ import run
sys.argv = ["hcq", "query", "-w", "w", '"birthday"', "--json"]
try:
    run()
finally:
    print([name for name in ("onnxruntime", "torch", "tokenizers", "transformers") if name in sys.modules])
"""


def test_no_network_runtime_is_loaded_for_words_alone(said: Run, tmp_path: Path) -> None:
    run = subprocess.run([sys.executable, "-c", CODE], cwd=tmp_path, capture_output=True, text=True)
    answer, loaded = run.stdout.splitlines()
    assert len(json.loads(answer)["hits"]) == 2 and loaded == "[]", run.stderr


def test_words_and_model_mix(hcq: Run, tmp_path: Path) -> None:
    workspace = save_workspace(tmp_path / "w")
    hcq("index", "build", "-w", workspace, "--no-words")
    before = hcq("query", "-w", workspace, "a dog in the snow", "--json", "-k", "20").json
    hcq("index", "build", "-w", workspace)
    plain = hcq("query", "-w", workspace, "a dog in the snow", "--json", "-k", "20").json
    assert plain["hits"] == before["hits"]  # no name holds these words
    mixed = hcq("query", "-w", workspace, "a dog in the snow -line", "--json", "-k", "20").json
    names_before = [hit["id"] for hit in before["hits"]]
    assert names_before[0].startswith("new\nline") and [hit["id"] for hit in mixed["hits"]][:18] == names_before[1:19]
    assert all(hit["found_by"] == {"model": hit["rank"]} for hit in mixed["hits"])
    texts = hcq("query", "-w", workspace, 'a dog "plain"', "--json").json
    assert [hit["id"] for hit in texts["hits"]] == ["plain.mp4"]
    assert texts["hits"][0]["found_by"] == {"model": 1, "words": 1} and texts["hits"][0]["words"]["source"] == "name"
