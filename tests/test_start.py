"""The first lines of a child: it runs a module of the packages beside it, and leaves the path as it was."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from hcq_cli.process import START


def test_a_module_runs_with_its_arguments_and_nothing_else_on_the_path(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise RuntimeError('a file of the current folder was run')")
    command = [sys.executable, "-P", START, "hcq_cli", "recipes", "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)
    program = (
        f"import sys; sys.path.insert(0, {str(START.parent)!r}); import start; before = list(sys.path);"
        f"start.take_packages({str(START.parent.parent)!r}); print(sys.path == before, 'experts' in sys.modules)"
    )
    shown = subprocess.check_output([sys.executable, "-c", program], text=True, cwd=tmp_path.parent)
    assert shown == "True True\n"
