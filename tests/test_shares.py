"""Shares of a collection: every file in one of them, copies together, the same everywhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcq_cli.errors import UsageError
from hcq_cli.shares import END_BYTES, Share, content_key


@given(key=st.integers(0, 2**64 - 1), of=st.integers(1, 300))
def test_everything_is_in_one_share_and_no_other(key: int, of: int) -> None:
    assert [Share(number, of).has(key) for number in range(1, of + 1)].count(True) == 1


@pytest.mark.parametrize("text", ["", "3", "0/3", "4/3", "-1/3", "1/0", "1/3/4", "one/three", "1 / 3"])
def test_what_is_no_share_is_a_mistake(text: str) -> None:
    with pytest.raises(UsageError, match="no share"):
        Share.parse(text)
    assert str(Share.parse("2/3")) == "2/3"


def test_who_divides_the_work_is_one_of_two() -> None:
    assert Share.parse("2/3", None) == Share(2, 3)
    with pytest.raises(UsageError, match="--on divides the videos by itself"):
        Share.parse("2/3", "ray")


def test_copies_fall_to_one_share_and_other_files_to_others(tmp_path: Path) -> None:
    for at in range(40):
        (tmp_path / f"{at}").write_bytes(os.urandom(50) + b"middle" * END_BYTES + bytes([at]))
        (tmp_path / f"copy-{at}").write_bytes((tmp_path / f"{at}").read_bytes())
    keys = [content_key(str(tmp_path / f"{at}")) for at in range(40)]
    assert keys == [content_key(str(tmp_path / f"copy-{at}")) for at in range(40)]
    assert len(set(keys)) == 40 and {key % 3 for key in keys} == {0, 1, 2}


def test_a_file_that_cannot_be_read_is_in_a_share_too(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert content_key(str(tmp_path / "pipe")) == content_key(str(tmp_path / "pipe"))
    assert content_key(str(tmp_path / "a")) != content_key(str(tmp_path / "b"))
