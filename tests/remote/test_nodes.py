"""Paths of a mirror on their way to other machines, and what a long run puts now and then."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from faulty_store import FaultyStore, failing

from hcq_cli.remote import nodes
from hcq_cli.remote.mirror import Mirror


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mirror:
    """The one mirror that this process works in, of an empty address."""
    FaultyStore.store.clear()
    mirror = Mirror("faulty://bucket/ws", tmp_path)
    monkeypatch.setattr(Mirror, "opened", {mirror.address: mirror})
    return mirror


def test_a_long_run_goes_on_while_the_address_cannot_be_reached(
    there: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodes, "KEEP_S", -1.0)
    (tmp_path / "features/incoming").mkdir(parents=True)
    (tmp_path / "features/incoming/1.h5").write_bytes(b"x")
    keep = nodes.Keeping(tmp_path / "features")
    with failing(1):
        keep()
    assert not there._there.listed("parts")
    keep()
    assert there._there.listed("parts") == {"features/incoming/1.h5": 1}


def test_a_worker_waits_for_another_one_of_its_machine_that_fetches(
    there: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hcq_cli.remote.mirror_files.WAIT_S", 0.1)
    with ThreadPoolExecutor(1) as pool, there._here.alone():
        arrived = pool.submit(nodes.arrived, [(there.address, "features")])
        time.sleep(0.5)
        assert not arrived.done()
    assert arrived.result() == [tmp_path / "features"]
