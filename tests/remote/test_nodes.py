"""Paths of a mirror on their way to other machines, and what a long run puts now and then."""

from __future__ import annotations

from pathlib import Path

import pytest
from faulty_store import FaultyStore, failing

from hcq_cli.remote import nodes
from hcq_cli.remote.mirror import Mirror


def test_a_long_run_goes_on_while_the_address_cannot_be_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    FaultyStore.store.clear()
    there = Mirror("faulty://bucket/ws", tmp_path)
    monkeypatch.setattr(Mirror, "opened", {there.address: there})
    monkeypatch.setattr(nodes, "KEEP_S", -1.0)
    (tmp_path / "features/incoming").mkdir(parents=True)
    (tmp_path / "features/incoming/1.h5").write_bytes(b"x")
    keep = nodes.Keeping(tmp_path / "features")
    with failing(1):
        keep()
    assert not there._there.listed("parts")
    keep()
    assert there._there.listed("parts") == {"features/incoming/1.h5": 1}
