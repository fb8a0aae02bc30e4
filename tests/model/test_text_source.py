"""Where a text encoder is looked for, and what is said where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from hcq_cli.errors import NotFoundError
from hcq_cli.model.text_source import find_text_encoder


def test_a_folder_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert find_text_encoder(str(tmp_path)).folder == tmp_path


def test_a_misspelt_name_is_guessed() -> None:
    with pytest.raises(NotFoundError) as caught:
        find_text_encoder("minilmm", option="--text-encoder ")
    assert "--text-encoder minilm" in caught.value.hint


def test_an_id_that_was_not_fetched_says_how_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(NotFoundError) as caught:
        find_text_encoder("nobody/nothing")
    assert "hcq models fetch nobody/nothing" in caught.value.hint
