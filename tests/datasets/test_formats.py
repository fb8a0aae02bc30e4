"""Every caption format is told by its content and read line by line; no crash on anything."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from caption_files import put, read
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hcq_cli.datasets.captions import read_captions
from hcq_cli.errors import DamagedError, HcqError


def test_json_lines(tmp_path: Path) -> None:
    videos, problems = read(
        tmp_path,
        '{"video": "a.mp4", "caption": "a  man\\n cooking ", "split": "Train", "index": 3}\n'
        "\n"
        '{"video": "b.mp4", "captions": ["one", "two"], "split": "validation"}\r\n'
        '{"video": "a.mp4", "caption": "again", "split": "training"}\n'
        '{"file_name": "c.mp4", "text": "by its other names", "split": "dev"}\n'
        '{"video": "d.mp4", "caption": "no split", "split": null}',
    )
    assert problems == []
    assert videos == {
        "a.mp4": (["a man cooking", "again"], "train"),
        "b.mp4": (["one", "two"], "val"),
        "c.mp4": (["by its other names"], "val"),
        "d.mp4": (["no split"], None),
    }


def test_byte_order_mark_is_nothing(tmp_path: Path) -> None:
    assert read(tmp_path, b'\xef\xbb\xbf{"video": "a", "caption": "x"}\n') == ({"a": (["x"], None)}, [])
    assert read(tmp_path, b"\xef\xbb\xbfvideo,caption\na,x\n") == ({"a": (["x"], None)}, [])


def test_a_first_line_that_is_wrong_does_not_hide_the_format(tmp_path: Path) -> None:
    for first in ('{"video": "a", "capt', "some words"):
        videos, problems = read(tmp_path, f'{first}\n{{"video": "b", "caption": "x"}}\n')
        assert list(videos) == ["b"] and problems[0][0] == 1


def test_names_with_undecodable_bytes_survive(tmp_path: Path) -> None:
    name = b"caf\xe9 \n\"'\xf0\x9f\x8e\xac.mp4".decode("utf-8", "surrogateescape")
    videos, problems = read(tmp_path, json.dumps({"video": name, "caption": "x"}))
    assert list(videos) == [name] and problems == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b" \n\n", "empty"),
        (b"\xff\xfe{\x00", "UTF-16"),
        (b"\x00\x00\x00 ftypisom", "no text"),
        (b'[{"video": "a"}]', "JSON list"),
        (b'{"a": 1, "b": 2}\n', "keys: a, b"),
        (b'{"broken\n', "no line is a JSON object"),
        (b"name,words\na,b\n", "columns video and caption"),
        (b"just some prose\nand more\n", "columns video and caption"),
        (b"%PDF-1.4\n", "columns video and caption"),
        ("video,caption\na,b\n".encode("utf-16-be"), "UTF-16"),
        (b"PK\x03\x04" + bytes(30), "a spreadsheet or an archive"),
        (b"\x1f\x8b\x08\0\0", "compressed"),
        (b"a.mp4\ta man, running\nb.mp4\ta dog\n", "is no header"),
        (b'{"v_a": {"start": [0.5], "end": [2], "text": ["hello"]}}', "HowTo100M"),
        (b"3MSZA 24.3 30.4##person turn a light on.\n", "Charades-STA"),
        (b'{"YoutubeID": "a", "Caption": "a man"}\n', "keys: YoutubeID, Caption"),
    ],
)
def test_what_is_no_caption_file_is_refused_with_the_reason(tmp_path: Path, content: bytes, reason: str) -> None:
    with pytest.raises(DamagedError, match=reason) as caught:
        read_captions(put(tmp_path, content))
    assert "captions.any" in caught.value.message and caught.value.hint


def test_a_first_line_longer_than_the_head_is_read(tmp_path: Path) -> None:
    line = json.dumps({"video": "a", "captions": ["some words"] * 20_000})
    assert len(read_captions(put(tmp_path, line)).videos[0].captions) == 20_000


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(
        [b"", b'{"video": "a", "caption": "x"}\n', b"video,caption\n", b'{"videos": [', b'{"sentences":[{']
    ),
    st.one_of(st.binary(max_size=80), st.text('{}[]",:\\\n \x00videocaptn0', max_size=80).map(str.encode)),
)
def test_nothing_but_own_errors_on_any_bytes(tmp_path: Path, head: bytes, tail: bytes) -> None:
    try:
        captions = read_captions(put(tmp_path, head + tail))
    except HcqError:
        return
    assert all(video.captions and video.line >= 1 for video in captions.videos)


@pytest.mark.parametrize("body", [b"\x01\r\x01", b"video,caption\ra,x\r", b"\r", b"v" * 200_000, b"\x85\x85"])
def test_odd_ends_of_lines_and_endless_ones(tmp_path: Path, body: bytes) -> None:
    try:
        captions = read_captions(put(tmp_path, body))
    except HcqError:
        assert not body.startswith(b"video")
    else:
        assert [video.video for video in captions.videos] == ["a"]
