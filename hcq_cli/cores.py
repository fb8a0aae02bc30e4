"""How many things this process can do at once, and how its threads wait; a query asks too, and starts in no time."""

from __future__ import annotations

import os


def cores() -> int:
    """Cores that this process may use, at least 1."""
    # In a container, or under taskset, they are fewer than the machine has, and more threads than those only get in
    # each other's way. macOS does not tell.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def yield_while_waiting() -> None:
    """Let threads that wait for others sleep soon instead of spin; counts for what loads OpenMP (torch) afterwards.

    Where another process has a core, threads that spin at every barrier keep the very thread they wait for from
    running: a training step of 0.3 s took 12 s. Sleeping at once costs an idle machine a tenth (0.71 against 0.64 s a
    step of the recipe demo, two cores); some microseconds of spinning before it cost neither: 0.64 s, and beside a
    process that never rests 1.35 s, where sleeping at once takes 1.08 s.
    """
    if "OMP_WAIT_POLICY" not in os.environ:  # read once, when libgomp is loaded; children inherit both
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
