"""What a caption file says of each video, every way in which a line can be wrong, and what is said of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from caption_files import put, read
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hcq_cli.datasets.captions import read_captions
from hcq_cli.errors import DamagedError, NotFoundError, UsageError


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"video": "a", "caption": "x"', "not JSON"),
        (b"[1, 2]", "not a JSON object"),
        (b'{"caption": "x"}', 'no "video"'),
        (b'{"video": "", "caption": "x"}', "name of a video"),
        (b'{"video": 5, "caption": "x"}', "name of a video"),
        (b'{"video": "a"}', 'no "caption"'),
        (b'{"video": "a", "caption": "  "}', "empty caption"),
        (b'{"video": "a", "caption": 5}', "must be text, not 5"),
        (b'{"video": "a", "captions": []}', "list of sentences"),
        (b'{"video": "a", "captions": ["x", null]}', "must be text, not null"),
        (b'{"video": "a", "captions": {"x": 1}}', "list of sentences"),
        (b'{"video": "a", "caption": "x", "split": 1}', '"split" must be text'),
        (b'{"video": "a", "caption": "x", "split": "holdout"}', "unknown split 'holdout'"),
        (b'{"video": "a", "caption": "\xff"}', "of the line): save the file as UTF-8"),
        (b'{"video": "a", "caption": "\\ud800"}', "surrogate"),
        (b'{"video": "a\\ud800", "caption": "x"}', "the name 'a\\ud800' holds half a character"),
        (b'{"video": "z", "caption": "x", "split": "test"}', "in 'test' here and in 'no split' on line 1"),
        (b'{"video": "a", "caption": "x", "deep": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "not JSON"),
    ],
)
def test_a_wrong_line_is_named_and_costs_only_itself(tmp_path: Path, line: bytes, message: str) -> None:
    good = b'{"video": "z", "caption": "good"}\n'
    videos, problems = read(tmp_path, good + line + b"\n" + good.replace(b"good", b"too"))
    assert videos == {"z": (["good", "too"], None)}
    assert [number for number, _ in problems] == [2]
    assert message in problems[0][1]


def test_empty_captions_among_good_ones(tmp_path: Path) -> None:
    videos, problems = read(tmp_path, '{"video": "a", "captions": ["x", "", "y"]}')
    assert videos == {"a": (["x", "y"], None)}
    assert len(problems) == 1


def test_long_captions_are_kept_with_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path, json.dumps({"video": "a", "caption": "w " * 31}))
    captions = read_captions(path)
    assert len(captions.videos) == 1 and captions.errors == []
    assert captions.warnings[0].line == 1 and "31 words" in captions.warnings[0].message
    monkeypatch.setattr("hcq_cli.datasets.captions.MAX_WORDS", 31)
    assert read_captions(path).problems == []


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        read_captions(tmp_path / "absent.jsonl")
    with pytest.raises(UsageError):
        read_captions(tmp_path)


NAMES = st.text(st.characters(codec="utf-8"), min_size=1).filter(str.strip)
TEXTS = st.text(st.characters(codec="utf-8")).filter(lambda text: text.split())


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(NAMES, st.lists(TEXTS, min_size=1, max_size=3), min_size=1, max_size=5))
def test_what_was_written_is_read(tmp_path: Path, data: dict[str, list[str]]) -> None:
    wanted = {name: ([" ".join(text.split()) for text in texts], None) for name, texts in data.items()}
    lines = [json.dumps({"video": name, "captions": texts}) for name, texts in data.items()]
    assert read(tmp_path, "\n".join(lines))[0] == wanted
    lines = [
        json.dumps({"video": name, "caption": text}, ensure_ascii=False)
        for name, texts in data.items()
        for text in texts
    ]
    assert read(tmp_path, "\n".join(lines))[0] == wanted


def test_real_caption_files(shared: Path) -> None:
    clips = read_captions(shared / "videos" / "captions.jsonl")
    assert (len(clips.videos), len(clips), clips.problems) == (56, 56, [])
    table = read_captions(shared / "videos" / "MANIFEST.csv")
    assert [video.captions for video in table.videos] == [video.captions for video in clips.videos]
    synth = read_captions(shared / "synth" / "captions.jsonl")
    assert synth.split_counts() == {"train": 2000, "test": 500}
    assert synth.errors == []


@pytest.mark.parametrize("text", ["video,caption\n", "video\tcaption\r\n\r\n", '{"videos": [], "sentences": []}'])
def test_a_file_without_an_entry_is_no_clean_one(tmp_path: Path, text: str) -> None:
    with pytest.raises(DamagedError, match="holds no captions"):
        read_captions(put(tmp_path, text))


@pytest.mark.parametrize("caption", ["...", "NaN", "n/a", " - "])
def test_a_caption_that_stands_for_none_is_doubtful_and_kept(tmp_path: Path, caption: str) -> None:
    path = tmp_path / "captions.jsonl"
    path.write_text(json.dumps({"video": "a", "caption": caption}) + '\n{"video": "b", "caption": "none of them"}\n')
    read = read_captions(path)
    (problem,) = read.warnings
    assert (problem.line, problem.message) == (1, f"the caption of 'a' is {caption.strip()!r}: is there none?")
    assert len(read) == 2 and not read.errors
