"""`hcq update` as a person meets it."""

from __future__ import annotations

from pathlib import Path

import pytest
from followed_folder import FollowedFolder
from in_process import run_here

from hcq_cli.api.updating import Updated
from hcq_cli.extraction.report import ExtractReport


def test_a_folder_is_followed(tmp_path: Path) -> None:
    life, place = FollowedFolder(tmp_path), tmp_path / "w"
    life.add("in/a.mp4", "in/b.mp4")

    def update(*options: str | Path, code: int = 0) -> dict:
        return run_here("update", *options, "-w", place, "--workers", "1", "--json", code=code).json

    first = update(tmp_path / "in", "--experts", "appearance")
    assert (first["new"], first["changed"], first["renamed"], first["deleted"]) == (2, 0, 0, 0)
    assert first["encode"] is None and first["next"].startswith("hcq train")
    (tmp_path / "in/a.mp4").rename(tmp_path / "in/z.mp4")
    (tmp_path / "in/b.mp4").unlink()
    life.add("in/cloned.mp4")
    (tmp_path / "in/cloned.mp4").write_bytes(b"version https://git-lfs.github.com/spec/v1\n" * 3)
    again = update(code=3)
    assert (again["new"], again["renamed"], again["deleted"]) == (0, 1, 1)
    assert again["extract"]["renames"] == [{"from": "a.mp4", "to": "z.mp4"}]
    assert again["extract"]["deletions"] == ["b.mp4"] and "git lfs pull" in again["failed"][0]["error"]
    assert set(again["extract"]["states"]) == {"appearance"}  # as the folder was extracted at first
    assert run_here("features", "remove", "z", "-w", place, "--json").json["removed"] == ["z.mp4"]
    told = run_here("update", "-w", place, "--workers", "1", code=3)
    assert "0 new · 0 changed · 0 renamed · 0 gone" in told.out and "1 passed over" in told.err


def test_codes_and_index_that_fit_are_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = ExtractReport(videos=3, skipped=3)
    monkeypatch.setattr("hcq_cli.update", lambda *_, **__: Updated(report, None, None), raising=False)
    told = run_here("update", "-w", tmp_path / "w")
    assert "codes as they were" in told.out and "index as it was" in told.out
    assert run_here("update", "-w", tmp_path / "w", "--json").json["index"] is None


def test_nothing_was_extracted_yet(tmp_path: Path) -> None:
    assert "hcq update FOLDER" in run_here("update", "-w", tmp_path / "w", code=10).err
    life = FollowedFolder(tmp_path)
    life.add("in/a.mp4")
    told = run_here("update", tmp_path / "in", "-w", tmp_path / "w", "--experts", "audio", "--workers", "1")
    assert "1 new" in told.out and "hcq train" in told.err
