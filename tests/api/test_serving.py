"""What a server listens on, and what it says where it cannot."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from hcq_cli.api.serving import _listening, serve
from hcq_cli.errors import HcqError, NotFoundError
from hcq_cli.workspace import Workspace


def test_without_an_index_nothing_is_served(tmp_path: Path) -> None:
    pytest.importorskip("starlette")
    with pytest.raises(NotFoundError, match="no index there"):
        serve(Workspace(tmp_path / ".hcq"), port=0)


def test_a_port_that_is_taken_is_named() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(HcqError, match="cannot be listened on") as told,
    ):
        _listening("127.0.0.1", taken.getsockname()[1])
    assert "--port 0" in told.value.hint
    with pytest.raises(HcqError, match=r"no\.such\.host\.invalid:1"):
        _listening("no.such.host.invalid", 1)
