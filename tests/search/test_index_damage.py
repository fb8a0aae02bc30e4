"""Damaged, truncated and forged indexes and code files: only hcq's own errors, and no damage that verify misses."""

from __future__ import annotations

import hashlib
import json
import os
import random
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from handmade import HEADER, names, quantizer, random_codes, random_levels, told, write_codes
from hostile_json import hostile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from in_process import run_here
from indexes import add, build

from hcq_cli import files
from hcq_cli.codes.codefile import open_codes
from hcq_cli.codes.container import FIXED, PRELUDE_BYTES, ContainerWriter, read_digest
from hcq_cli.errors import DamagedError, HcqError, NotFoundError
from hcq_cli.model.exported_text_encoder import TextEncoderHeader, TextReading, write_text_encoder
from hcq_cli.scan.kernels import kernels
from hcq_cli.search.code_file import CodeFileIndex
from hcq_cli.search.index import Index
from hcq_cli.search.index_draft import TextEncoderExporter
from hcq_cli.search.index_words import IndexWords
from hcq_cli.search.index_writer import remove
from hcq_cli.search.manifest import TextEncoderEntry, generations
from hcq_cli.search.params import SearchParams
from hcq_cli.search.query import search_levels
from hcq_cli.search.segment import FORMAT
from hcq_cli.words.tokens import asked_words

SLOW = os.environ.get("HCQ_TEST_SLOW") == "1"
CASES = 10_000 if SLOW else 60
IDS = [*names(60), "x"]
listed = pytest.mark.parametrize("lists", [0, 4], ids=["flat", "listed"])


def planted(folder: Path, suffix: str) -> TextEncoderEntry:
    """A text encoder that nobody runs."""
    path = folder / f"tower-{suffix}.hcq"
    header = TextEncoderHeader(HEADER.model_hash, HEADER.levels, HEADER.D, (TextReading(30, 0, 2),))
    write_text_encoder(path, header, [("{}", b"graph")], np.zeros(100, np.uint8))
    return TextEncoderEntry(path.name, "float32", {"deviation": 0.0})


def small_index(folder: Path, lists: int, text_encoder: TextEncoderExporter = lambda *_: None) -> Path:
    """Two segments, one of them with tombstones, with words and columns."""
    codes = write_codes(folder / "a.hcq", names(60), random_codes(60))
    build(folder / "index", [codes], lists=lists, text_encoder=text_encoder, **told(folder, IDS))
    more = write_codes(folder / "b.hcq", ["v1.mp4", "x"], random_codes(2, seed=3))
    add(folder / "index", [more], **told(folder, IDS))
    remove(folder / "index", ["v5.mp4"])
    return folder / "index"


def files_of(index: Path) -> list[Path]:
    """The files of the newest generation."""
    manifest = sorted(index.glob("manifest-*"))[-1]
    return [*(index / name for name in Index.open(index).manifest.files()), manifest]


def opened(index: Path) -> Index:
    """An index with all of its files open: those of columns wait until they are needed."""
    found = Index.open(index)
    found.own_columns()
    assert found.columns.kinds
    return found


@contextmanager
def changed(path: Path, content: bytes) -> Iterator[None]:
    sound = path.read_bytes()
    path.write_bytes(content)
    yield
    path.write_bytes(sound)


def flipped(raw: bytes, at: int, bit: int) -> bytes:
    return raw[:at] + bytes([raw[at] ^ 1 << bit]) + raw[at + 1 :]


@listed
def test_every_flipped_bit_of_a_header_is_refused(tmp_path: Path, lists: int) -> None:
    index = small_index(tmp_path, lists)
    for path in [*files_of(index), tmp_path / "a.hcq"]:
        if path.suffix == ".db":  # words/test_table.py
            continue
        raw = path.read_bytes()
        if path.suffix == ".json":
            places = list(range(len(raw)))
        else:
            start, length = FIXED.unpack(raw[: FIXED.size])[3:]
            places = [*range(64), *range(start, start + length)]
        for number, at in enumerate(places):
            few = number % 29 == 0 or (at < 64 and at % 5 == 0)  # each is a trial of the same SHA-256
            for bit in range(8) if SLOW else [number % 8] if few else []:
                with changed(path, flipped(raw, at, bit)), pytest.raises(DamagedError) as caught:
                    open_codes(path) if path.name == "a.hcq" else opened(index)
                assert path.name in caught.value.message
                assert caught.value.exit_code == 4


@listed
def test_flipped_bits_of_a_body_are_found_by_verify(tmp_path: Path, lists: int) -> None:
    index, rng = small_index(tmp_path, lists), np.random.default_rng(0)
    files = [path for path in files_of(index) if path.suffix != ".json"]
    sizes = np.array([path.stat().st_size for path in files])
    for _ in range(2000 if SLOW else 60):
        path = files[int(rng.choice(len(files), p=sizes / sizes.sum()))]
        raw = path.read_bytes()
        at = int(rng.integers(len(raw)))
        with changed(path, flipped(raw, at, int(rng.integers(8)))), pytest.raises(DamagedError, match=path.name):
            Index.open(index).verify()
    Index.open(index).verify()


