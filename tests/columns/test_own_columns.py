"""Tables of the user's own: what they hold, and which video each line is of."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from hcq_cli.columns.own_columns import Join, read_copy, read_own_columns
from hcq_cli.errors import NotFoundError, UsageError

CSV = '''video,place,rating,good,day,code,empty
holiday/beach.mp4,Rügen,4.5,yes,2025-05-03,007,
kitchen.mkv,"home, sweet ""home""",3,no,2024-01-01,12,
'''


def values(path: Path, column: str) -> list[object]:
    own = read_own_columns(path)
    return [own.columns[column].value(row) for row in range(len(own.videos))]


def test_what_a_column_holds_follows_from_its_values(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(CSV)
    own = read_own_columns(tmp_path / "t.csv")
    assert own.kinds == {"place": "text", "rating": "number", "good": "flag", "day": "date", "code": "text"}
    assert list(own.videos) == ["holiday/beach.mp4", "kitchen.mkv"]
    assert values(tmp_path / "t.csv", "place") == ["Rügen", 'home, sweet "home"']
    assert values(tmp_path / "t.csv", "good") == [True, False]
    assert values(tmp_path / "t.csv", "code") == ["007", "12"]
    assert values(tmp_path / "t.csv", "day") == [1746230400.0, 1704067200.0]


@pytest.mark.parametrize("mark, start", [("\t", ""), (";", "\ufeff")])
def test_other_marks_and_a_byte_order_mark(tmp_path: Path, mark: str, start: str) -> None:
    (tmp_path / "t.csv").write_text(start + f"Path{mark}n\na.mp4{mark}1\n\nb.mp4{mark}\n")
    assert values(tmp_path / "t.csv", "n") == [1.0, None]


def test_long_fields_are_read_and_what_other_tables_may_hold_stays(tmp_path: Path) -> None:
    (path := tmp_path / "own.csv").write_text(f"video,note\na.mp4,{'x' * 500_000}\n")
    before = csv.field_size_limit()
    assert values(path, "note") == ["x" * 500_000]
    assert csv.field_size_limit() == before


def test_json_lines_and_parquet_say_the_same(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    lines = [
        {"video": "a.mp4", "n": 1, "good": True, "tags": ["x"]},
        {"video": "b.mp4", "n": None, "good": False, "more": "täler"},
    ]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, lines)))
    pq.write_table(pa.Table.from_pylist([{"more": None, **line} for line in lines]), tmp_path / "t.parquet")
    for name in ("t.jsonl", "t.parquet"):
        assert values(tmp_path / name, "n") == [1.0, None]
        assert values(tmp_path / name, "good") == [True, False]
        assert values(tmp_path / name, "more") == [None, "täler"]
        assert values(tmp_path / name, "tags") == ['["x"]', None]


def test_a_line_finds_its_video_by_id_by_path_and_by_a_name_that_one_video_has(tmp_path: Path) -> None:
    lines = ["video,n", "holiday/beach.mp4,1", "videos/kitchen.mkv,2", "/elsewhere/far.mp4,3", "short.mp4,4"]
    lines += ["twice.mp4,5", "nobody.mp4,6", "kept.mp4,7", "kept.mp4,8"]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    ids = ["holiday/beach.mp4", "kitchen.mkv", "far.mp4", "deep/short.mp4", "a/twice.mp4", "b/twice.mp4", "kept.mp4"]
    paths = [f"/videos/{id}" for id in ids]
    paths[1], paths[2] = str(tmp_path / "videos" / "kitchen.mkv"), "/elsewhere/far.mp4"
    join = Join(read_own_columns(tmp_path / "t.csv"), lambda: iter([ids]))
    numbers = join.columns(ids, paths)["n"].values
    # Of two lines for one video the later counts; a name that two videos have is nobody's.
    np.testing.assert_array_equal(numbers, [1, 2, 3, 4, np.nan, np.nan, 8])
    assert join.unused == ["twice.mp4", "nobody.mp4", "kept.mp4"]


def test_a_copy_is_the_same(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(CSV)
    own = read_own_columns(tmp_path / "t.csv")
    own.write(tmp_path / "own.hcq")
    copy = read_copy(tmp_path / "own.hcq")
    assert (copy.kinds, copy.file, copy.digest, list(copy.videos)) == (
        own.kinds,
        own.file,
        own.digest,
        list(own.videos),
    )
    for name, column in own.columns.items():
        assert [copy.columns[name].value(row) for row in range(2)] == [column.value(row) for row in range(2)]


@pytest.mark.parametrize(
    "text, reason",
    [
        ("name,n\na,1\n", "no column names the video"),
        ("", "holds no line"),
        ("video,duration\na,long\n", "duration is of hcq's own"),
        ("video,id2,path\na,1,b\n", "path is of hcq's own"),
    ],
)
def test_what_is_no_such_table_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(UsageError, match=reason):
        read_own_columns(tmp_path / "t.csv")


def test_broken_tables_are_refused(tmp_path: Path) -> None:
    for name, content in [("a.jsonl", b"{]"), ("b.jsonl", b"[1]"), ("c.parquet", b"PAR1 no"), ("d.jsonl", b"\xff")]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UsageError):
            read_own_columns(tmp_path / name)
    with pytest.raises(NotFoundError):
        read_own_columns(tmp_path / "nothing.csv")
