"""hcq mcp, where it does not serve. What it serves is in tests/agents."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

import pytest


def test_a_configuration_can_be_printed_without_an_index(hcq: Callable[..., Any]) -> None:
    config = hcq("mcp", "--print-config", "holiday=a/.hcq", "--json").json["mcpServers"]["hcq"]
    assert config["args"][-2] == "mcp" and config["args"][-1].startswith("holiday=/")
    # Of an address nothing is fetched for that, and it is named itself.
    assert (
        hcq("mcp", "--print-config", "-w", "s3://b/w", "--json").json["mcpServers"]["hcq"]["args"][-1]
        == "default=s3://b/w"
    )
    # What it names can be run by itself.
    assert subprocess.run([config["command"], *config["args"][:-2], "--version"], capture_output=True).returncode == 0


@pytest.mark.parametrize("given", [["x"], ["=x"], ["a="], ["a b=x"], ["a=x", "a=y"]])
def test_names_are_words_and_used_once(hcq: Callable[..., Any], given: list[str]) -> None:
    assert "NAME=WORKSPACE" in hcq("mcp", *given, code=2).err
