"""SIGKILL at every write, sync, rename and removal: the store opens, and nothing that was finished is lost."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from feature_samples import all_files, same, video, write_in_turn
from killed import killed_at

from hcq_cli.features import compaction
from hcq_cli.features.records import VideoFacts, VideoFeatures
from hcq_cli.features.store import FeatureStore
from hcq_cli.features.writer import FeatureWriter

WATCHED = ("fsync", "replace", "rename", "unlink", "remove", "pwrite", "write", "mkdir", "ftruncate")
really_write = os.write
EXPERTS = ("motion", "face")
ROUNDS = [
    [video(f"v{at}", EXPERTS) for at in range(5)],
    [video("v1", EXPERTS, content="c1"), video("v5", EXPERTS), video("v2", ["appearance"])],
    [video(f"v{at}", EXPERTS, version="2") for at in range(4)],
    [video(f"v{at}", EXPERTS, version="2", content="c1" if at == 1 else "c0") for at in range(6)],
]


def work(folder: Path, finished: Callable[[int, VideoFeatures], None]) -> None:
    """What extract does, four runs of it; does only what is still to do."""
    for number, wanted in enumerate(ROUNDS):
        with FeatureWriter(folder) as writer:
            for one in wanted:
                if writer.todo(one.id, one.content_hash, one.identities):
                    write_in_turn(folder, one)
                finished(number, one)
            writer.failures.put(VideoFacts("", "/videos/broken.mp4"), f"round {number}")
            writer.compact()


def work_and_note(folder: Path, log: Path) -> None:
    """Work, and note each video that is finished; the notes are no calls of those watched."""
    note = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
    work(folder, lambda number, one: really_write(note, f"{number} {one.id}\n".encode()) and None)


def check(folder: Path, log: Path) -> None:
    """Everything noted as finished is in the store, unless a later round has overridden it."""
    if not log.exists() or not log.read_text():
        return
    lines = [line.split() for line in log.read_text().splitlines()]
    last, store = int(lines[-1][0]), FeatureStore.open(folder)
    assert store.warnings == [] or all("version or sampling" in warning for warning in store.warnings)
    for number, id in lines:
        if int(number) >= last - 1:
            row = store.row(id)
            assert row is not None, (number, id)
            facts = store.facts(row)
            newer = [one for later in ROUNDS[int(number) :] for one in later if one.id == id]
            assert any(facts.content_hash == one.content_hash for one in newer)
            for expert in newer[0].tokens:
                latest = store.newest_results(expert)
                if latest.slot[row] < 0:  # void only if the content is already that of a later round
                    assert facts.content_hash != newer[0].content_hash
                    continue
                result = store.results({expert: latest}, row)[expert]
                assert result.identity in {o.identities.get(expert) for o in newer}
                assert sum(map(len, result.read())) == 4 * result.n * (result.key.dim + 1)


def final(folder: Path) -> None:
    store = FeatureStore.open(folder)
    assert sorted(store.ids) == [f"v{at}" for at in range(6)] and store.incoming == 0
    for one in ROUNDS[-1]:
        same(store, one)
    assert store.video(store.row("v2")).results["appearance"].state


def crash_everywhere(tmp_path: Path, stride: int) -> int:
    step = 1
    while True:
        folder, log = tmp_path / f"s{step}", tmp_path / "log"
        log.unlink(missing_ok=True)
        killed = killed_at(step, partial(work_and_note, folder, log), WATCHED)
        check(folder, log)
        work(folder, lambda number, one: None)
        final(folder)
        assert not [path for path in all_files(folder) if path.name.endswith(".tmp")]
        if not killed:
            return step
        step += stride


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "FULL_VIDEOS", 4)


def test_killed_at_some_calls(tmp_path: Path) -> None:
    assert crash_everywhere(tmp_path, 193) > 500


@pytest.mark.slow
def test_killed_at_every_call(tmp_path: Path) -> None:
    import hcq_cli.features.shard_writer as building

    assert building  # imported before the forks, so that each costs only its own work
    assert crash_everywhere(tmp_path, 1) > 500
