"""One HDF5 file of MMT: what counts as absent, times, captions; and files made to do harm."""

from __future__ import annotations

import io
import json
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mmt_files import h5_bytes, video_bytes

from experts.base import State
from hcq_cli.errors import DamagedError
from hcq_cli.importers import mmt_video_reader as reader
from hcq_cli.importers.mmt_number_table import read_number_table
from hcq_cli.importers.mmt_video_file import read_video
from hcq_cli.importers.mmt_video_reader import VideoReader

WIDTHS = {"s3d": 4, "face": 3, "rgb": 2}
ROWS = np.arange(8, dtype=np.float32).reshape(2, 4) + 1


def read(**datasets):
    data = h5_bytes({key.replace("__", "."): value for key, value in datasets.items()})
    return read_video(data, list(WIDTHS), WIDTHS)


@pytest.mark.parametrize(
    "absent",
    [
        None,
        np.zeros((0, 3), np.float32),
        np.full((1, 3), np.nan, np.float32),
        np.full((5, 3), np.nan),
        np.zeros((2, 3)),
        np.array([np.nan]),
        np.float64("nan"),
    ],
)
def test_an_absent_expert_is_a_state(absent) -> None:
    found = read(features__s3d=ROWS, **({} if absent is None else {"features__face": absent}))
    assert found.tokens["face"].state == State.NOTHING_FOUND and found.tokens["face"].features.shape == (0, 3)
    np.testing.assert_array_equal(found.tokens["s3d"].features, ROWS)
    assert found.warnings == []


def test_times() -> None:
    spans = np.array([[0, 2], [2, 3]], np.float32)
    found = read(features__s3d=ROWS, features_t__s3d=spans, features__rgb=ROWS[:, :2], features__face=ROWS[:, :3])
    np.testing.assert_allclose(found.tokens["s3d"].times, [1.0, 2.5])
    np.testing.assert_allclose(found.tokens["rgb"].times, [0.1, 0.3], rtol=1e-6)  # rows of 0.2 s, whatever is written
    assert np.isnan(found.tokens["face"].times).all() and found.duration_s == 3.0
    assert np.isnan(read(features__s3d=ROWS, features_t__s3d=-np.ones((2, 2))).tokens["s3d"].times).all()
    short = read(features__s3d=ROWS, features_t__s3d=spans[:1])
    assert short.warnings == ["s3d: not as many times as rows"]
    np.testing.assert_array_equal(short.tokens["s3d"].times, [1.0, np.nan])


def test_rows_that_are_not_finite_are_left_out_with_a_warning() -> None:
    rows = np.vstack([ROWS, [[1, np.inf, 0, 0]]])
    found = read(features__s3d=rows)
    np.testing.assert_array_equal(found.tokens["s3d"].features, ROWS)
    assert found.warnings == ["s3d: rows that are not finite, left out"]


def test_captions_of_any_kind_of_string_in_the_order_of_their_numbers() -> None:
    many = {f"raw_captions__{n}": [f"word{n}"] for n in range(12)}
    many["raw_captions__3"] = np.array([b"fixed", b"caf\xc3\xa9"])
    many["raw_captions__4"] = "a whole sentence"
    found = read(features__s3d=ROWS, **many)
    assert list(found.captions) == list(range(12)) and found.captions[11] == "word11"
    assert found.captions[3] == "fixed café" and found.captions[4] == "a whole sentence"
    with pytest.raises(DamagedError, match="no text"):
        read(features__s3d=ROWS, raw_captions__0=np.ones(3))


def test_what_is_no_such_file_is_said() -> None:
    for data, reason in ((b"", "HDF5"), (b"text", "HDF5"), (h5_bytes({"x": ROWS}), "no features.EXPERT")):
        with pytest.raises(DamagedError, match=reason):
            read_video(data, ["s3d"], WIDTHS)
    with pytest.raises(DamagedError, match="shape"):
        read(features__s3d=np.ones((2, 2, 2)))


