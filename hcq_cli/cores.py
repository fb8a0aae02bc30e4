"""How many things this process can do at once."""

from __future__ import annotations

import os


def cores() -> int:
    """Cores that this process may use, at least 1."""
    # In a container, or under taskset, they are fewer than the machine has, and more threads than those only get in
    # each other's way. macOS does not tell.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
