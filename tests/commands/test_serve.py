"""hcq serve, where it cannot start. What it serves is in tests/web."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def test_without_an_index_it_says_what_makes_one(hcq: Callable[..., Any]) -> None:
    assert "hcq extract VIDEOS" in hcq("serve", "--port", "0", code=10).err


def test_help_says_who_can_reach_it(hcq: Callable[..., Any]) -> None:
    assert "token" in hcq("serve", "--help").out
