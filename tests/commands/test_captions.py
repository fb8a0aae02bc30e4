"""`hcq captions check` tells the truth about good and bad caption files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from experts.base import Tokens
from hcq_cli.features.folder import write_incoming
from hcq_cli.features.records import VideoFeatures

GOOD = (
    '{"video": "a.mp4", "caption": "a man cooking"}\n{"video": "b.mp4", "captions": ["a dog", "a small dog runs"]}\n'
)


@pytest.fixture
def captions(tmp_path: Path):
    def put(text: str, name: str = "captions.jsonl") -> Path:
        path = tmp_path / name
        path.write_text(text, "utf-8")
        return path

    return put


def test_a_clean_file(hcq, captions) -> None:
    done = hcq("captions", "check", captions(GOOD))
    assert "2 videos, 3 captions" in done.out
    assert "all is well" in done.out
    assert "no feature store" in done.err


def test_json_is_one_document(hcq, captions) -> None:
    done = hcq("captions", "check", captions(GOOD), "--json")
    assert len(done.out.splitlines()) == 1
    assert done.json["videos"] == 2 and done.json["captions"] == 3
    assert done.json["splits"] == {"none": 2}
    assert done.json["used_as"] == {"train": 2, "val": 0, "test": 0}
    assert done.json["words"] == {"least": 2, "median": 3.0, "mean": 3.0, "most": 4}
    assert done.json["problems"] == [] and done.json["features"] is None


def test_wrong_lines_are_named_and_the_exit_code_is_3(hcq, captions) -> None:
    path = captions(GOOD + '{"video": "c.mp4"}\nnonsense\n{"video": "d.mp4", "caption": ""}\n')
    done = hcq("captions", "check", path, code=3)
    assert "wrong (3)" in done.out
    for line, words in ((3, "no \"caption\" for 'c.mp4'"), (4, "not JSON"), (5, "empty caption")):
        assert any(f"line {line}:" in text and words in text for text in done.out.splitlines()), done.out
    done = hcq("captions", "check", path, "--json", code=3)
    assert [problem["line"] for problem in done.json["problems"]] == [3, 4, 5]


def test_many_wrong_lines_are_counted_and_not_all_printed(hcq, captions) -> None:
    done = hcq("captions", "check", captions(GOOD + "nonsense\n" * 500), code=3)
    assert "wrong (500)" in done.out and "480 more" in done.out
    assert len(done.out.splitlines()) < 40


def test_warnings_leave_the_exit_code_at_0(hcq, captions) -> None:
    done = hcq("captions", "check", captions(json.dumps({"video": "a", "caption": "word " * 40})), "--json")
    assert done.json["warnings"][0]["line"] == 1


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [("", 4, "empty"), ("prose\n", 4, "no known caption format"), (None, 10, "no such file")],
)
def test_what_is_no_caption_file(hcq, captions, tmp_path: Path, text: str | None, code: int, words: str) -> None:
    path = captions(text) if text is not None else tmp_path / "absent.jsonl"
    done = hcq("captions", "check", path, code=code)
    assert done.out == "" and words in done.err and path.name in done.err and "→" in done.err
    done = hcq("captions", "check", path, "--json", code=code)
    assert done.json["exit_code"] == code


def test_a_store_that_is_not_there(hcq, captions) -> None:
    done = hcq("captions", "check", captions(GOOD), "--features", "nowhere", code=10)
    assert "nowhere" in done.err and "hcq extract" in done.err


@pytest.fixture
def features(tmp_path: Path) -> Path:
    """A feature store in the workspace with clips/a.mp4, x/b.mp4, y/b.mp4 and c.mp4."""
    folder = tmp_path / ".hcq" / "features"
    tokens = Tokens(np.ones((1, 2), np.float32), np.zeros(1, np.float32))
    for name in ("clips/a.mp4", "x/b.mp4", "y/b.mp4", "c.mp4"):
        facts = (name, f"/{name}", name * 3, 1, 1, 1.0, "pyav", [])
        write_incoming(folder, VideoFeatures(*facts, {"motion": tokens}, {"motion": "motion|1||"}))
    return folder


def test_videos_are_looked_up_in_the_workspace(hcq, captions, features: Path) -> None:
    path = captions(GOOD + '{"video": "gone.mp4", "caption": "x"}\n')
    done = hcq("captions", "check", path, "--json", code=3)
    assert Path(done.json["features"]) == Path(".hcq/features") and done.json["found"] == 1
    assert done.json["without_features"] == [{"video": "gone.mp4", "line": 3}]
    assert done.json["ambiguous"] == [{"video": "b.mp4", "line": 2, "ids": ["x/b.mp4", "y/b.mp4"]}]
    assert sorted(done.json["without_captions"]) == ["c.mp4", "x/b.mp4", "y/b.mp4"]
    done = hcq("captions", "check", path, code=3)
    assert "1 of 3 videos found" in done.out
    assert "line 3: 'gone.mp4'" in done.out and "line 2: 'b.mp4' may be 'x/b.mp4', 'y/b.mp4'" in done.out
    assert "features without captions (3)" in done.out


def test_a_store_elsewhere_in_which_every_video_is_found(hcq, captions, features: Path, tmp_path: Path) -> None:
    moved = features.rename(tmp_path / "store")
    path = captions('{"video": "a", "caption": "x"}\n{"video": "/data/x/b.mp4", "caption": "y"}\n')
    done = hcq("captions", "check", path, "--features", moved)
    assert "2 of 2 videos found" in done.out and "all is well" in done.out


def test_names_that_would_break_a_terminal_are_escaped(hcq, captions) -> None:
    name = "evil\x1b[31m :cat: [bold]\nname \udcff.mp4"
    done = hcq("captions", "check", captions(json.dumps({"video": name, "caption": " "})), code=3)
    assert "\x1b" not in done.out and ":cat: [bold]" in done.out
