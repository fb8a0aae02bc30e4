"""The text side as a file of the index: kept, replaced, cleared, and safe from kills."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from handmade import HEADER, names, random_codes, write_codes
from indexes import add, build
from killed import killed_at

from hcq_cli.errors import DamagedError
from hcq_cli.model.exported_text_encoder import (
    ExportedTextEncoder,
    TextEncoderHeader,
    TextReading,
    write_text_encoder,
)
from hcq_cli.search.index import Index
from hcq_cli.search.index_writer import compact, remove
from hcq_cli.search.manifest import TextEncoderEntry
from hcq_cli.search.text_side import text_encoder_exporter


def file_of(folder: Path) -> Path | None:
    """The text side that an index names."""
    entry = Index.open(folder).manifest.text_encoder
    return folder / entry.file if entry else None


SIDE = TextEncoderHeader(HEADER.model_hash, HEADER.levels, HEADER.D, (TextReading(30, 0, 2),))


def planted(folder: Path, suffix: str) -> TextEncoderEntry:
    """A text side that nobody runs."""
    path = folder / f"tower-{suffix}.hcq"
    write_text_encoder(path, SIDE, [("{}", b"graph")], np.arange(5000, dtype=np.uint16).view(np.uint8))
    return TextEncoderEntry(path.name, "float32", {"deviation": 0.0})


def test_it_goes_through_the_life_of_an_index(tmp_path: Path) -> None:
    folder, codes = tmp_path / "index", write_codes(tmp_path / "codes", names(40), random_codes(40))
    more = write_codes(tmp_path / "more", ["x"], random_codes(1, seed=4))
    build(folder, [codes])
    assert file_of(folder) is None and Index.open(folder).text_encoder() is None
    add(folder, [more], text_encoder=planted)
    exported = file_of(folder)
    assert exported is not None and exported.name.startswith("tower-00000002")
    add(folder, [more], text_encoder=lambda *_: (_ for _ in ()).throw(AssertionError("there is one")))
    remove(folder, ["x"])
    compact(folder)
    index = Index.open(folder)
    assert file_of(folder) == exported
    index.verify()
    assert index.disk_bytes > exported.stat().st_size
    found = index.text_encoder()
    assert isinstance(found, ExportedTextEncoder) and found.hash == HEADER.model_hash
    kept = text_encoder_exporter(HEADER, [])
    build(folder, [codes], text_encoder=kept)
    assert file_of(folder) == exported, "of the same model and precision: kept"
    warned: list[str] = []
    build(folder, [codes], text_encoder=text_encoder_exporter(HEADER, [], precision="int8", warn=warned.append))
    assert file_of(folder) is None and "--ckpt" in warned[0]
    for _ in range(3):
        build(folder, [codes])
    assert not exported.exists(), "cleared with the generations that named it"


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_without_a_checkpoint_that_says_which_is_usual_the_one_that_is_there_is_kept(
    precision: str, tmp_path: Path
) -> None:
    def smaller(folder: Path, suffix: str) -> TextEncoderEntry:
        return replace(planted(folder, suffix), precision=precision)

    folder, codes = tmp_path / "index", write_codes(tmp_path / "codes", names(4), random_codes(4))
    build(folder, [codes], text_encoder=smaller)
    exported = file_of(folder)
    build(folder, [codes], text_encoder=text_encoder_exporter(HEADER, [], precision="auto"))
    assert exported is not None and file_of(folder) == exported


def test_a_damaged_one_is_not_kept(tmp_path: Path) -> None:
    folder, codes = tmp_path / "index", write_codes(tmp_path / "codes", names(4), random_codes(4))
    build(folder, [codes], text_encoder=planted)
    (file,) = folder.glob("tower-*")
    body = bytearray(file.read_bytes())
    body[100] ^= 1
    file.write_bytes(body)
    build(folder, [codes], text_encoder=text_encoder_exporter(HEADER, []))
    assert file_of(folder) is None


@pytest.mark.long
def test_a_kill_leaves_the_last_generation_and_no_litter(tmp_path: Path) -> None:
    folder, codes = tmp_path / "index", write_codes(tmp_path / "codes", names(40), random_codes(40))
    build(folder, [codes], text_encoder=planted)
    step = 0
    again = partial(build, folder, [codes], text_encoder=planted)
    while killed_at(step + 1, again, ("fsync", "replace", "unlink", "open")):
        step += 1
        index = Index.open(folder)
        index.verify()
        exported = file_of(folder)
        assert exported is not None and exported.exists()
    assert step > 5
    for _ in range(3):
        build(folder, [codes], text_encoder=planted)
    assert len(list(folder.glob("tower-*"))) == 3 and not list(folder.glob(".*.tmp"))


def test_one_of_another_model_is_found_by_verify(tmp_path: Path) -> None:
    def foreign(folder: Path, suffix: str) -> TextEncoderEntry:
        path = folder / f"tower-{suffix}.hcq"
        other = replace(SIDE, model_hash="b" * 64)
        write_text_encoder(path, other, [("{}", b"graph")], np.zeros(9, np.uint8))
        return TextEncoderEntry(path.name, "float32", {})

    folder = tmp_path / "index"
    build(folder, [write_codes(tmp_path / "codes", names(4), random_codes(4))], text_encoder=foreign)
    with pytest.raises(DamagedError, match=r"tower-.*belongs to another model"):
        Index.open(folder).verify()
