"""How the report of an extraction is printed: by `hcq extract`, and by what extracts on its way."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hcq_cli.console import Console, printable

if TYPE_CHECKING:
    from hcq_cli.extraction.report import ExtractReport
    from hcq_cli.extraction.vanished import Vanished

SHOWN = 20
"""Warnings and failures printed in full; --json holds all of them."""
NAMED = 3
"""Names that stand for many."""


def extraction_document(report: ExtractReport, store: Path | None) -> dict[str, Any]:
    """The report of an extraction as --json prints it."""
    warnings = [
        {"path": w.path, **({"expert": w.expert} if w.expert else {}), "message": w.message} for w in report.warnings
    ]
    return {
        "videos": report.videos,
        "extracted": report.extracted,
        "skipped": report.skipped,
        "duplicates": report.duplicates,
        "failed": [{"path": failed.path, "error": failed.error} for failed in report.failed],
        "warnings": warnings,
        "states": report.states,
        "seconds": round(report.seconds, 3),
        "store": str(store),
        **({"shard": str(report.share), "waiting": report.waiting} if report.share else {}),
        "media_seconds": round(report.media_s, 3),
        "decoders": report.decoders,
        "packets": report.packets,
        "frames": report.frames,
        "new": report.new,
        "changed": report.changed,
        "renamed": len(report.vanished.renamed),
        "deleted": len(report.vanished.deleted),
        "missing": report.missing,
        "removed_before": report.removed,
        "restored": report.restored,
        "passed_over": [{"path": item.path, "reason": item.reason} for item in report.passed_over],
        **vanished_document(report.vanished),
    }


def vanished_document(vanished: Vanished) -> dict[str, Any]:
    """What has left the store, or would, as --json prints it."""
    return {
        "renames": [{"from": old, "to": new} for old, new in vanished.renamed.items()],
        "deletions": vanished.deleted,
        "second_names": vanished.second_ids,
    }


def print_extraction(console: Console, report: ExtractReport, store: Path | None) -> None:
    """Print the report of an extraction for people."""
    any_failed = any(counts.get("failed") for counts in report.states.values())
    columns = [state for state in next(iter(report.states.values()), {}) if state != "failed" or any_failed]
    rows = [[name, *(counts[state] for state in columns)] for name, counts in report.states.items()]
    if report.extracted or report.skipped or report.duplicates:
        console.table(["expert", *(state.replace("_", " ") for state in columns)], rows)
    for warning in report.warnings[:SHOWN]:
        about = f"{warning.expert}: " if warning.expert else ""
        console.warn(f"{warning.path}: {about}{warning.message}")
    if len(report.warnings) > SHOWN:
        console.warn(f"… and {len(report.warnings) - SHOWN} more (--json lists all)")
    for failed in report.failed[:SHOWN]:
        console.text(f"failed: {printable(failed.path)}: {printable(failed.error)}", style="red")
    if len(report.failed) > SHOWN:
        console.text(f"… and {len(report.failed) - SHOWN} more failed (--json lists all)", style="red")
    if any(failed.known for failed in report.failed):
        console.note("some are known from an earlier run; --retry-failed tries them again")
    _print_vanished(console, report)
    speed = f", {report.media_s / report.seconds:.0f}x real time" if report.extracted and report.seconds else ""
    copies = report.duplicates - len(report.vanished.renamed)
    copied = f"{copies} with the same bytes as another, " if copies else ""
    copied += f"{report.waiting} copies of others left for later, " if report.waiting else ""
    console.text(
        f"{report.extracted} extracted, {copied}{report.skipped} skipped, {len(report.failed)} failed "
        f"in {report.seconds:.1f} s{speed} -> {printable(str(store))}"
    )


def counted_changes(report: ExtractReport) -> dict[str, int]:
    """How many videos are new, changed, renamed and gone since the last extraction."""
    counts = {"new": report.new, "changed": report.changed, "renamed": len(report.vanished.renamed)}
    return {**counts, "gone": len(report.vanished.deleted)}


def _print_vanished(console: Console, report: ExtractReport) -> None:
    vanished = report.vanished
    if vanished.renamed:
        named = [f"{old} -> {new}" for old, new in vanished.renamed.items()]
        console.text(f"{len(named)} renamed or moved: {_some(named)}")
    if report.missing:
        console.text(f"{len(report.missing)} missing, kept: {_some(report.missing)}")
    if vanished.deleted:
        console.text(f"{len(vanished.deleted)} gone, no longer in the store: {_some(vanished.deleted)}")
        console.note("where a drive is not plugged in: --keep-missing")
    if vanished.second_ids:
        console.text(f"dropped, because a file has one id: {_some(vanished.second_ids)}")
    if report.restored:
        console.text(f"{report.restored} back in the collection")
    if report.removed:
        console.note(f"{report.removed} passed over that were removed; name a file itself to have it back")
    for reason in dict.fromkeys(item.reason for item in report.passed_over):
        paths = [item.path for item in report.passed_over if item.reason == reason]
        how = "; rename it, or name it itself" if "looks" in reason else "; --everything takes them in"
        how = "" if reason == "excluded" else how  # by a pattern of the person's own
        names = _some([Path(path).name for path in paths])
        console.note(f"{len(paths)} passed over, {reason}: {names}{how}")


def _some(names: Sequence[str]) -> str:
    return ", ".join(map(printable, names[:NAMED])) + (", …" if len(names) > NAMED else "")
