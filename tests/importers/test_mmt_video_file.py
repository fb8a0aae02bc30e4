"""One HDF5 file of MMT: what counts as absent, times, captions; and files made to do harm."""

from __future__ import annotations

import io
from pathlib import Path

import h5py
import numpy as np
import pytest
from mmt_files import h5_bytes

from experts.base import State
from hcq_cli.errors import DamagedError
from hcq_cli.importers.mmt_video_file import read_video

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


@pytest.mark.parametrize("at", [(0, 0), (0, 3), (1, 0)])
@pytest.mark.parametrize("number", [np.nan, -np.inf])
def test_a_row_that_is_not_finite_costs_no_other_wherever_it_stands(at, number) -> None:
    rows = ROWS.copy()
    rows[at] = number
    found = read(features__s3d=rows)
    np.testing.assert_array_equal(found.tokens["s3d"].features, np.delete(ROWS, at[0], 0))
    assert found.warnings == ["s3d: rows that are not finite, left out"]
    bad = read(features__s3d=rows[at[0] : at[0] + 1])
    assert bad.tokens["s3d"].state == State.NOTHING_FOUND and bad.warnings == found.warnings


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
    with pytest.raises(DamagedError, match="2 × 2 × 2 numbers"):
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
