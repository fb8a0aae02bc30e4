"""hcq dedupe: groups of near-identical videos, and shared parts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import hcq_cli as api
from hcq_cli.commands.shared import VERBS, Session, command
from hcq_cli.console import counted, printable

if TYPE_CHECKING:
    from hcq_cli.duplicates.groups import DuplicateGroup, Member

EXAMPLES = ["hcq dedupe", "hcq dedupe --threshold 0.8 --json"]
Features = Annotated[
    Path | None, typer.Argument(metavar="[FEATURES]", help="The feature store (default: the workspace's).")
]
Threshold = Annotated[
    float | None,
    typer.Option(
        "--threshold",
        metavar="X",
        min=0,
        max=1,
        help="How alike they must be (default 0.65): re-encoded 0.95, cropped by a tenth 0.85, strangers below 0.6.",
    ),
]


def register(app: typer.Typer) -> None:
    """Put the command on the command line."""
    command(app, "dedupe", panel=VERBS, examples=EXAMPLES)(dedupe)


def dedupe(session: Session, features: Features = None, threshold: Threshold = None) -> None:
    """List videos that are nearly the same, and videos that share a part of 5 s or more; nothing is ever deleted.

    Compared are the tokens of the experts appearance and audio in the feature store.
    """
    found = api.dedupe(session.workspace, features=features, threshold=threshold, progress=session.console)
    document = {
        "groups": [
            {
                "kind": group.kind,
                "members": [_member(member) for member in group.members],
                "score": round(group.score, 4),
            }
            for group in found.groups
        ],
        "videos": found.videos,
        "compared": found.compared,
    }

    def human() -> None:
        for group in found.groups:
            _print(session, group)
        copies = sum(group.kind == "copy" for group in found.groups)
        session.console.note(
            f"{counted(found.videos, 'video')}: {counted(copies, 'group')} of copies, "
            f"{counted(len(found.groups) - copies, 'shared part')} ({counted(found.compared, 'pair')} compared); "
            "nothing was deleted"
        )

    session.console.result(document, human)


def _member(member: Member) -> dict[str, Any]:
    document: dict[str, Any] = {"id": member.id, "path": member.path}
    if member.start_s is not None and member.end_s is not None:
        document |= {"start_s": round(member.start_s, 2), "end_s": round(member.end_s, 2)}
    return document


def _print(session: Session, group: DuplicateGroup) -> None:
    session.console.text(f"{group.kind}  {group.score:.2f}", style="bold")
    for member in group.members:
        stretch = "" if member.start_s is None else f"  {member.start_s:.1f}–{member.end_s:.1f} s"
        session.console.text(f"  {printable(member.path or member.id)}{stretch}")
