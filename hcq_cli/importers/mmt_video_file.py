"""One video's HDF5 file of MMT: `features.EXPERT`, `features_t.EXPERT` and `raw_captions.i`, all at its root.

- `features.EXPERT` [n, dim]; an expert that gave nothing has no dataset, none of any length, or one that begins
  with NaN (or, in some files, holds nothing but zeros).
- `features_t.EXPERT` [n, 2]: begin and end of what each row speaks of, in seconds. They hold for s3d and vggish;
  for rgb and scene MMT counts rows of 0.2 and 1 second instead, and for the others no time is known.
- `raw_captions.i`: the words of caption i, one string each.

The file may come from anywhere: it is opened from memory, no link in it is followed, and nothing is read before
its size is known. The HDF5 library itself may still hang or crash on it, so this runs in a child process
(mmt_video_reader.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from experts.base import State, Tokens
from hcq_cli.errors import DamagedError, sizes

ROW_S: dict[str, float | None] = {"rgb": 0.2, "scene": 1.0, "face": None, "speech": None, "ocr": None}
"""Seconds a row, where the file's times are not to be used; None: unknown."""
MAX_FILE_BYTES = 256 << 20
MAX_ARRAY_BYTES = 256 << 20
MAX_TEXT_BYTES = 16 << 20
MAX_DATASETS = 10_000
CAPTION = re.compile(r"raw_captions\.(\d{1,6})")


