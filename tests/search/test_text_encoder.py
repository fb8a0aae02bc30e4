"""The text side as a file of the index: kept, replaced, cleared, and safe from kills."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
from handmade import HEADER, names, random_codes, write_codes

from hcq_cli.model.exported_tower import ExportedTower, TextSide, write_tower
from hcq_cli.search.index import Index, TowerEntry
from hcq_cli.search.index_writer import add, build, compact, remove
from hcq_cli.search.text_encoder import tower_of
from hcq_cli.search.text_encoder_export import tower_maker

SIDE = TextSide(HEADER.model_hash, HEADER.levels, HEADER.D, 30, 0, 2)


def planted(folder: Path, generation: int) -> TowerEntry:
    """A text side that nobody runs."""
    path = folder / f"tower-{generation:08d}.hcq"
    write_tower(path, SIDE, "{}", b"graph", np.arange(5000, dtype=np.uint16).view(np.uint8))
    return TowerEntry(path.name, "float32", {"deviation": 0.0})


def test_it_goes_through_the_life_of_an_index(tmp_path: Path) -> None:
    folder, codes = tmp_path / "index", write_codes(tmp_path / "codes", names(40), random_codes(40))
    more = write_codes(tmp_path / "more", ["x"], random_codes(1, seed=4))
    build(folder, [codes])
    assert Index.open(folder).tower is None
    add(folder, [more], tower=planted)
    tower = Index.open(folder).tower
    assert tower is not None and tower.name == "tower-00000002.hcq"
    add(folder, [more], tower=lambda *_: (_ for _ in ()).throw(AssertionError("there is one")))
    remove(folder, ["x"])
    compact(folder)
    index = Index.open(folder)
    assert index.tower == tower
    index.verify()
    assert index.info().disk_bytes > tower.stat().st_size
    found = tower_of(index)
    assert isinstance(found, ExportedTower) and found.hash == HEADER.model_hash
    kept = tower_maker(HEADER, [])
    build(folder, [codes], tower=kept)
    assert Index.open(folder).tower == tower, "of the same model and precision: kept"
    warned: list[str] = []
    build(folder, [codes], tower=tower_maker(HEADER, [], precision="int8", warn=warned.append))
    assert Index.open(folder).tower is None and "--ckpt" in warned[0]
    for _ in range(3):
        build(folder, [codes])
    assert not tower.exists(), "cleared with the generations that named it"


def test_a_damaged_one_is_not_kept(tmp_path: Path) -> None:
    folder, codes = tmp_path / "index", write_codes(tmp_path / "codes", names(4), random_codes(4))
    build(folder, [codes], tower=planted)
    (file,) = folder.glob("tower-*")
    body = bytearray(file.read_bytes())
    body[100] ^= 1
    file.write_bytes(body)
    build(folder, [codes], tower=tower_maker(HEADER, []))
    assert Index.open(folder).tower is None


def killed_at(step: int, action: Callable[[], object]) -> bool:
    child = os.fork()
    if child == 0:
        left = [step]

        def counted(real: Callable[..., object]) -> Callable[..., object]:
            def call(*arguments: object, **named: object) -> object:
                left[0] -= 1
                if left[0] < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*arguments, **named)

            return call

        for name in ("fsync", "replace", "unlink", "open"):
            setattr(os, name, counted(getattr(os, name)))
        try:
            action()
        finally:
            os._exit(0)
    return os.waitpid(child, 0)[1] != 0


def test_a_kill_leaves_the_last_generation_and_no_litter(tmp_path: Path) -> None:
    folder, codes = tmp_path / "index", write_codes(tmp_path / "codes", names(40), random_codes(40))
    build(folder, [codes], tower=planted)
    step = 0
    while killed_at(step, lambda: build(folder, [codes], tower=planted)):
        step += 1
        index = Index.open(folder)
        index.verify()
        assert index.tower is not None and index.tower.exists()
    assert step > 5
    for _ in range(3):
        build(folder, [codes], tower=planted)
    assert len(list(folder.glob("tower-*"))) == 3 and not list(folder.glob(".*.tmp"))