def answers(folder: Path) -> list[Any]:
    """What a person sees of an index and a code file."""
    index, file = Index.open(folder / "index"), CodeFileIndex(folder / "a.hcq")
    found = [search_levels(each, ["", ""], random_levels(2), 99)[0].hits for each in (index, file)]
    known = [index.rows_of("v3.mp4"), file.rows_of("v3.mp4"), index.videos, index.video_segments]
    said = [hit.id for hit in IndexWords(index).best(asked_words("v3"), 9)]
    return [*found, *known, said, [index.values(row, ["number"]) for row in range(index.rows)]]


@listed
def test_a_flipped_bit_is_refused_on_opening_or_changes_no_answer(tmp_path: Path, lists: int) -> None:
    """Codes and padding alone are left to `verify`, in files as small as these."""
    index, rng = small_index(tmp_path, lists, planted), np.random.default_rng(1)
    right, refused = answers(tmp_path), 0
    kinds = {path.name.split("-")[0]: path for path in [tmp_path / "a.hcq", *files_of(index)]}
    flips = 200 if SLOW else 20
    for path in kinds.values():
        raw = path.read_bytes()
        for _ in range(flips):
            with changed(path, flipped(raw, int(rng.integers(len(raw))), int(rng.integers(8)))):
                try:
                    found = answers(tmp_path)
                    encoder = Index.open(index).text_encoder()  # which opens its file
                    assert encoder is not None and found[2:] == right[2:]
                    names = [{(hit.id, hit.path) for hit in hits} for hits in found[:2]]
                    assert names == [{(hit.id, hit.path) for hit in hits} for hits in right[:2]]
                except DamagedError as error:
                    assert path.name in error.message
                    refused += 1
                    continue
                with pytest.raises(DamagedError, match=path.name):
                    Index.open(index).verify()
                    open_codes(tmp_path / "a.hcq").verify()
    assert refused > 0.6 * flips * len(kinds)


@listed
def test_every_truncation_is_a_named_error(tmp_path: Path, lists: int) -> None:
    index = small_index(tmp_path, lists)
    for path in [*files_of(index), tmp_path / "b.hcq"]:
        raw = path.read_bytes()
        lengths = range(len(raw)) if SLOW else {*range(0, len(raw), 397), 1, 63, 64, len(raw) - 1}
        for length in lengths:
            with changed(path, raw[:length]), pytest.raises(DamagedError, match=path.name) as caught:
                open_codes(path) if path.name == "b.hcq" else opened(index)
            assert caught.value.exit_code == 4


def use(index: Path) -> None:
    """All that a reader does."""
    opened = Index.open(index)
    for params in (SearchParams(), SearchParams(nprobe=1), SearchParams(exact=True)):
        search_levels(opened, ["", ""], random_levels(2), 5, params=params)
    opened.rows_of("v3.mp4")
    IndexWords(opened).best(asked_words("v3"), 9)
    opened.columns.passing("number < 7")
    opened.verify()


@settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
@listed
def test_whatever_the_bytes_only_our_errors(
    tmp_path_factory: pytest.TempPathFactory, lists: int, data: st.DataObject
) -> None:
    folder = tmp_path_factory.getbasetemp() / f"fuzz-{lists}"
    if not folder.exists():
        folder.mkdir()
        small_index(folder, lists)
    index = folder / "index"
    path = data.draw(st.sampled_from(sorted([*files_of(index), folder / "a.hcq"])))
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw)))
        raw[at : at + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
    with changed(path, bytes(raw)):
        try:
            open_codes(folder / "a.hcq").verify()
            use(index)
        except HcqError:
            return
        assert bytes(raw) == path.read_bytes()


def test_an_index_whose_rows_are_forged_gives_only_our_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = small_index(tmp_path, 4)
    opened = Index.open(index)
    entry = opened.manifest.segments[0]
    big = np.full(60, 4_000_000_000, np.uint32)
    starts = opened.segments[0].list_starts
    assert starts is not None
    segment = opened.segments[0]
    with ContainerWriter(index / entry.file, FORMAT, {}) as writer:
        writer.add("codes", np.array(segment.blocks.codes), "|u1")
        for name, strings in (("ids", segment.ids), ("paths", segment.paths)):
            writer.add(name, np.array(strings.blob), "|u1")
            writer.add(f"{name}_offsets", np.array(strings.offsets), "<u8")
        writer.add("id_hashes", np.zeros(60), "<u8")
        writer.add("id_rows", big, "<u4")
        writer.add("list_starts", starts, "<u4")
        writer.add("order", big, "<u4")
        writer.add("slots", big, "<u4")
    body = opened.manifest.to_json()
    body["digests"][entry.file] = read_digest(index / entry.file)
    generations(index).publish(body)
    forged = Index.open(index)
    assert forged.rows_of("v3.mp4") == []
    for params in (SearchParams(), SearchParams(exact=True)):
        for kernel in ("numpy", next(iter(kernels()))):
            try:
                monkeypatch.setenv("HCQ_KERNEL", kernel)
                search_levels(forged, ["", ""], random_levels(2), 60, params=params)
            except DamagedError:
                pass
    with pytest.raises(DamagedError):
        forged.codes([0])
    assert quantizer()[0].shape[0] == HEADER.S


@listed
def test_a_sound_file_of_another_build_is_refused(tmp_path: Path, lists: int) -> None:
    """Of as many videos and the same model, with right checksums: only the manifest tells that it is another's."""
    index = small_index(tmp_path, lists)
    (tmp_path / "other").mkdir()
    codes = write_codes(tmp_path / "other" / "a.hcq", names(60), random_codes(60, seed=9))
    build(tmp_path / "other" / "index", [codes], lists=lists, **told(tmp_path / "other", IDS[::-1]))
    remove(tmp_path / "other" / "index", ["v7.mp4"])
    others = {path.name.split("-")[0]: path for path in files_of(tmp_path / "other" / "index")}
    for path in files_of(index):
        foreign = others[path.name.split("-")[0]]
        if path.suffix == ".hcq" and path.read_bytes() != foreign.read_bytes():
            with changed(path, foreign.read_bytes()), pytest.raises(DamagedError, match=path.name) as caught:
                opened(index)
            assert caught.value.exit_code == 4
    Index.open(index).verify()


def test_an_index_of_before_there_were_digests(tmp_path: Path) -> None:
    index = small_index(tmp_path, 0)
    body = Index.open(index).manifest.to_json()
    del body["digests"]
    generations(index).publish(body)
    Index.open(index).verify()
    remove(index, ["v6.mp4"])
    assert set(Index.open(index).manifest.digests) == set(Index.open(index).manifest.files())


def resealed(raw: bytes, document: object) -> bytes:
    """A container with another header, and the checksum that belongs to it."""
    magic, version, block, offset, _ = FIXED.unpack(raw[: FIXED.size])
    header = json.dumps(document).encode()
    fixed = FIXED.pack(magic, version, block, offset, len(header))
    return fixed + hashlib.sha256(fixed + header).digest() + raw[PRELUDE_BYTES:offset] + header


def hostile_versions(path: Path, count: int) -> Iterator[bytes]:
    """The file with one value of its header changed, under a right checksum."""
    raw, chooser = path.read_bytes(), random.Random(path.name)
    if path.suffix == ".json":
        document = json.loads(raw)
        for body in hostile(document["body"], count, chooser):
            signed = {"format": document["format"], "version": document["version"], "body": body}
            yield json.dumps({**signed, "checksum": files.digest_json(signed)}).encode() + b"\n"
    else:
        start, length = FIXED.unpack(raw[: FIXED.size])[3:]
        for document in hostile(json.loads(raw[start : start + length]), count, chooser):
            yield resealed(raw, document)


def use_all(folder: Path) -> None:
    """What a person does with an index and a code file."""
    use(folder / "index")
    run_here("index", "info", "--index", folder / "index")
    run_here("query", "--like", "v3.mp4", "--index", folder / "index")
    opened = CodeFileIndex(folder / "a.hcq")
    search_levels(opened, [""], random_levels(1), 3)
    opened.rows_of("v3.mp4")
    run_here("index", "build", folder / "a.hcq", "--index", folder / "built", "-w", folder)
    encoder = Index.open(folder / "index").text_encoder()
    if encoder is not None:
        with pytest.raises(HcqError, match=r"cannot be run|damaged|has no section"):
            encoder.prepare()


@listed
def test_hostile_headers_with_right_checksums_give_only_our_errors(tmp_path: Path, lists: int) -> None:
    """300 of each kind of file; in none of them more memory or time than the file itself would need."""
    index = small_index(tmp_path, lists, planted)
    body = Index.open(index).manifest.to_json()
    del body["digests"]  # or they would be refused for that alone
    generations(index).publish(body)
    paths = [path for path in [tmp_path / "a.hcq", *files_of(index)] if path.suffix != ".db"]
    kinds = {path.name.split("-")[0]: path for path in paths}
    assert len(kinds) == (9 if lists else 8)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for path in kinds.values():
        for content in hostile_versions(path, 300 if SLOW else 20):
            with changed(path, content):
                started = time.process_time()
                try:
                    use_all(tmp_path)
                except HcqError as error:
                    assert error.exit_code == 4 or isinstance(error, NotFoundError), error.message
                    assert str(tmp_path) in error.message
                except AssertionError as failure:
                    assert str(failure).startswith(("exit 4\n", "exit 10\n")), failure
                assert time.process_time() - started < 1  # of the processor: the machine may be busy
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 256 << 10
    use_all(tmp_path)
