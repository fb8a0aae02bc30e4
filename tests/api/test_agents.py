"""What a client's configuration is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from hcq_cli.api.agents import agents_config, serve_agents
from hcq_cli.errors import NotFoundError
from hcq_cli.workspace import Workspace


def test_a_configuration_starts_the_same_workspaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = agents_config("/bin/hcq", {"a": "x/.hcq", "b": "s3://bucket/ws"})
    args = ["mcp", f"a={tmp_path}/x/.hcq", "b=s3://bucket/ws"]
    assert config == {"mcpServers": {"hcq": {"command": "/bin/hcq", "args": args}}}


def test_a_workspace_without_an_index_is_told_at_once(tmp_path: Path) -> None:
    pytest.importorskip("mcp")
    with pytest.raises(NotFoundError, match="no index there"):
        serve_agents({"a": Workspace(tmp_path)}, "1")
