"""What an index knows of its videos as a table for pandas, DuckDB and whatever else reads Parquet.

    id, path            of the video; a caption's path is the sentence
    start_s, end_s      of a time segment; null in the row of a whole video
    duration, taken, …  the columns that filters know, each of its kind: double, timestamp (UTC), bool, string

One row each that a search can find, in the order of the index. Bytes of a name that are no UTF-8 are spelled out
(`\\xff`), since Parquet holds none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hcq_cli.codes.ids import segment_times, video_of
from hcq_cli.columns.column import UNKNOWN_FLAG, Column
from hcq_cli.errors import needing
from hcq_cli.files import atomic_open
from hcq_cli.packed_strings import PackedStrings
from hcq_cli.search.index import Index

ROWS_AT_ONCE = 1 << 16
OWN_FIELDS = ("id", "path", "start_s", "end_s")


@dataclass(frozen=True)
class ParquetExport:
    """What was written.

    Args:
        path: the table.
        videos: in it.
        rows: its lines; more than videos where these have time segments.
        columns: its fields, by name.
    """

    path: Path
    videos: int
    rows: int
    columns: tuple[str, ...]


def export_parquet(index: Index, path: Path, progress: Callable[[int], None] = lambda _: None) -> ParquetExport:
    """Write the table of an index, some rows at a time.

    Args:
        path: of the table, which appears when it is complete.

    Raises:
        NotFoundError: pyarrow is not installed.
        DamagedError: a file of columns is damaged.
    """
    with needing("pyarrow, which writes Parquet, is not installed", "parquet"):
        import pyarrow as pa
        import pyarrow.parquet as pq
    text, number = pa.string(), pa.float64()
    types = {"number": number, "date": pa.timestamp("ms", tz="UTC"), "flag": pa.bool_(), "text": text}
    fields = list(zip(OWN_FIELDS, (text, text, number, number), strict=True))
    # A column of one's own may be called as a field of ours; DuckDB knows no capitals in names.
    fields += [
        (f"{name} (own)" if name.lower() in OWN_FIELDS else name, types[kind])
        for name, kind in index.columns.kinds.items()
    ]
    schema = pa.schema(fields)
    with atomic_open(path) as out, pq.ParquetWriter(out, schema, compression="zstd") as writer:
        for number_of_segment, segment in enumerate(index.segments):
            columns = [index.columns.column(number_of_segment, name) for name in index.columns.kinds]
            alive = np.flatnonzero(segment.alive)
            for rows in np.array_split(alive, max(1, -(-len(alive) // ROWS_AT_ONCE))):
                values = [*_named(segment.ids.take(rows), segment.paths.take(rows))]
                values += [_values(column.take(rows)) for column in columns]
                given = zip(values, schema.types, strict=True)
                arrays = [pa.array(each, kind, from_pandas=True) for each, kind in given]
                writer.write_batch(pa.record_batch(arrays, schema=schema))
                progress(len(rows))
    return ParquetExport(path, index.videos, index.rows, tuple(schema.names))


def _named(ids: PackedStrings, paths: PackedStrings) -> tuple[list[Any], ...]:
    """Ids, paths, and where segments begin and end, of some rows."""
    names, times = list(ids), [segment_times(id) for id in ids]
    return (
        [_readable(video_of(name).encode("utf-8", "surrogateescape")) for name in names],
        [_readable(paths.raw(row)) for row in range(len(paths))],
        [None if each is None else each[0] for each in times],
        [None if each is None else each[1] for each in times],
    )


def _values(column: Column) -> Any:
    """The values of a column as pyarrow takes them: NaN, NaT and None where they are unknown."""
    if column.kind == "number":
        return column.values
    if column.kind == "date":
        dates = np.full(len(column), "NaT", "datetime64[ms]")
        known = np.isfinite(column.values)
        dates[known] = np.round(column.values[known] * 1000).astype("datetime64[ms]")
        return dates
    if column.kind == "flag":
        return [None if value == UNKNOWN_FLAG else bool(value) for value in column.values.tolist()]
    # Each text that occurs is decoded once.
    used, places = np.unique(column.values, return_inverse=True)
    texts = [_readable(column.words[at]) if at < len(column.words) else None for at in used.tolist()]
    return [texts[place] for place in places.tolist()]


def _readable(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")
