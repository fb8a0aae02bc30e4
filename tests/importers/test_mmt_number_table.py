"""The table of test captions, a pickle: nothing of it is run, and it is read or refused."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hcq_cli.errors import DamagedError
from hcq_cli.importers.mmt_number_table import read_number_table


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.text(), st.integers(-(2**40), 2**40)), st.integers(0, 5))
def test_a_table_is_read_at_every_protocol(table: dict[str, int], protocol: int) -> None:
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


def test_a_few_bytes_cannot_ask_for_gigabytes() -> None:
    huge = pickle.NONE + pickle.LONG_BINPUT + (2**32 - 1).to_bytes(4, "little") + pickle.STOP
    with pytest.raises(DamagedError, match="numbers more values"):
        read_number_table(huge)
