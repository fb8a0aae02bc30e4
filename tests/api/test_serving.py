"""What a server listens on, and what it says where it cannot."""

from __future__ import annotations

import asyncio
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


def test_an_answer_does_not_wait_for_its_header_to_be_acknowledged() -> None:
    """40 ms of every answer on a connection that is kept."""

    async def is_sent_at_once() -> bool:
        sent = asyncio.get_running_loop().create_future()

        def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connection = writer.get_extra_info("socket")
            sent.set_result(bool(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)))
            writer.close()

        listener = _listening("127.0.0.1", 0)
        async with await asyncio.start_server(answer, sock=listener):
            _, writer = await asyncio.open_connection(*listener.getsockname())
            writer.close()
            return bool(await sent)

    assert asyncio.run(is_sent_at_once())