@dataclass(frozen=True)
class MmtVideo:
    """What a file says.

    Args:
        tokens: by expert, of those asked for; one of unknown width that gave nothing is left out.
        captions: by their numbers, words joined by spaces.
        left_out: experts that the file has and that were not asked for.
        duration_s: the end of the last row with a time; 0 if none has.
        warnings: what is not quite right, for people.
    """

    tokens: dict[str, Tokens] = field(default_factory=dict)
    captions: dict[int, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    duration_s: float = 0.0
    warnings: list[str] = field(default_factory=list)


def read_video(data: bytes, experts: Iterable[str], widths: Mapping[str, int]) -> MmtVideo:
    """Read a file, which was read into memory.

    Args:
        data: its content.
        experts: those wanted; none for the captions alone.
        widths: of the features of experts that gave nothing.

    Raises:
        DamagedError: it is no HDF5 file, is damaged, holds no features, or is not what it should be.
    """
    try:
        # From memory: these are the bytes that were hashed, and a member of an archive has no path.
        with h5py.File(h5py.h5f.open_file_image(data), "r") as file:
            return _read(file, tuple(experts), widths, len(data))
    except DamagedError:
        raise
    except Exception as error:  # h5py raises nearly anything from a damaged file
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DamagedError(f"is no HDF5 file that can be read ({reason})") from error


def _read(file: h5py.File, experts: tuple[str, ...], widths: Mapping[str, int], file_bytes: int) -> MmtVideo:
    # Counted before they are listed: a forged B-tree may claim any number of names.
    if len(file) > MAX_DATASETS:
        raise DamagedError(f"has {len(file):,} datasets")
    keys = set(file)
    there = sorted(key.removeprefix("features.") for key in keys if key.startswith("features."))
    if not there:
        raise DamagedError("holds no features.EXPERT: not one of MMT's files")
    left_out = [name for name in there if name not in experts and "/" not in name]
    video = MmtVideo(captions=_captions(file, keys, file_bytes), left_out=left_out)
    ends = [0.0]
    for name in experts:
        features = _features(file, name, video.warnings) if f"features.{name}" in keys else None
        if features is not None:
            spans = _spans(file, name, len(features), video.warnings)
            finite: NDArray[np.bool_] = np.asarray(np.isfinite(features).all(1))
            if not finite.all():
                video.warnings.append(f"{name}: rows that are not finite, left out")
            state = State.TOKENS if finite.any() else State.NOTHING_FOUND
            video.tokens[name] = Tokens(features[finite], spans[finite].mean(1).astype(np.float32), state)
            ends += spans[finite, 1][np.isfinite(spans[finite, 1])].tolist()
        elif name in widths:
            video.tokens[name] = Tokens.none(widths[name], State.NOTHING_FOUND)
    return MmtVideo(video.tokens, video.captions, left_out, max(ends), video.warnings)


def _dataset(file: h5py.File, key: str, most_bytes: int) -> h5py.Dataset:
    """A dataset that lies in the file itself and fits into memory.

    Raises:
        DamagedError: it is not.
    """
    # The kind of link is asked for first: `file[key]` would already open what a soft or external link leads to.
    if not isinstance(file.get(key, getlink=True), h5py.HardLink):
        raise DamagedError(f"{key} is a link")
    dataset = file[key]
    if not isinstance(dataset, h5py.Dataset) or dataset.is_virtual or dataset.external:
        raise DamagedError(f"{key} is no dataset of its own")
    if dataset.shape is not None and dataset.size * dataset.dtype.itemsize > most_bytes:
        raise DamagedError(f"{key} is too large ({sizes(dataset.shape)} numbers)")
    return dataset


def _numbers(file: h5py.File, key: str) -> NDArray[np.float32] | None:
    """A dataset of numbers; None if it is empty."""
    dataset = _dataset(file, key, MAX_ARRAY_BYTES)
    if dataset.shape is None or dataset.size == 0:
        return None
    if dataset.dtype.kind not in "fiu":
        raise DamagedError(f"{key} holds no numbers ({dataset.dtype})")
    with np.errstate(over="ignore"):  # float64 beyond float32 becomes infinite, and such rows are left out
        return np.asarray(dataset[()]).astype(np.float32)


def _features(file: h5py.File, name: str, warnings: list[str]) -> NDArray[np.float32] | None:
    """Features [n, dim] of an expert; None if it gave nothing."""
    found = _numbers(file, f"features.{name}")
    if found is None or np.isnan(found).all() or not found.any():
        return None
    if found.ndim == 1 and len(found) > 1:
        warnings.append(f"{name}: a single vector, taken as one row")
        found = found[None]
    if found.ndim != 2:
        raise DamagedError(f"features.{name} holds {sizes(found.shape)} numbers, which are no rows of a token each")
    return found


def _spans(file: h5py.File, name: str, rows: int, warnings: list[str]) -> NDArray[np.float32]:
    """Begin and end of each row in seconds, float32 [n, 2]; NaN where unknown."""
    if name in ROW_S:
        row_s = ROW_S[name] or np.nan
        begins = np.arange(rows) * row_s
        return np.stack([begins, begins + row_s], 1).astype(np.float32)
    spans = np.full((rows, 2), np.nan, np.float32)
    found = _numbers(file, f"features_t.{name}") if f"features_t.{name}" in file else None
    if found is None:
        return spans
    if found.ndim == 1:
        found = np.stack([found, found], 1)
    if found.ndim != 2 or found.shape[1] != 2:
        warnings.append(f"{name}: times that are not [n, 2], not used")
        return spans
    if len(found) != rows:
        warnings.append(f"{name}: not as many times as rows")
    count = min(rows, len(found))
    spans[:count] = found[:count]
    spans[~(np.isfinite(spans).all(1) & (spans >= 0).all(1))] = np.nan  # -1 is MMT's "unknown"
    return spans


def _captions(file: h5py.File, keys: set[str], file_bytes: int) -> dict[int, str]:
    numbered = {int(match[1]): key for key in keys if (match := CAPTION.fullmatch(key))}
    found, left = {}, MAX_TEXT_BYTES
    for number, key in sorted(numbered.items()):
        text = _text(_dataset(file, key, MAX_TEXT_BYTES), key, file_bytes)
        left -= len(text)
        if left < 0:
            raise DamagedError("its captions are too long")
        found[number] = text
    return found


def _text(dataset: h5py.Dataset, key: str, file_bytes: int) -> str:
    """A caption, written as its words or as one string."""
    if dataset.shape is None or dataset.size == 0:
        return ""
    if h5py.check_string_dtype(dataset.dtype) is None:
        raise DamagedError(f"{key} holds no text ({dataset.dtype})")
    # Many words may all point to one huge string: their number alone says nothing of the memory they take.
    many = dataset.size * file_bytes > MAX_ARRAY_BYTES
    words = _one_by_one(dataset, key) if many else [_decoded(w) for w in np.asarray(dataset[()], object).ravel()]
    return " ".join(" ".join(words).split())


def _one_by_one(dataset: h5py.Dataset, key: str) -> list[str]:
    words, left = [], MAX_TEXT_BYTES
    for at in np.ndindex(dataset.shape):
        words.append(_decoded(dataset[at]))
        left -= 1 + len(words[-1])
        if left < 0:
            raise DamagedError(f"{key} is too long")
    return words


def _decoded(word: Any) -> str:
    return word.decode("utf-8", "replace") if isinstance(word, bytes) else str(word)
