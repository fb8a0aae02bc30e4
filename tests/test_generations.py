"""Generations of a folder: whatever dies when, and whoever else writes, the last one is whole."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from killed import killed_at

from hcq_cli.errors import DamagedError, LockedError
from hcq_cli.files import remove_leftovers, write_text
from hcq_cli.generations import KEPT_GENERATIONS, Generations


def generations(folder: Path, version: int = 1) -> Generations:
    return Generations(folder, "hcq-test", version, "hcq make")


def test_generations_follow_each_other_and_the_last_few_stay(tmp_path: Path) -> None:
    held = generations(tmp_path / "folder")
    assert (held.read().generation, held.read().body) == (0, {})
    for number in range(1, 7):
        assert held.publish({"number": number, "name": "caf\udce9"}).generation == number
        assert held.read().body["number"] == number
    assert held.numbers() == list(range(7 - KEPT_GENERATIONS, 7))
    assert held.read(5).body["number"] == 5


def test_a_generation_follows_the_one_it_was_made_from_or_is_refused(tmp_path: Path) -> None:
    held = generations(tmp_path)
    held.publish({"by": "first"}, after=0)
    held.publish({"by": "second"}, after=1)
    for after in (0, 1):
        with pytest.raises(LockedError, match="another hcq process has been writing"):
            held.publish({"by": "late"}, after=after)
    assert held.read().body == {"by": "second"} and held.numbers() == [1, 2]
    assert not list(tmp_path.glob(".*.tmp"))


def test_a_generation_whose_number_was_dropped_meanwhile_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = generations(tmp_path)
    held.publish({"by": "first"})

    def overtaken(path: Path, text: str, *, exclusive: bool) -> None:
        monkeypatch.setattr("hcq_cli.generations.write_text", write_text)
        for number in range(2, 3 + KEPT_GENERATIONS):  # until there is no generation 2 any more
            held.publish({"by": f"other {number}"})
        write_text(path, text, exclusive=exclusive)

    monkeypatch.setattr("hcq_cli.generations.write_text", overtaken)
    with pytest.raises(LockedError, match="another hcq process has been writing"):
        held.publish({"by": "late"}, after=1)
    assert held.numbers() == [3, 4, 5] and held.read().body == {"by": "other 5"}


def test_every_truncation_and_every_flipped_bit_is_found(tmp_path: Path) -> None:
    held = generations(tmp_path)
    held.publish({"shards": [{"name": "a.h5", "bytes": 12}], "text": "x"})
    path, body = held.path(1), held.read().body
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(DamagedError) as caught:
            held.read()
        assert str(path) in caught.value.message and caught.value.hint
    for bit in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        try:
            assert held.read().body == body
        except DamagedError:
            continue
    path.write_bytes(b'{"body":' + b"[" * 100_000)
    with pytest.raises(DamagedError):
        held.read()
    os.truncate(path, 1 << 40)
    with pytest.raises(DamagedError, match="too large"):
        held.read()


def test_a_foreign_and_a_newer_folder_are_refused_by_name(tmp_path: Path) -> None:
    Generations(tmp_path / "other", "hcq-other", 1, "").publish({})
    with pytest.raises(DamagedError, match="hcq-other"):
        generations(tmp_path / "other").read()
    generations(tmp_path / "newer", version=2).publish({})
    with pytest.raises(DamagedError, match="version 2, this hcq reads up to 1") as caught:
        generations(tmp_path / "newer").read()
    assert caught.value.hint == "upgrade hcq"


def test_readers_always_see_a_whole_generation(tmp_path: Path) -> None:
    held, done, seen = generations(tmp_path), threading.Event(), []
    held.publish({"number": 1, "filling": "x"})

    def write() -> None:
        for number in range(2, 120):
            held.publish({"number": number, "filling": "x" * (number * 50)})
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        manifest = held.read()
        assert manifest.body["number"] == manifest.generation
        seen.append(manifest.generation)
    writer.join()
    assert seen == sorted(seen) and len(set(seen)) > 3


def test_killed_at_every_step_the_last_generation_is_whole(tmp_path: Path) -> None:
    """Each writer makes a data file and then names it; whatever a reader finds named is there and whole."""
    step, killed = 0, True
    while killed:
        step += 1
        held = generations(tmp_path / str(step))
        for number in (1, 2, 3):
            write_text(held.folder / f"data-{number}", "x" * number)
            held.publish({"data": [f"data-{number}"], "length": number})

        def work(held: Generations = held) -> None:
            write_text(held.folder / "data-4", "x" * 4)
            held.publish({"data": ["data-4"], "length": 4})

        killed = killed_at(step, work, ("fsync", "replace", "rename", "unlink", "chmod", "open", "close"))
        manifest = held.read()
        assert manifest.generation in (3, 4)
        assert all(
            (held.folder / name).read_text() == "x" * manifest.body["length"] for name in manifest.body["data"]
        )
        remove_leftovers(held.folder)
        assert not list(held.folder.glob(".*.tmp"))
        assert held.publish({"data": [], "length": 0}).generation == manifest.generation + 1
    assert step > 8 and manifest.generation == 4
