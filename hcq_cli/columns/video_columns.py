"""What hcq itself knows of a video, as columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hcq_cli.columns.column import Column, Kind, text_column, unknown

if TYPE_CHECKING:
    from hcq_cli.features.store import FeatureStore

VIDEO_COLUMNS: dict[str, Kind] = {
    "duration": "number",
    "folder": "text",
    "taken": "date",
    "taken_from": "text",
    "has_sound": "flag",
    "has_words": "flag",
    "has_faces": "flag",
    "width": "number",
    "height": "number",
}
"""Seconds; the folder of the id; when it was taken, and whether its `container` or the `file` says so; pixels."""
NAMES: dict[str, Kind] = {"id": "text", "path": "text"}
"""What a filter can name besides: they lie in the index segment itself."""


def video_columns(store: FeatureStore | None, videos: Sequence[str]) -> dict[str, Column]:
    """The columns of N videos, by their ids.

    Args:
        store: their features; without it only the folder is known.
        videos: the ids of the videos; time segments of a video have its columns.
    """
    columns = {name: unknown(kind, len(videos)) for name, kind in VIDEO_COLUMNS.items()}
    columns["folder"] = text_column(video.rpartition("/")[0] for video in videos)
    if store is None:
        return columns
    from hcq_cli.features.facts import fact_columns  # which reading an index does without

    facts = fact_columns(store, videos)
    said_by = np.where(np.isnan(facts.taken_s), 2, np.where(facts.by_container, 0, 1)).astype(np.uint32)
    return columns | {
        "duration": Column("number", facts.duration_s),
        "taken": Column("date", facts.taken_s),
        "taken_from": Column("text", said_by, [b"container", b"file"]),
        "has_sound": Column("flag", facts.has_sound),
        "has_words": Column("flag", facts.has_words),
        "has_faces": Column("flag", facts.has_faces),
        "width": Column("number", facts.width),
        "height": Column("number", facts.height),
    }
