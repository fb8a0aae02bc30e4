"""A row of any format: which keys are understood, and what is said of those that are not."""

from __future__ import annotations

import pytest

from hcq_cli.datasets.rows import CaptionRow, Problem, interpret


@pytest.mark.parametrize(
    ("row", "video", "captions"),
    [
        ({"video": "a", "caption": "x"}, "a", ["x"]),
        ({"file_name": "a", "text": "x", "video": None}, "a", ["x"]),
        ({"videoID": "a", "enCap": ["x", "y"]}, "a", ["x", "y"]),
        ({"video_id": "a", "captions": "x", "description": "y"}, "a", ["x"]),
        ({"id": 7, "Video Path": "a", "title": "y", "Caption-EN": "x"}, "a", ["x"]),
    ],
)
def test_names_that_data_sets_use(row: dict[str, object], video: str, captions: list[str]) -> None:
    assert interpret(row, 3) == CaptionRow(3, video, captions, None)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"caption": "x"}, 'no "video"'),
        ({"video": " ", "caption": "x"}, '"video" must be the name of a video'),
        ({"video": "a"}, "no \"caption\" for 'a'"),
        ({"video": "a", "captions": 5}, '"captions" must be a list of sentences, not 5'),
        ({"video": "a", "captions": []}, '"captions" must be a list of sentences'),
        ({"video": "a", "caption": 5}, "\"caption\" of 'a' must be text, not 5"),
        ({"video": "a", "caption": "x", "split": 1}, '"split" must be text'),
    ],
)
def test_what_is_no_row_says_why(row: dict[str, object], message: str) -> None:
    problem = interpret(row, 3, "entry 1: ")
    assert isinstance(problem, Problem) and problem.line == 3 and problem.message.startswith(f"entry 1: {message}")
