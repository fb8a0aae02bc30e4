"""Hands a feature store to NumPy (.npz) or to pandas and everything else that reads Parquet, in bounded memory.

    features.npz        ids [V]; for each expert E: "E.features" [n, dim], "E.times" [n] in seconds,
                        "E.offsets" [V+1] (video v has rows offsets[v]:offsets[v+1]) and "E.states" [V]
    features.parquet    a row a token: id, path, expert, state, time_s, features (a list of dim floats);
                        an expert without tokens in a video has one row, that says why, without time and features

A .npz needs no pickle to be read. Ids with undecodable bytes have them escaped (\\udcff becomes "\\xff") in Parquet.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from hcq_cli.errors import UsageError, needing
from hcq_cli.features.records import STATES
from hcq_cli.features.store import FeatureStore
from hcq_cli.files import atomic_open

VIDEOS_AT_ONCE, BYTES_AT_ONCE = 256, 1 << 26
"""The most that is held in memory (but for a single video that is larger)."""
Observer = Callable[[int, int], None]
"""Told how many videos are done, of how many."""


@dataclass(frozen=True)
class FeatureExport:
    """What was written.

    Args:
        path: the file.
        videos: how many are in it.
        nbytes: its size.
        tokens: how many, by expert.
    """

    path: Path
    videos: int
    nbytes: int
    tokens: dict[str, int] = field(default_factory=dict)


def export(
    store: FeatureStore,
    path: Path,
    experts: Sequence[str] | None = None,
    observer: Observer = lambda done, total: None,
) -> FeatureExport:
    """Write the features of a store into one file, which appears when it is complete.

    Args:
        store: what to export.
        path: its suffix says how: .npz or .parquet.
        experts: which; all by default.
        observer: told as it goes on.

    Raises:
        UsageError: another suffix, or the store has no such expert.
        NotFoundError: Parquet is asked for, and pyarrow is not installed.
        DamagedError: names the file and the video that are damaged.
    """
    writers = {".npz": _write_npz, ".parquet": _write_parquet}
    if path.suffix.lower() not in writers:
        raise UsageError(f"{path}: features are exported as {' or '.join(writers)}", f"-o {path.stem}.npz")
    names = list(dict.fromkeys(store.experts if experts is None else experts))
    missing = [name for name in names if name not in store.experts]
    if missing:
        raise UsageError(f"{store.folder}: has no expert {missing[0]!r}, only {', '.join(store.experts)}")
    with atomic_open(path) as out:
        tokens = writers[path.suffix.lower()](store, out, names, observer)
    return FeatureExport(path, len(store), path.stat().st_size, tokens)


def _chunks(store: FeatureStore, names: Sequence[str]) -> list[range]:
    """The rows of the store in runs that fit in memory with all these experts."""
    nbytes = np.zeros(len(store) + 1, np.int64)
    for name in names:
        nbytes[1:] += 4 * store.experts[name].dim * store.counts(name, np.arange(len(store)))
    # Sizes are summed up once; where a run must end is then found by bisection.
    until, begin, chunks = np.cumsum(nbytes), 0, list[range]()
    while begin < len(store):
        fits = int(np.searchsorted(until, until[begin] + BYTES_AT_ONCE, "right")) - 1
        end = min(len(store), begin + VIDEOS_AT_ONCE, max(fits, begin + 1))
        chunks.append(range(begin, end))
        begin = end
    return chunks


def _states(store: FeatureStore, name: str, rows: range) -> NDArray[np.str_]:
    """The state of each video, text [len(rows)]; empty where the expert has not looked at it."""
    texts = np.array(["", *map(str, STATES)])
    found: NDArray[np.str_] = texts[store.latest(name).state[rows.start : rows.stop]]
    return found


def _write_npz(store: FeatureStore, out: IO[bytes], names: Sequence[str], observer: Observer) -> dict[str, int]:
    # np.savez wants every array whole in memory. A .npz is a zip of .npy files, each a header and the bytes: here
    # they are written a run of videos at a time; not compressed, as np.savez has it.
    every = range(len(store))
    ids = np.dtype(f"<U{max([1, *map(len, store.ids)])}")  # of one width: as objects they would have to be pickled
    tokens = {}
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        parts = (np.array(store.ids[rows.start : rows.stop], ids) for rows in _chunks(store, ()))
        _write_array(archive, "ids", ids, (len(store),), parts)
        for at, name in enumerate(names):
            offsets = np.append(0, np.cumsum(store.counts(name, every)))
            times = np.empty(offsets[-1], np.float32)
            tokens[name] = len(times)
            features = _features(store, name, times)
            _write_array(archive, f"{name}.features", times.dtype, (len(times), store.experts[name].dim), features)
            for part, column in (("times", times), ("offsets", offsets), ("states", _states(store, name, every))):
                _write_array(archive, f"{name}.{part}", column.dtype, column.shape, iter([column]))
            observer(at + 1, len(names))
    return tokens


def _features(store: FeatureStore, name: str, times: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """The features of one expert, a run of videos at a time; the times that come with them are put into `times`."""
    begin = 0
    for rows in _chunks(store, [name]):
        read = store.read(rows, [name])[name]
        times[begin : begin + len(read.times)] = read.times
        begin += len(read.times)
        yield read.features


def _write_array(
    archive: zipfile.ZipFile, name: str, dtype: np.dtype[Any], shape: tuple[int, ...], parts: Iterator[NDArray[Any]]
) -> None:
    """One array of a .npz, written as its parts come."""
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    with archive.open(f"{name}.npy", "w", force_zip64=True) as out:  # its size is not known when it begins
        np.lib.format.write_array_header_2_0(out, header)  # type: ignore[arg-type]
        for part in parts:
            out.write(np.ascontiguousarray(part, dtype).tobytes())


def _write_parquet(store: FeatureStore, out: IO[bytes], names: Sequence[str], observer: Observer) -> dict[str, int]:
    with needing("pyarrow, which writes Parquet, is not installed", "parquet"):
        import pyarrow as pa
        import pyarrow.parquet as pq
    # Few names, in millions of rows: as a dictionary, in memory as on disk.
    category, text = pa.dictionary(pa.int32(), pa.string()), pa.string()
    names_and_types = [("id", text), ("path", text), ("expert", category), ("state", category)]
    names_and_types.append(("time_s", pa.float32()))
    schema = pa.schema([*names_and_types, ("features", pa.list_(pa.float32()))])
    tokens = dict.fromkeys(names, 0)
    with pq.ParquetWriter(out, schema, compression="zstd") as writer:
        for rows in _chunks(store, names):
            facts = [store.facts(row) for row in rows]
            about = [(_escaped(fact.id), _escaped(fact.path)) for fact in facts]
            for name, read in store.read(rows, names).items():
                tokens[name] += len(read.times)
                # A video without tokens has one row, that says why, if the expert has looked at it.
                counts, states = np.diff(read.offsets), _states(store, name, rows)
                rows_each = np.where((counts == 0) & (states != ""), 1, counts)
                owner, empty = np.repeat(np.arange(len(counts)), rows_each), np.repeat(counts == 0, rows_each)
                times = np.zeros(len(owner), np.float32)
                times[~empty] = read.times
                widths = np.where(empty, 0, read.features.shape[1])
                offsets = np.append(0, np.cumsum(widths)).astype(np.int32)
                columns = [
                    pa.array([about[at][0] for at in owner], text),
                    pa.array([about[at][1] for at in owner], text),
                    pa.array([name] * len(owner), text).dictionary_encode(),
                    pa.array(states[owner].tolist(), text).dictionary_encode(),
                    pa.array(times, mask=empty),
                    pa.ListArray.from_arrays(offsets, read.features.reshape(-1), mask=pa.array(empty)),
                ]
                writer.write_batch(pa.record_batch(columns, schema=schema))
            observer(rows.stop, len(store))
    return tokens


def _escaped(text: str) -> str:
    """Arrow takes UTF-8 alone: bytes of a file name that are none are spelled out."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
