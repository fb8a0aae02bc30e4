"""Segments whose checksums are right, whatever else is wrong with them, and those of an earlier hcq."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from handmade import HEADER, random_codes, write_codes
from indexes import add, build

from hcq_cli.codes.container import ContainerWriter
from hcq_cli.errors import DamagedError
from hcq_cli.packed_strings import PackedStrings
from hcq_cli.search.index import Index
from hcq_cli.search.segment import FORMAT, IndexSegment


def forged_segment(path: Path, changes: dict[str, np.ndarray]) -> IndexSegment:
    """A segment of 300 videos and 4 lists whose checksums are right, whatever else is wrong with it."""
    order = np.arange(300, dtype=np.uint32)
    sections = {
        "codes": (np.zeros((2, HEADER.S, 256), np.uint8), "|u1"),
        "ids": (np.frombuffer(b"a" * 300, np.uint8), "|u1"),
        "ids_offsets": (np.arange(301), "<u8"),
        "paths": (np.frombuffer(b"a" * 300, np.uint8), "|u1"),
        "paths_offsets": (np.arange(301), "<u8"),
        "id_hashes": (np.zeros(300), "<u8"),
        "id_rows": (order, "<u4"),
        "stretch_hashes": (PackedStrings.of(["v"]).hashes().repeat(3), "<u8"),
        "stretch_rows": (order[:3], "<u4"),
        "stretch_starts": (order[:3], "<u4"),
        "stretch_ends": (order[:3], "<u4"),
        "list_starts": (np.array([0, 100, 100, 250, 300]), "<u4"),
        "order": (order, "<u4"),
        "slots": (order, "<u4"),
    }
    with ContainerWriter(path, FORMAT, {}) as writer:
        for name, (array, dtype) in sections.items():
            writer.add(name, changes.get(name, array), dtype)
    return IndexSegment(path, HEADER.S, 4)


def test_a_forged_segment_gives_only_our_errors(tmp_path: Path) -> None:
    beyond, order = np.full(300, 2**32 - 1, np.uint32), np.arange(300, dtype=np.uint32)
    segment = forged_segment(tmp_path / "s", {})
    assert segment.living(0, 300)[1].shape == (300, HEADER.S)
    for starts in ([0, 100, 90, 250, 300], [1, 100, 100, 250, 300], [0, 0, 0, 0, 299], [0, 300], [0, 9, 9, 9, 2**31]):
        with pytest.raises(DamagedError, match="lists"):
            forged_segment(tmp_path / "s", {"list_starts": np.array(starts)})
    for name, array in [("order", beyond[:1]), ("slots", beyond[:1]), ("id_rows", beyond[:7])]:
        with pytest.raises(DamagedError, match="fit together"):
            forged_segment(tmp_path / "s", {name: array})
    with pytest.raises(DamagedError):
        forged_segment(tmp_path / "s", {"slots": beyond}).codes_of(np.array([3]))
    with pytest.raises(DamagedError):
        forged_segment(tmp_path / "s", {"order": beyond}).living(0, 10)
    with pytest.raises(DamagedError):
        forged_segment(tmp_path / "s", {}).name(300)
    assert not len(segment.rows_of(PackedStrings.of(["v"]))), "no row is what the table says"
    assert segment.video_segments == 3
    for changes in ({"stretch_rows": beyond[:3]}, {"stretch_rows": order[:2]}, {"stretch_ends": order[:2]}):
        for ask in (lambda forged: forged.rows_of(PackedStrings.of(["v"])), lambda forged: forged.owners):
            with pytest.raises(DamagedError, match="fit together"):
                ask(forged_segment(tmp_path / "s", changes))
    with pytest.raises(DamagedError, match="rows that it does not have"):
        _ = forged_segment(tmp_path / "s", {"id_rows": beyond}).owners


def test_rows_that_no_table_names_are_of_some_video_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    segment = forged_segment(tmp_path / "s", {"id_rows": np.zeros(300, np.uint32)})
    # What lies in memory before it is written.
    monkeypatch.setattr(np, "empty", lambda shape, dtype=float: np.full(shape, 77777, dtype))
    assert segment.owners.max() < 300 and len(segment.segments_of(np.arange(300))) == 300


@pytest.mark.parametrize("missing", [["stretch_starts", "stretch_ends"], ["stretch_hashes"]], ids=["times", "table"])
def test_an_index_of_before_there_was_a_table_of_stretches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: list[str]
) -> None:
    folder, add_section = tmp_path / "index", ContainerWriter.add
    missing = [*missing, "stretch_starts"]
    some = lambda writer, name, *array: name in missing or add_section(writer, name, *array)  # noqa: E731
    monkeypatch.setattr(ContainerWriter, "add", some)
    build(folder, [write_codes(tmp_path / "c", ["b", "a#t=0,5", "a#t=5,9"], random_codes(3))])
    monkeypatch.undo()
    assert add(folder, [write_codes(tmp_path / "c", ["a"], random_codes(1))]).removed == 2
    index = Index.open(folder)
    assert [video for ids in index.ids() for video in ids] == ["b", "a"]
