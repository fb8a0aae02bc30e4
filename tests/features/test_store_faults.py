"""The disk fails, or the process is killed, at each call that changes it: the store is as before or as after.

In the process of the test: a kill is an exception after which nothing more reaches the disk, so that no clean-up of
the code under test counts. test_store_crash.py kills real processes.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from faults import Faults, Killed
from feature_samples import all_files, video, write_in_turn

from hcq_cli.errors import HcqError
from hcq_cli.features import compaction
from hcq_cli.features.export import export
from hcq_cli.features.folder import entries_of, generations
from hcq_cli.features.records import VideoFacts
from hcq_cli.features.store import FeatureStore
from hcq_cli.features.verification import repair_manifest, take_out, verify
from hcq_cli.features.writer import FeatureWriter

CALLS = ("fsync", "replace", "rename", "link", "unlink", "mkdir", "pwrite", "write", "ftruncate", "posix_fallocate")
KINDS = ("kill before", "kill after", "ENOSPC", "EIO", "EROFS")
EXPERTS = ("motion", "face")


@contextmanager
def fault(at: int, kind: str) -> Iterator[Faults]:
    """Call number `at` of those that change the disk fails; 0 for none."""
    faults = Faults(at, kind)
    with pytest.MonkeyPatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, faults.watched(getattr(os, name)))
        with suppress(Killed):
            yield faults


def contents(folder: Path) -> dict[str, Any]:
    """Facts and features of each video, by id."""
    try:
        store = FeatureStore.open(folder)
    except HcqError as error:
        return {"error": type(error).__name__}
    found = dict[str, Any]()
    for row, id in enumerate(store.ids):
        seen: list[Any] = [vars(store.facts(row))]
        for name in store.expert_names:  # whatever the identity is: `read` hands out those of one alone
            for result in store.results({name: store.newest_results(name)}, row).values():
                seen += [name, result.identity, *(part.tobytes() for part in result.read())]
        found[id] = seen
    return found


def some(folder: Path) -> None:
    with FeatureWriter(folder) as writer:
        for at in range(3):
            write_in_turn(folder, video(f"v{at}", EXPERTS))
        writer.compact()
        writer.add_videos([video("v3", EXPERTS), video("v0", EXPERTS, version="2")])


def damaged_manifest(folder: Path) -> None:
    some(folder)
    newest = max(folder.glob("manifest-*"))
    newest.write_bytes(newest.read_bytes()[:-9])


def damaged_shard(folder: Path) -> None:
    some(folder)
    path = next((folder / "shards").iterdir())
    path.write_bytes(path.read_bytes()[:-1])
    path = write_in_turn(folder, video("late", EXPERTS))
    path.write_bytes(path.read_bytes()[:-1])


def extract(folder: Path) -> None:
    with FeatureWriter(folder) as writer:
        for one in (video("v1", EXPERTS, version="3"), video("new", EXPERTS)):
            if writer.todo(one.id, one.content_hash, one.identities):
                writer.hashes.put(one)
                write_in_turn(folder, one)
        broken = VideoFacts("", "/videos/broken", size=1, mtime_ns=2)
        if not writer.failures.about(broken):
            writer.failures.put(broken, "no frames")
        writer.compact()


def copy_and_move(folder: Path) -> None:
    other = video("copy", EXPERTS)
    with FeatureWriter(folder) as writer:
        if writer.todo("copy", "c0", other.identities):
            writer.copy_results([(other, other.identities)])
        writer.set_path("v1", __file__)
        writer.compact()


def remove(folder: Path) -> None:
    with FeatureWriter(folder) as writer:
        writer.remove(["v0", "v3"])


def mend(folder: Path) -> None:
    repair_manifest(folder)
    damaged = [damage.path for damage in verify(folder).damaged]
    if damaged:
        take_out(folder, damaged)


def write_export(folder: Path) -> None:
    export(FeatureStore.open(folder), folder.parent / "out.npz")


CASES: dict[str, tuple[Callable[[Path], None], Callable[[Path], None]]] = {
    "extract": (some, extract),
    "first extract": (lambda folder: None, extract),
    "copy and move": (some, copy_and_move),
    "remove": (some, remove),
    "mend a manifest": (damaged_manifest, mend),
    "mend a shard": (damaged_shard, mend),
    "export": (some, write_export),
}


def each_fault(case: str, tmp_path: Path, stride: int) -> int:
    begin, work = CASES[case]
    begin(tmp_path / "before")
    old = contents(tmp_path / "before") if (tmp_path / "before").exists() else {"error": "NotFoundError"}
    shutil.copytree(tmp_path / "before", tmp_path / "after") if (tmp_path / "before").exists() else None
    with fault(0, "") as whole:
        work(tmp_path / "after")
    new = contents(tmp_path / "after")
    for step in range(1, whole.calls + 1):
        for number, kind in enumerate(KINDS):
            if (step * len(KINDS) + number) % stride == 0:
                one_fault(tmp_path / f"{step}{kind}", step, kind, work, old, new)
    return whole.calls


def one_fault(place: Path, step: int, kind: str, work: Callable[[Path], None], old: Any, new: Any) -> None:
    folder = place / "store"
    place.mkdir()
    if (place.parent / "before").exists():
        shutil.copytree(place.parent / "before", folder)
    try:
        with fault(step, kind):
            work(folder)
    except HcqError as error:
        assert str(place) in error.message, (step, kind, error.message)
        assert kind.startswith("E") and ("MB" in error.message or kind != "ENOSPC"), (step, kind, error.message)
    except OSError as error:  # of a call that names its file itself
        assert kind.startswith("E") and error.filename and str(place) in error.filename, (step, kind)
    found = contents(folder) if folder.exists() else {"error": "NotFoundError"}
    if "error" in old or "error" in found:
        assert found in (old, new) or set(found) <= set(new), (step, kind, found.keys())
    for id, seen in found.items():  # each video for itself is as before or as after
        assert seen in (old.get(id), new.get(id)), (step, kind, id)
    assert "error" in old or set(found) >= set(old) & set(new), (step, kind)
    work(folder)
    assert contents(folder) == new, (step, kind)
    known = generations(folder)
    named = {entry.name for number in known.numbers() for entry in entries_of(known.read(number), folder)}
    unnamed = set() if work is mend else {path.name for path in (folder / "shards").iterdir()} - named
    assert not unnamed and not [path for path in all_files(place) if path.name.endswith(".tmp")], (step, kind)
    shutil.rmtree(place)


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "FULL_VIDEOS", 2)


@pytest.mark.parametrize("case", CASES)
def test_some_faults(case: str, tmp_path: Path) -> None:
    assert each_fault(case, tmp_path, 53) >= 3


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_every_fault(case: str, tmp_path: Path) -> None:
    assert each_fault(case, tmp_path, 1) >= 3
