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


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("minlm", "minilm"),
        ("MiniLM", "minilm"),
        ("all-minilm-l6-v2", "minilm"),
        ("scrach", "scratch"),
        ("bert-base-casd", "bert-base-cased"),
        ("google-bert/bert-base-casd", "google-bert/bert-base-cased"),
    ],
)
def test_a_misspelt_name_names_the_near_one(name: str, meant: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        find_text_encoder(name)
    assert f"did you mean {meant}?" in caught.value.hint


def test_a_right_name_that_is_not_fetched_is_not_taken_for_a_misspelt_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(NotFoundError) as caught:
        find_text_encoder("bert-base-cased")
    assert "hcq models fetch google-bert/bert-base-cased" in caught.value.hint and "mean" not in caught.value.hint


def test_a_path_is_no_id_of_a_hub() -> None:
    for name in ("./bert", "/no/bert", "~/bert"):
        with pytest.raises(NotFoundError, match="there is no such folder") as caught:
            find_text_encoder(name)
        assert "fetch" not in caught.value.hint
