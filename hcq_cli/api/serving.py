"""A search page and its API on this machine: `hcq serve`."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from hcq_cli.api.answers import answer_document
from hcq_cli.api.searched import CHANGED
from hcq_cli.api.searching import Searcher
from hcq_cli.errors import HcqError, UsageError, needing
from hcq_cli.search.params import SearchSettings
from hcq_cli.workspace import Workspace

if TYPE_CHECKING:
    from starlette.types import ASGIApp

OWN = ("127.0.0.1", "localhost", "::1")
PORT = 8420

Shell = Callable[[dict[str, Any]], dict[str, Any] | None]
"""Answers a command line as `web.batches.Answering.printed` does."""


class Answers:
    """A searcher as servers ask it (`hcq_cli.web.batches.Answering`, which says what each of them does).

    Args:
        searcher: with settings that those of a question are added to.
        printer: makes of it what answers command lines; None where nobody types any.
    """

    def __init__(self, searcher: Searcher, printer: Callable[[Searcher], Shell] | None = None) -> None:
        self._searcher, self._printer = searcher, printer(searcher) if printer is not None else None
        self._usual = {name: getattr(searcher.settings, name) for name in CHANGED}
        searcher.prepare()

    def texts(self, queries: Sequence[str], k: int, how: dict[str, Any]) -> list[dict[str, Any]]:
        """See `Answering.texts`."""
        self._set(how)
        return [answer_document(self._searcher, answer) for answer in self._searcher.texts(queries, k)]

    def like(
        self, likes: Sequence[str], k: int, how: dict[str, Any], *, text: str = "", unlike: Sequence[str] = ()
    ) -> dict[str, Any]:
        """See `Answering.like`."""
        self._set(how)
        if len(likes) == 1 and not text and not unlike:
            return answer_document(self._searcher, self._searcher.like(likes[0], k))
        return answer_document(self._searcher, self._searcher.composed(text, k, likes=likes, unlike=unlike))

    def path_of(self, item_id: str) -> str:
        """See `Answering.path_of`."""
        collection = self._searcher.collection
        rows = collection.rows_of(item_id)
        return collection.name(rows[0])[1] if rows else ""

    def facts(self) -> dict[str, Any]:
        """See `Answering.facts`."""
        try:
            self._searcher.refresh()
        except UsageError:  # the last question named a column that a newer index has not
            self._renew()
        found = self._searcher.collection
        return {"videos": found.videos, "index": str(found.path), "model": found.header.model_hash}

    def _set(self, how: dict[str, Any]) -> None:
        """Take on the settings of a question."""
        try:
            self._searcher.change(**{**self._usual, **how})
        except UsageError:  # it may name a column that only a newer index has
            self._renew()
            self._searcher.change(**{**self._usual, **how})

    def _renew(self) -> None:
        """Open the newest index, whatever the last question wanted of it."""
        self._searcher.change(**self._usual)
        self._searcher.refresh()

    def printed(self, asked: dict[str, Any]) -> dict[str, Any] | None:
        """See `Answering.printed`."""
        return self._printer(asked) if self._printer is not None else None


def serve(
    workspace: Workspace,
    settings: SearchSettings | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = PORT,
    token: str | None = None,
    on: str | None = None,
    started: Callable[[str], None] = lambda address: None,
    warn: Callable[[str], None] = lambda line: None,
    printer: Callable[[Searcher], Shell] | None = None,
) -> None:
    """Serve a workspace until the process is interrupted; a new generation of the index is picked up.

    Args:
        settings: a `SearchSettings`.
        host: the address to listen on. On any other than this machine's own a token is asked for.
        port: to listen on; 0 for any that is free.
        token: to ask for; default: one is made up where one is needed.
        on: "ray" or "ray:HOST:PORT" for a process on every node of a Ray cluster, behind one address on its head;
            None for this process.
        started: told the address to open, with the token in it.
        warn: told what is not as it should be on the cluster.
        printer: makes of the searcher what answers command lines of this person's shells (`hcq_cli.web.shells`).

    Raises:
        NotFoundError: there is no index, or starlette and uvicorn are not installed.
        HcqError: the port is taken, or there is no such cluster.
    """
    with needing("starlette and uvicorn, which serve, are not installed", "web"):
        import uvicorn

        from hcq_cli.web.connections import Connection
        from hcq_cli.web.guard import EVERYWHERE
        from hcq_cli.web.server import application

    from hcq_cli.duplicates.groups import read_duplicates
    from hcq_cli.web.batches import Batches
    from hcq_cli.web.shells import Shells

    if token is None and host not in OWN:
        token = secrets.token_urlsafe(24)
    others = [socket.gethostname(), socket.getfqdn()] if host in EVERYWHERE else []
    wanted, hosts = settings or SearchSettings(), [host, *OWN, *others]
    named = f"[{host}]" if ":" in host else host

    def tell(port: int, named: str = named) -> None:
        started(f"http://{named}:{port}/{f'?token={token}' if token else ''}")

    if on is not None:
        from hcq_cli.engines.ray_serving import serve_on_ray

        if port == 0:
            raise UsageError("--on ray takes a port, and finds none by itself", f"--port {PORT}")

        def at_head(head: str) -> None:
            tell(port, head if host in EVERYWHERE else named)

        index = Searcher(workspace, wanted).collection.path.resolve()
        there = Workspace(workspace.root.resolve()), replace(wanted, index=index)
        build = partial(_application, *there, hosts, token)
        serve_on_ray(on, build, index, host=host, port=port, started=at_head, warn=warn)
        return
    with ExitStack() as stack:
        # One searcher for pages and shells, which has texts encoded as a command has (not `many`): to the same bytes.
        batches = stack.enter_context(Batches(lambda: Answers(Searcher(workspace, wanted), printer)))
        listener = stack.enter_context(_listening(host, port))
        if printer is not None and wanted.index is None:
            stack.enter_context(Shells(workspace.root, batches.printed))
        app = application(batches, partial(read_duplicates, workspace.duplicates), hosts=hosts, token=token)
        tell(listener.getsockname()[1])
        config = uvicorn.Config(
            app,
            http=Connection,
            ws="none",
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=2,
        )
        uvicorn.Server(config).run(sockets=[listener])


def _application(
    workspace: Workspace, settings: SearchSettings, hosts: Sequence[str], token: str | None, head: str
) -> ASGIApp:
    """The application with a searcher of its own, which ends with the process; `head` is one more of the hosts."""
    from hcq_cli.duplicates.groups import read_duplicates
    from hcq_cli.web.batches import Batches
    from hcq_cli.web.server import application

    batches = Batches(lambda: Answers(Searcher(workspace, settings))).__enter__()
    return application(batches, partial(read_duplicates, workspace.duplicates), hosts=[*hosts, head], token=token)


def _listening(host: str, port: int) -> socket.socket:
    """A socket that listens; a context manager, as sockets are."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # With its protocol: else asyncio does not know TCP, and a body waits 40 ms for its header to be acknowledged.
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen()  # from now on who is told the address is waited for, even if the server takes a moment
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise HcqError(
            f"{host}:{port}: cannot be listened on ({reason})", "hcq serve --port 0 takes one that is free"
        ) from None
    return listener
