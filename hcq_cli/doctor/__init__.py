"""Finds out whether everything hcq stands on works here; `hcq doctor` prints it.

A `Workspace` goes in, `Finding`s come out: what was looked at, how it is, and the command that repairs it. In the
order to read: examine.py (the whole examination), package_checks.py, child_checks.py (what runs in processes of its
own), machine_checks.py, workspace_checks.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Health(StrEnum):
    """How something is: it works, is not there, or is there and does not work."""

    OK = "ok"
    MISSING = "missing"
    BROKEN = "broken"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Args:
        part: the heading it stands under: "python", "packages", "machine", "workspace".
        name: what it is.
        health: how it is.
        detail: version, size or reason, for people.
        required: whether hcq, or what is already in the workspace, cannot do its work while this is not ok.
        repair: the command that repairs it; empty if it is ok or nothing needs to be done.
    """

    part: str
    name: str
    health: Health
    detail: str
    required: bool = False
    repair: str = ""

    @property
    def is_blocking(self) -> bool:
        """Whether it keeps hcq from working: required and not ok."""
        return self.required and self.health is not Health.OK
