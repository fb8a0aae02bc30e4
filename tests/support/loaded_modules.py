"""Which modules a command loads: what imports torch waits seconds for it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

NETWORKS = {"torch", "transformers"}


def loaded_by(arguments: Sequence[str], folder: Path, stdin: str = "") -> tuple[set[str], str]:
    """The modules that a command has loaded when it ends, and what it printed."""
    script = (
        "import sys, json, atexit\n"
        "atexit.register(lambda: print(json.dumps(sorted(sys.modules)), file=sys.stderr))\n"
        "from hcq_cli.app import main\nmain()\n"
    )
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=True, cwd=folder)
    return set(json.loads(done.stderr.splitlines()[-1])), done.stdout
