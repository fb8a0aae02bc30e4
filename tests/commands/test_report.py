"""hcq report, from outside."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any


def test_it_writes_a_page_and_says_the_same_as_json(hcq: Callable[..., Any], kept: Path, tmp_path: Path) -> None:
    said = hcq("report", "-w", kept, "-o", tmp_path / "r.html", "--json").json
    assert said["videos"] == 15 and said["page"] == str(tmp_path / "r.html")
    assert "15 videos" in (tmp_path / "r.html").read_text()


def test_without_a_workspace_it_says_what_to_run(hcq: Callable[..., Any]) -> None:
    assert "hcq extract VIDEOS" in hcq("report", code=10).err
