"""How many cores this process may use, which may be fewer than the machine has."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from hcq_cli.cores import cores


def test_at_least_one() -> None:
    assert 1 <= cores() <= (os.cpu_count() or 1)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux alone lets a process give up cores")
def test_a_process_on_one_core_has_one() -> None:
    program = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
        "from hcq_cli.cores import cores; print(cores())"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "1\n"
