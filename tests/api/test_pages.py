"""A page is written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from hcq_cli.api.pages import write_gallery
from hcq_cli.errors import HcqError


def test_a_page_of_nothing_is_a_page(tmp_path: Path) -> None:
    write_gallery(tmp_path / "new" / "a.html", [])
    assert (tmp_path / "new" / "a.html").read_text().startswith("<!doctype html>")


def test_a_page_that_cannot_be_written_says_where(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises((HcqError, OSError), match="file"):
        write_gallery(tmp_path / "file" / "a.html", [])
