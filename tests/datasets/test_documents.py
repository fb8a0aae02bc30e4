"""The JSON documents of known data sets, and what is told of broken ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from caption_files import put, read

from hcq_cli.datasets.captions import read_captions
from hcq_cli.errors import DamagedError

MSRVTT = {
    "info": {"year": "2016"},
    "videos": [
        {"video_id": "video0", "split": "train", "url": "x"},
        {"video_id": "video1", "split": "validate"},
        {"video_id": "video2", "split": "test"},
    ],
    "sentences": [
        {"video_id": "video1", "caption": "a car", "sen_id": 0},
        {"video_id": "video0", "caption": "a man", "sen_id": 1},
        {"video_id": "video1", "caption": "a red car", "sen_id": 2},
        {"video_id": "video2", "caption": "a dog", "sen_id": 3},
    ],
}


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("order", [["info", "videos", "sentences"], ["sentences", "videos"], ["sentences", "info"]])
def test_msrvtt(tmp_path: Path, indent: int | None, order: list[str]) -> None:
    videos, problems = read(tmp_path, json.dumps({key: MSRVTT[key] for key in order}, indent=indent))
    assert problems == []
    splits = ["val", "train", "test"] if "videos" in order else [None] * 3
    assert list(videos.items()) == [
        ("video1", (["a car", "a red car"], splits[0])),
        ("video0", (["a man"], splits[1])),
        ("video2", (["a dog"], splits[2])),
    ]


def test_msrvtt_problems_name_line_and_sentence(tmp_path: Path) -> None:
    text = (
        '{"videos": [{"video_id": "v0", "split": "train"}, 7],\n"sentences": [\n{"video_id": "v0", "caption": 5},\n'
        '{"caption": "x"},\n"no object", {"video_id": "v0", "caption": " "},\n{"video_id": "v0", "caption": "good"}]}'
    )
    videos, problems = read(tmp_path, text)
    assert videos == {"v0": (["good"], "train")}
    assert [line for line, _ in problems] == [1, 3, 4, 5, 5]
    assert "video 2" in problems[0][1] and "sentence 1" in problems[1][1] and "sentence 3" in problems[3][1]


def test_a_broken_msrvtt_file_is_damaged_and_names_the_line(tmp_path: Path) -> None:
    path = put(tmp_path, json.dumps(MSRVTT, indent=1)[:-40])
    with pytest.raises(DamagedError, match=r"not JSON from line \d+"):
        read_captions(path)


@pytest.mark.parametrize("indent", [None, 1])
def test_activitynet_sentences_become_a_paragraph(tmp_path: Path, indent: int | None) -> None:
    entries = {
        "v_aaa": {
            "duration": 82.7,
            "timestamps": [[0.8, 19.9], [17, 60]],
            "sentences": ["A man cooks.", " He eats."],
        },
        "v_bbb": {"duration": 30.0, "timestamps": [[0, 30]], "sentences": ["A dog runs."]},
        "v_bad": {"duration": 30.0, "timestamps": [], "sentences": None},
    }
    path = put(tmp_path, json.dumps(entries, indent=indent))
    captions = read_captions(path)
    assert captions.format == "activitynet"
    assert [(video.video, video.captions) for video in captions.videos] == [
        ("v_aaa", ["A man cooks. He eats."]),
        ("v_bbb", ["A dog runs."]),
    ]
    assert "'v_bad'" in captions.problems[0].message


def test_vatex_takes_the_english_captions(tmp_path: Path) -> None:
    entries = [
        {"videoID": "G9z_000179_000189", "enCap": ["a man cooks", "someone fries"], "chCap": ["某人"]},
        {"videoID": "x_1_2"},
    ]
    captions = read_captions(put(tmp_path, json.dumps(entries, indent=1)))
    assert captions.format == "vatex" and captions.videos[0].captions == ["a man cooks", "someone fries"]
    assert [problem.message for problem in captions.problems] == ["entry 2: no \"caption\" for 'x_1_2'"]


def test_didemo_descriptions_of_a_video_become_a_paragraph(tmp_path: Path) -> None:
    texts = [("a.avi", "the dog jumps"), ("b.avi", "a car"), ("a.avi", "the dog sits")]
    entries = [{"video": video, "description": text, "times": [[0, 1]], "num_segments": 6} for video, text in texts]
    captions = read_captions(put(tmp_path, json.dumps(entries)))
    assert captions.format == "didemo"
    assert {video.video: video.captions for video in captions.videos} == {
        "a.avi": ["the dog jumps the dog sits"],
        "b.avi": ["a car"],
    }


def test_lists_of_rows_by_split(tmp_path: Path) -> None:
    lists = {"train": [{"video": "v0", "caption": ["a", "b"]}], "val": [7, {"video": "v1", "caption": "c"}]}
    videos, problems = read(tmp_path, json.dumps(lists))
    assert videos == {"v0": (["a", "b"], "train"), "v1": (["c"], "val")}
    assert problems == [(1, "entry 1: is not a JSON object but 7")]


@pytest.mark.parametrize("indent", [None, 1])
def test_texts_by_video(tmp_path: Path, indent: int | None) -> None:
    videos, problems = read(tmp_path, json.dumps({"a.mp4": "one", "b.mp4": ["two", "three"], "c": 5}, indent=indent))
    assert videos == {"a.mp4": (["one"], None), "b.mp4": (["two", "three"], None)}
    assert len(problems) == 1 and "must be a list of sentences, not 5" in problems[0][1]


def test_youcook_sentences_become_a_paragraph(tmp_path: Path) -> None:
    steps = [{"segment": [1, 5], "id": 0, "sentence": "peel it"}, {"segment": [6, 9], "id": 1, "sentence": "fry it"}]
    entries = {"xHr8": {"subset": "validation", "annotations": steps}, "odd": {"subset": "training"}, "worse": 3}
    entries["silent"] = {"annotations": [{"sentence": None}]}
    videos, problems = read(tmp_path, json.dumps({"database": entries}))
    assert videos == {"xHr8": (["peel it fry it"], "val")}
    assert [message.split(" has no")[0] for _, message in problems] == ["'odd'", "'worse'", "'silent'"]


@pytest.mark.parametrize("text", ['["v_aaa", "v_bbb"]', "[1, 2]", "[]", '[{"video": "a"}]'])
def test_other_lists_are_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(DamagedError, match="JSON list"):
        read_captions(put(tmp_path, text))


def test_a_document_cut_short_names_its_line(tmp_path: Path) -> None:
    for text in ('{"v_a": {"timestamps": [[0, 1]],\n"sentences": ["x"]},\n', '[{"video": "a", "caption": "x"},\n{'):
        with pytest.raises(DamagedError, match=r"not JSON from line \d"):
            read_captions(put(tmp_path, text))
