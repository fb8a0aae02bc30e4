from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcq_cli.errors import DamagedError
from hcq_cli.packed_strings import PackedStrings

NAMES = st.lists(st.binary(max_size=12).map(lambda raw: raw.decode("utf-8", "surrogateescape")), max_size=30)


@given(names=NAMES, data=st.data())
def test_packing_slicing_and_taking(names: list[str], data: st.DataObject) -> None:
    strings = PackedStrings.of(names)
    assert list(strings) == names
    start = data.draw(st.integers(0, len(names)))
    stop = data.draw(st.integers(start, len(names)))
    assert list(strings.part(start, stop)) == names[start:stop]
    rows = data.draw(st.lists(st.integers(0, len(names) - 1), max_size=10)) if names else []
    taken = strings.take(np.array(rows, np.int64))
    assert list(taken) == [names[row] for row in rows]
    assert taken.hashes().tolist() == strings.hashes()[np.array(rows, np.int64)].tolist()


@given(names=NAMES)
def test_hashes_tell_strings_apart(names: list[str]) -> None:
    assert len(set(PackedStrings.of(names).hashes().tolist())) == len(set(names))


def test_find_gives_the_last(tmp_path: object) -> None:
    strings = PackedStrings.of(["a", "bb", "a", "", "cc"])
    assert [strings.find(name) for name in ("a", "bb", "", "c")] == [2, 1, 3, None]


@pytest.mark.parametrize("offsets", [[0, 9, 2], [5, 1, 2], [0, 1, 99], [2**63, 1, 2]])
def test_offsets_that_lie_are_refused(offsets: list[int]) -> None:
    strings = PackedStrings(np.frombuffer(b"ab", np.uint8), np.array(offsets, np.uint64), "some file")
    with pytest.raises(DamagedError, match="some file"):
        strings.part(0, 2)
    with pytest.raises(DamagedError, match="some file"):
        list(strings)
