"""One file has one id, and what is gone is gone; whatever cannot be seen to be gone stays."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from feature_samples import video
from followed_folder import NAMES, FollowedFolder

from hcq_cli.api.extraction import known_roots
from hcq_cli.collection import RemovedVideo, change_collection, read_collection
from hcq_cli.errors import NotFoundError
from hcq_cli.extraction.dry_run import dry_run
from hcq_cli.extraction.options import ExtractionOptions
from hcq_cli.features.store import FeatureStore
from hcq_cli.features.writer import FeatureWriter
from hcq_cli.media.inputs import find_inputs


@pytest.fixture
def folder(tmp_path: Path) -> FollowedFolder:
    return FollowedFolder(tmp_path)


def test_a_file_has_one_id_whatever_it_is_called_by(folder: FollowedFolder, tmp_path: Path, monkeypatch) -> None:
    folder.add("arch/2023/a.mp4", "arch/2024/a.mp4", "arch/2024/b.mp4")
    folder.extract("arch/2023")
    folder.extract("arch/2024")
    assert folder.ids == ["2024/a.mp4", "a.mp4", "b.mp4"]
    (tmp_path / "link").symlink_to("arch")
    (tmp_path / "one.mp4").symlink_to("arch/2024/b.mp4")
    monkeypatch.chdir(tmp_path / "arch")
    ways = ["arch", "arch/*/*.mp4", "arch/2024/b.mp4", "link", "link/2024", "one.mp4", "arch/../arch", "arch/*"]
    for way in ways:
        report = folder.extract(way)
        assert (report.extracted, report.duplicates, report.failed) == (0, 0, []), way
        assert folder.ids == ["2024/a.mp4", "a.mp4", "b.mp4"], way
    folder.add("arch/2024/new.mp4", "arch/2025/c.mp4")
    assert folder.extract("arch/2024/new.mp4", "arch").new == 2
    assert folder.ids == ["2024/a.mp4", "2025/c.mp4", "a.mp4", "b.mp4", "new.mp4"]


def test_below_a_root_every_id_counts_from_it(folder: FollowedFolder) -> None:
    folder.add("arch/2023/a.mp4", "arch/2024/b.mp4", "arch/top.mp4")
    folder.extract("arch")
    folder.add("arch/2024/c.mp4", "arch/2024/d.mp4")
    folder.extract("arch/2024/c.mp4")
    folder.extract("arch/2024")
    assert folder.ids == ["2023/a.mp4", "2024/b.mp4", "2024/c.mp4", "2024/d.mp4", "top.mp4"]


def test_a_store_in_which_one_file_has_two_names_keeps_one(folder: FollowedFolder, tmp_path: Path) -> None:
    folder.add("arch/2023/a.mp4")
    folder.extract("arch")
    path = str(tmp_path / "arch/2023/a.mp4")
    with FeatureWriter(folder.store) as writer:
        known = writer.store.facts(0)
        twin = replace(
            video("a.mp4", path=path, content=known.content_hash), size=known.size, mtime_ns=known.mtime_ns
        )
        writer.add_videos([twin])
    shutil.rmtree(folder.store / "collection")
    report = folder.extract("arch")
    assert (report.vanished.second_ids, report.extracted, folder.ids) == (["a.mp4"], 0, ["2023/a.mp4"])


def test_renamed_moved_and_deleted_files_are_followed(folder: FollowedFolder, tmp_path: Path) -> None:
    folder.add("in/a.mp4", "in/b.mp4", "in/june/c.mp4", "in/june/d.mp4", "in/e.mp4")
    folder.extract("in")
    (tmp_path / "in/a.mp4").rename(tmp_path / "in/z.mp4")
    (tmp_path / "in/june").rename(tmp_path / "in/july")
    (tmp_path / "in/b.mp4").unlink()
    folder.add("in/new.mp4")
    report = folder.extract("in")
    assert report.vanished.renamed == {
        "a.mp4": "z.mp4",
        "june/c.mp4": "july/c.mp4",
        "june/d.mp4": "july/d.mp4",
    }
    assert (report.vanished.deleted, report.extracted, report.new, report.changed) == (["b.mp4"], 1, 1, 0)
    assert folder.ids == ["e.mp4", "july/c.mp4", "july/d.mp4", "new.mp4", "z.mp4"]
    assert folder.extract("in").vanished.ids == []


def test_a_name_left_to_another_file_costs_the_renamed_one_nothing(folder: FollowedFolder, tmp_path: Path) -> None:
    folder.add("in/a.mp4", "in/keep.mp4")
    folder.extract("in")
    (tmp_path / "in/a.mp4").rename(tmp_path / "in/b.mp4")
    folder.add("in/x.mp4")
    (tmp_path / "in/x.mp4").rename(tmp_path / "in/a.mp4")
    report = folder.extract("in")
    assert (report.extracted, report.changed, report.new, report.failed) == (1, 1, 1, [])
    assert folder.ids == ["a.mp4", "b.mp4", "keep.mp4"]


def test_a_collection_that_moved_as_a_whole_keeps_its_ids(folder: FollowedFolder, tmp_path: Path) -> None:
    folder.add("in/a.mp4", "in/sub/b.mp4")
    folder.extract("in")
    (tmp_path / "in").rename(tmp_path / "out")
    report = folder.extract("out")
    assert (report.extracted, report.skipped, folder.ids) == (0, 2, ["a.mp4", "sub/b.mp4"])
    assert FeatureStore.open(folder.store).facts(0).path.startswith(str(tmp_path / "out"))


def test_what_cannot_be_seen_to_be_gone_stays(folder: FollowedFolder, tmp_path: Path) -> None:
    folder.add("in/a.mp4", "drive/b.mp4", "drive/c.mp4", "other/d.mp4")
    (tmp_path / "in/link").symlink_to("../drive")
    folder.extract("in", "other")
    assert folder.ids == ["a.mp4", "d.mp4", "link/b.mp4", "link/c.mp4"]
    (tmp_path / "drive").rename(tmp_path / "away")  # the link leads nowhere
    (tmp_path / "other").rename(tmp_path / "unplugged")
    assert folder.extract("in").vanished.ids == []
    (tmp_path / "away").rename(tmp_path / "drive")
    (tmp_path / "drive/b.mp4").unlink()
    report = folder.extract("in", keep_missing=True)
    assert (report.missing, report.vanished.ids, len(folder.ids)) == (["link/b.mp4"], [], 4)
    assert folder.extract("in").vanished.deleted == ["link/b.mp4"]
    (tmp_path / "in/a.mp4").unlink()
    (tmp_path / "in/link").unlink()
    with pytest.raises(NotFoundError, match="no videos in this folder"):
        folder.extract("in")
    assert folder.ids == ["a.mp4", "d.mp4", "link/c.mp4"]


def test_a_new_file_does_not_take_the_id_of_one_on_a_drive_that_is_away(
    folder: FollowedFolder, tmp_path: Path
) -> None:
    folder.add("one/a.mp4")
    folder.extract("one")
    (tmp_path / "one").rename(tmp_path / "away")
    folder.add("two/a.mp4")
    folder.extract("two")
    assert folder.ids == ["a.mp4", "two/a.mp4"]


def test_copies_stay_two_videos(folder: FollowedFolder, tmp_path: Path) -> None:
    folder.add("in/a.mp4")
    folder.extract("in")
    shutil.copy(tmp_path / "in/a.mp4", tmp_path / "in/0.mp4")
    os.link(tmp_path / "in/a.mp4", tmp_path / "in/hard.mp4")
    assert (folder.extract("in").duplicates, folder.ids) == (2, ["0.mp4", "a.mp4", "hard.mp4"])
    assert folder.extract("in").skipped == 3
    (tmp_path / "in/a.mp4").unlink()
    assert (folder.extract("in").vanished.deleted, folder.ids) == (["a.mp4"], ["0.mp4", "hard.mp4"])


def test_a_removal_lasts_until_the_file_is_named(folder: FollowedFolder, tmp_path: Path) -> None:
    folder.add("in/a.mp4", "in/b.mp4")
    folder.extract("in")
    known = {facts.id: facts for facts in map(FeatureStore.open(folder.store).facts, range(2))}
    out = {"a.mp4": RemovedVideo(known["a.mp4"].path, known["a.mp4"].content_hash)}
    change_collection(folder.store, lambda before: replace(before, removed=out))
    with FeatureWriter(folder.store) as writer:
        writer.remove(["a.mp4"])
    report = folder.extract("in")
    assert (report.removed, report.extracted, folder.ids) == (1, 0, ["b.mp4"])
    (tmp_path / "in/a.mp4").rename(tmp_path / "in/z.mp4")
    assert (folder.extract("in/*.mp4").removed, folder.ids) == (1, ["b.mp4"])
    assert list(read_collection(folder.store).removed) == ["z.mp4"]
    shutil.copy(tmp_path / "in/z.mp4", tmp_path / "in/copy.mp4")  # another video, which nobody removed
    assert (folder.extract("in").new, folder.ids) == (1, ["b.mp4", "copy.mp4"])
    back = folder.extract("in/z.mp4")
    assert (back.duplicates, back.restored, back.removed) == (1, 1, 0)
    assert (read_collection(folder.store).removed, folder.ids) == ({}, ["b.mp4", "copy.mp4", "z.mp4"])


def test_a_store_that_notes_no_roots_tells_them_by_its_ids(folder: FollowedFolder, tmp_path: Path) -> None:
    folder.add("arch/2023/a.mp4", "arch/top.mp4")
    folder.extract("arch")
    shutil.rmtree(folder.store / "collection")
    folder.add("arch/2023/b.mp4")
    assert known_roots(folder.store) == (str(tmp_path / "arch"),)
    folder.extract("arch/2023")
    assert folder.ids == ["2023/a.mp4", "2023/b.mp4", "top.mp4"]


def test_a_dry_run_tells_what_would_go_and_does_nothing(folder: FollowedFolder, tmp_path: Path) -> None:
    folder.add("in/a.mp4", "in/b.mp4", "in/c.mp4")
    folder.extract("in")
    (tmp_path / "in/a.mp4").rename(tmp_path / "in/z.mp4")
    (tmp_path / "in/b.mp4").unlink()
    inputs = find_inputs([str(tmp_path / "in")], known_roots(folder.store))
    told = dry_run(inputs, NAMES, ExtractionOptions(folder.store))
    assert (told.vanished.renamed, told.vanished.deleted) == ({"a.mp4": "z.mp4"}, ["b.mp4"])
    assert dry_run(inputs, NAMES, ExtractionOptions(folder.store, keep_missing=True)).vanished.ids == []
    assert folder.ids == ["a.mp4", "b.mp4", "c.mp4"]
