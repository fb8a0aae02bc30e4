"""What was looked at, how it is, and what mends it."""

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
        mend: the command that mends it; empty if it is ok or nothing needs to be done.
    """

    part: str
    name: str
    health: Health
    detail: str
    required: bool = False
    mend: str = ""

    @property
    def hinders(self) -> bool:
        """Whether it keeps hcq from working: required and not ok."""
        return self.required and self.health is not Health.OK
