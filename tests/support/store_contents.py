"""Compares two feature stores: equal when ids, features and times are equal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from hcq_cli.features.folder import entries_of, generations
from hcq_cli.features.store import FeatureStore


def contents(folder: Path) -> dict[str, dict[str, Any]]:
    """Everything that counts, by id and expert: state, bytes of features and times."""
    store = FeatureStore.open(folder)
    found: dict[str, dict[str, Any]] = {}
    for row, id in enumerate(store.ids):
        results = store.video(row).results
        ragged = store.read(np.array([row]), list(results))
        found[id] = {
            name: (str(result.state), ragged[name].features.tobytes(), ragged[name].times.tobytes())
            for name, result in results.items()
        }
    return found


def shard_digests(folder: Path) -> list[str]:
    """SHA-256 of the shards of the newest generation, oldest first; their names are chosen by chance."""
    return [entry.sha256 for entry in entries_of(generations(folder).read(), folder)]
