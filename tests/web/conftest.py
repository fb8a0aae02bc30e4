"""A workspace whose videos can be watched, and a server of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from served import Served, make_films, make_workspace


@pytest.fixture(scope="package")
def films(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return make_films(tmp_path_factory.mktemp("films") / "videos")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, films: list[Path]) -> Iterator[Served]:
    """`hcq serve` as a person starts it, ended as a person ends it."""
    workspace = make_workspace(tmp_path_factory.mktemp("ws") / ".hcq", films)
    command = [sys.executable, "-m", "hcq_cli", "serve", "--port", "0", "--json", "-w", os.fspath(workspace)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "HCQ_DEBUG": "1"})
    assert process.stdout is not None
    try:
        yield Served(workspace, json.loads(process.stdout.readline())["address"])
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
