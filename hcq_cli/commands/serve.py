"""hcq serve: a search page for the browser, and its API."""

from __future__ import annotations

import signal
import sys
import webbrowser
from typing import Annotated

import typer

import hcq_cli as api
from hcq_cli.commands import visits
from hcq_cli.commands.shared import VERBS, IndexOption, Session, command

EXAMPLES = ["hcq serve", "hcq serve --open", "hcq serve --port 9000 -w runs/a", "hcq serve --host 0.0.0.0"]


def register(app: typer.Typer) -> None:
    """Put the command on the command line."""

    @command(app, "serve", panel=VERBS, examples=EXAMPLES, reads=("index", "texts-index", "model", "duplicates.json"))
    def serve(
        session: Session,
        host: Annotated[
            str,
            typer.Option(
                "--host",
                metavar="ADDRESS",
                help="Listen there; anywhere but on this machine alone a token is asked for.",
            ),
        ] = "127.0.0.1",
        port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes one that is free.")] = 8420,
        token: Annotated[
            str | None,
            typer.Option("--token", metavar="TEXT", help="Ask for this token (default: made up if needed)."),
        ] = None,
        index: IndexOption = None,
        on: Annotated[
            str | None,
            typer.Option(
                metavar="ray[:ADDRESS]",
                help="A process on every node of a Ray cluster, which listens at its head.",
                show_default=False,
            ),
        ] = None,
        open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    ) -> None:
        """Serve a page to search with, and watch what was found from its second; Ctrl-C ends it.

        For this machine alone, unless --host says otherwise. A new index is picked up without a restart. Meanwhile
        hcq query in the same workspace is answered by it, with the same answer and sooner (-v says so).
        """

        def started(address: str) -> None:
            session.console.result(
                {"address": address}, lambda: session.console.text(f"{address}   (Ctrl-C ends it)")
            )
            if open_page:
                webbrowser.open(address)

        # Ended as by Ctrl-C: what lies in the workspace and in temporary folders goes with the server.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        api.serve(
            session.workspace,
            api.SearchSettings(index=index),
            host=host,
            port=port,
            token=token,
            on=on,
            started=started,
            warn=session.console.warn,
            printer=lambda searcher: visits.ShellQueries(searcher).answer,
        )
