from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hcq_cli.codes.container import BLOCK_BYTES, FIXED, MAGIC, Container, ContainerWriter
from hcq_cli.errors import DamagedError, HcqError, NotFoundError

FORMAT = "test-format"
CASES = 10_000 if os.environ.get("HCQ_TEST_SLOW") == "1" else 120


def write(path: Path) -> Path:
    with ContainerWriter(path, FORMAT, {"name": "é\udcff"}) as writer:
        codes = writer.section("codes", "|u1", (3,), in_place=True)
        other = writer.section("other", "<u8")
        for start in range(0, 30, 10):
            codes.write(np.arange(start * 3, start * 3 + 30, dtype=np.uint8).reshape(10, 3))
            other.write(np.arange(start, start + 10, dtype=np.uint64))
        writer.add("empty", np.empty((0, 2), np.float32), "<f4")
        writer.add("floats", np.ones((2, 2, 5), np.float32), "<f4")
    return path


def read_all(path: Path) -> None:
    container = Container(path, FORMAT, "make it anew")
    container.map("codes", "|u1", (3,))
    container.map("other", "<u8")
    container.verify()


def test_reads_what_was_written(tmp_path: Path) -> None:
    container = Container(write(tmp_path / "a"), FORMAT, "")
    assert container.meta == {"name": "é\udcff"}
    assert container.map("codes", "|u1", (3,)).tolist() == np.arange(90).reshape(30, 3).tolist()
    assert container.map("other", "<u8").tolist() == list(range(30))
    assert container.map("empty", "<f4", (2,)).shape == (0, 2)
    assert container.read("floats", "<f4", (2, 5)).shape == (2, 2, 5)
    assert all(section.offset % 64 == 0 for section in container.sections.values())
    container.verify()


def test_mapped_arrays_outlive_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a")
    codes = Container(path, FORMAT, "").map("codes", "|u1", (3,))
    path.unlink()
    assert codes[29].tolist() == [87, 88, 89]
    with pytest.raises(ValueError, match="read-only"):
        codes[0] = 0


def test_an_error_while_writing_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), ContainerWriter(tmp_path / "a", FORMAT, {}) as writer:
        writer.section("codes", "|u1", in_place=True).write(np.ones(10, np.uint8))
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_what_is_left_for_the_end_is_written_if_the_block_ends_well_and_a_failure_in_it_leaves_nothing(
    tmp_path: Path,
) -> None:
    class Ending(ContainerWriter):
        last = np.arange(3)

        def _end(self) -> None:
            self.add("last", self.last, "<u8")

    with Ending(tmp_path / "a", FORMAT, {}):
        pass
    assert Container(tmp_path / "a", FORMAT, "").read("last", "<u8").tolist() == [0, 1, 2]
    Ending.last = np.array("no number")
    with pytest.raises(ValueError), Ending(tmp_path / "b", FORMAT, {}):
        pass
    with pytest.raises(RuntimeError), Ending(tmp_path / "b", FORMAT, {}):
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    raw = write(tmp_path / "a").read_bytes()
    for length in range(len(raw)):
        (tmp_path / "b").write_bytes(raw[:length])
        with pytest.raises(DamagedError, match="b: "):
            Container(tmp_path / "b", FORMAT, "")


def test_every_flipped_bit_is_found(tmp_path: Path) -> None:
    path = write(tmp_path / "a")
    raw = path.read_bytes()
    _, _, _, header_at, length = FIXED.unpack(raw[: FIXED.size])
    for at in [*range(96), *range(96, header_at, 7), *range(header_at, header_at + length)]:
        damaged = bytearray(raw)
        damaged[at] ^= 1 << (at % 8)
        path.write_bytes(damaged)
        with pytest.raises(DamagedError):
            read_all(path)
        if at < 64 or at >= header_at:  # prelude and header are checked on opening
            with pytest.raises(DamagedError):
                Container(path, FORMAT, "")


def test_damage_names_section_and_place(tmp_path: Path) -> None:
    path = tmp_path / "big"
    with ContainerWriter(path, FORMAT, {}) as writer:
        writer.section("codes", "|u1", in_place=True).write(np.zeros(3 * BLOCK_BYTES + 5, np.uint8))
    raw = bytearray(path.read_bytes())
    raw[128 + 2 * BLOCK_BYTES] = 1
    path.write_bytes(raw)
    container = Container(path, FORMAT, "make it anew")
    with pytest.raises(DamagedError, match=f"'codes' is damaged between byte {2 * BLOCK_BYTES + 64}") as caught:
        container.verify()
    assert caught.value.hint == "make it anew"


def test_newer_foreign_and_missing_files(tmp_path: Path) -> None:
    path = write(tmp_path / "a")
    with pytest.raises(DamagedError, match="'test-format', not 'other'"):
        Container(path, "other", "")
    raw = bytearray(path.read_bytes())
    raw[8] = 2
    path.write_bytes(raw)
    with pytest.raises(DamagedError, match="format version 2") as caught:
        Container(path, FORMAT, "")
    assert caught.value.hint == "upgrade hcq"
    with pytest.raises(NotFoundError):
        Container(tmp_path / "missing", FORMAT, "")
    with pytest.raises(HcqError, match="cannot be read"):
        Container(tmp_path, FORMAT, "")


def test_a_section_of_another_shape_is_refused(tmp_path: Path) -> None:
    container = Container(write(tmp_path / "a"), FORMAT, "")
    for name, dtype, row_shape in [("codes", "<u4", (3,)), ("codes", "|u1", (4,)), ("nothing", "|u1", ())]:
        with pytest.raises(DamagedError, match="has no section"):
            container.map(name, dtype, row_shape)


@settings(max_examples=CASES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_mutation_gives_only_our_errors(tmp_path: Path, data: st.DataObject) -> None:
    sound, path = tmp_path / "sound", tmp_path / "fuzzed"
    raw = bytearray((sound if sound.exists() else write(sound)).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
        raw = raw or bytearray(b"\0")
    path.write_bytes(raw)
    try:
        read_all(path)
    except HcqError:
        return
    assert Container(path, FORMAT, "").map("codes", "|u1", (3,)).tolist() == np.arange(90).reshape(30, 3).tolist()


def signed(header: bytes) -> bytes:
    """A file whose checksum fits whatever its header says: what someone could make on purpose."""
    import hashlib

    fixed = FIXED.pack(MAGIC, 1, BLOCK_BYTES, 128, len(header))
    return (fixed + hashlib.sha256(fixed + header).digest()).ljust(128, b"\0") + header


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
sections = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from(["|u1", "<f4", "<u8", "O"]) | json_values,
        "shape": st.lists(st.integers(-1, 2**70), max_size=3) | json_values,
        "offset": st.sampled_from([0, 64, 128, 2**63]) | json_values,
        "crc32": st.sampled_from(["", "00000000", "zz"]) | json_values,
    },
)
headers = st.fixed_dictionaries(
    {},
    optional={
        "format": st.just(FORMAT),
        "meta": json_values,
        "sections": st.dictionaries(st.just("codes"), sections),
    },
)


@settings(max_examples=CASES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(document=headers | json_values)
def test_headers_made_on_purpose_give_only_our_errors(tmp_path: Path, document: object) -> None:
    import json

    path = tmp_path / "forged"
    path.write_bytes(signed(json.dumps(document).encode()))
    try:
        read_all(path)
    except HcqError:
        pass
