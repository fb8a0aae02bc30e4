"""The generation being made: nothing of it is seen before it is published, and nothing is left of what nobody
names."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest
from handmade import names, random_codes, write_codes
from indexes import add, build

from hcq_cli.codes.codefile import open_codes
from hcq_cli.errors import DamagedError, LockedError
from hcq_cli.search import index_writer
from hcq_cli.search.index import Index
from hcq_cli.search.index_draft import IndexDraft, clear_unnamed, new_suffix
from hcq_cli.search.manifest import generations


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    build(tmp_path / "index", [write_codes(tmp_path / "a", names(40), random_codes(40))])
    return tmp_path / "index"


def test_readers_see_a_draft_when_it_is_published(folder: Path, tmp_path: Path) -> None:
    index = Index.open(folder)
    draft = IndexDraft.of(index, index.generation, new_suffix(2))
    files = [open_codes(write_codes(tmp_path / "b", ["v3.mp4", "new"], random_codes(2)))]
    told: list[int] = []
    draft.append_verified(files, told.append)
    assert (draft.added, draft.removed, sum(told)) == (2, 1, 2)
    assert draft.remove("v5.mp4") == 1 and draft.remove("v5.mp4") == 0
    assert Index.open(folder).videos == 40 and Index.open(folder).rows_of("new") == []
    change = draft.publish(index.manifest)
    assert (change.videos, change.added, change.removed, change.segments) == (40, 2, 2, 2)
    opened = Index.open(folder)
    assert opened.generation == change.generation and opened.rows_of("new") and not opened.rows_of("v5.mp4")


def test_a_segment_that_is_dead_altogether_is_not_named(folder: Path, tmp_path: Path) -> None:
    change = add(folder, [write_codes(tmp_path / "b", names(40), random_codes(40, seed=2))])
    assert (change.videos, change.segments) == (40, 1)


def test_files_that_no_generation_names_are_cleared(folder: Path, tmp_path: Path) -> None:
    litter = folder / "segment-00000002-0f0f0f0f-000.hcq"
    litter.write_bytes(b"left by a writer that was killed")
    (folder / "notes.txt").write_text("a person's own")
    (folder / "notes-00000001.hcq").write_text("a person's own, too")
    clear_unnamed(folder)
    assert litter.exists(), "it may be what another writer is at"
    clear_unnamed(folder, "")
    assert not litter.exists()
    litter.write_bytes(b"left by another that was killed")
    add(folder, [write_codes(tmp_path / "b", ["x"], random_codes(1))])
    assert not litter.exists() and (folder / "notes.txt").exists() and (folder / "notes-00000001.hcq").exists()
    Index.open(folder).verify()


def test_a_damaged_code_file_leaves_nothing_behind(folder: Path, tmp_path: Path) -> None:
    path = write_codes(tmp_path / "b", ["new"], random_codes(1))
    raw = bytearray(path.read_bytes())
    raw[64] ^= 1  # the first code
    path.write_bytes(raw)
    before = sorted(folder.iterdir())
    with pytest.raises(DamagedError, match="b: "):
        add(folder, [path])
    assert sorted(folder.iterdir()) == before


def test_of_two_that_follow_one_generation_one_is_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a file system whose locks exclude nobody: a writer comes and goes while another is at work."""
    first, second = (write_codes(tmp_path / name, [name], random_codes(1)) for name in ("first", "second"))
    monkeypatch.setattr(index_writer, "writer_lock", lambda folder, wait_s: nullcontext())
    with pytest.raises(LockedError, match="another hcq process"):
        add(folder, [second], progress=lambda _: add(folder, [first]) and None)
    opened = Index.open(folder)
    opened.verify()
    assert opened.rows_of("first") and not opened.rows_of("second")
    assert len(list(folder.glob("segment-*"))) == 2


def test_generations_are_numbered_beyond_eight_digits(folder: Path, tmp_path: Path) -> None:
    held = generations(folder)
    held.path(1).rename(held.path(99_999_998))
    for number in range(4):
        change = add(folder, [write_codes(tmp_path / "b", [f"n{number}"], random_codes(1))])
    assert change.generation == 100_000_002
    opened = Index.open(folder)
    opened.verify()
    assert (opened.generation, opened.videos) == (100_000_002, 44)
    assert held.numbers() == [100_000_000, 100_000_001, 100_000_002]