def hostile(tmp_path: Path, make) -> bytes:
    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        make(file, tmp_path)
    return out.getvalue()


def other_file(file: h5py.File, tmp_path: Path) -> None:
    (tmp_path / "secret.h5").write_bytes(h5_bytes({"x": ROWS}))
    file["features.s3d"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "x")


def other_bytes(file: h5py.File, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(64))
    file.create_dataset("features.s3d", (2, 4), "f4", external=[(str(tmp_path / "secret"), 0, 64)])


def too_large(file: h5py.File, tmp_path: Path) -> None:
    file.create_dataset("features.s3d", (1 << 30, 1 << 10), "f4", chunks=(1024, 1024), compression="gzip")


def a_group(file: h5py.File, tmp_path: Path) -> None:
    file.create_group("features.s3d")


@pytest.mark.parametrize("make", [other_file, other_bytes, too_large, a_group])
def test_a_file_reaches_nothing_but_itself(make, tmp_path: Path) -> None:
    with pytest.raises(DamagedError, match=r"is a link|no dataset of its own|too large"):
        read_video(hostile(tmp_path, make), ["s3d"], WIDTHS)


def test_a_file_that_hangs_the_library_costs_only_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "PATIENCE_S", 1.5)
    widths = {"s3d": 16, "vggish": 8}
    good = video_bytes(3, experts=list(widths), widths=widths)
    bad = bytearray(good)
    word = good.index(b"kitchen\0", good.index(b"GCOL"))
    bad[word - 8] ^= 0x40  # the length of a string, which leads out of its heap
    with VideoReader() as opened:
        assert opened.read(good, widths, widths).captions[2] == "in a kitchen"
        with pytest.raises(DamagedError):
            opened.read(bytes(bad), widths, widths)
        again = opened.read(good, widths, widths)
    there = read_video(good, widths, widths)
    np.testing.assert_array_equal(again.tokens["s3d"].features, there.tokens["s3d"].features)
    np.testing.assert_array_equal(again.tokens["s3d"].times, there.tokens["s3d"].times)
    assert (again.captions, again.duration_s, again.left_out) == (there.captions, there.duration_s, there.left_out)


def test_a_reading_process_that_dies_is_started_again() -> None:
    good = video_bytes(3, experts=["s3d"], widths={"s3d": 4})
    with VideoReader() as opened:
        opened.read(good, ["s3d"], WIDTHS)
        opened._process.kill()
        opened._process.wait()
        with pytest.raises(DamagedError, match="ended the reading process"):
            opened.read(good, ["s3d"], WIDTHS)
        assert len(opened.read(good, ["s3d"], WIDTHS).tokens["s3d"]) == 2


# The table of test captions


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.text(), st.integers(-(2**40), 2**40)), st.integers(0, 5))
def test_a_table_is_read_without_unpickling(table: dict[str, int], protocol: int) -> None:
    assert read_number_table(pickle.dumps(table, protocol)) == table
    assert read_number_table(json.dumps(table).encode()) == table


@pytest.mark.parametrize("protocol", range(6))
def test_numbers_of_numpy(protocol: int) -> None:
    table = {f"video{n}": np.int64(n * 1000) for n in range(1200)}
    assert read_number_table(pickle.dumps(table, protocol)) == {name: int(n) for name, n in table.items()}


class Planted:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("protocol", range(6))
def test_nothing_in_a_pickle_is_run(protocol: int, tmp_path: Path) -> None:
    for planted in (Planted(tmp_path / "ran"), {"video0": Planted(tmp_path / "ran")}):
        with pytest.raises(DamagedError):
            read_number_table(pickle.dumps(planted, protocol))
    assert not (tmp_path / "ran").exists()


@given(st.binary(max_size=60))
def test_rubbish_is_refused_or_a_table(data: bytes) -> None:
    try:
        assert isinstance(read_number_table(data), dict)
    except DamagedError:
        pass
