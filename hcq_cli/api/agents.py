"""Read-only tools for agents, over stdin and stdout: `hcq mcp`."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from hcq_cli.api.searching import Searcher
from hcq_cli.api.serving import Answers
from hcq_cli.errors import needing
from hcq_cli.process import python_command
from hcq_cli.search.params import SearchSettings
from hcq_cli.workspace import Workspace, is_address


def serve_agents(workspaces: Mapping[str, Workspace], version: str) -> None:
    """Answer an agent until it goes.

    Args:
        workspaces: what may be asked, by name; nothing else is read.
        version: of hcq, for the agent.

    Raises:
        NotFoundError: one of them has no index, or the protocol's SDK is not installed.
    """
    with needing("mcp, which speaks with agents, is not installed", "mcp"):
        from hcq_cli.agents.tools import agent_server
    from hcq_cli.media.thumbnails import Thumbnailer
    from hcq_cli.web.batches import Batches

    with ExitStack() as stack:
        opened = {}
        for name, workspace in workspaces.items():
            make = partial(_open, workspace)
            opened[name] = stack.enter_context(Batches(make))
        agent_server(opened, stack.enter_context(Thumbnailer()), version).run("stdio")


def _open(workspace: Workspace) -> Answers:
    return Answers(Searcher(workspace, SearchSettings(many=True)))


def agents_config(program: str, places: Mapping[str, str]) -> dict[str, Any]:
    """What an agent's client wants in its configuration, to start `hcq mcp` by itself.

    Args:
        program: the path of hcq, as it was started.
        places: of what may be asked, by name: folders, or addresses.
    """
    named = [f"{name}={place if is_address(place) else Path(place).absolute()}" for name, place in places.items()]
    # python -m hcq_cli: the file that it runs is no program of its own.
    command, *arguments = python_command("hcq_cli") if Path(program).name == "__main__.py" else [program]
    return {"mcpServers": {"hcq": {"command": command, "args": [*arguments, "mcp", *named]}}}
