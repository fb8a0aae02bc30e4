"""A shard that is cut short is refused, when it is opened or while it is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hcq_cli.errors import DamagedError
from hcq_cli.features.store import FeatureStore
from hcq_cli.features.verification import verify


def test_every_truncation_of_a_shard_is_refused(store: Path) -> None:
    (path,) = (store / "shards").iterdir()
    whole = path.read_bytes()
    for length in [*range(0, 40), *range(40, len(whole), 499), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(DamagedError) as refused:
            FeatureStore.open(store)
        assert str(path) in refused.value.message
        assert len(verify(store).damaged) == 1
    path.unlink()
    with pytest.raises(DamagedError, match="missing"):
        FeatureStore.open(store)


def test_cut_short_while_open(store: Path) -> None:
    held = FeatureStore.open(store)
    held.read([0])
    (path,) = (store / "shards").iterdir()
    with path.open("rb+") as file:
        file.truncate(5000)
    with pytest.raises(DamagedError, match=r"cut short|damaged"):
        held.read(np.arange(len(held)))
