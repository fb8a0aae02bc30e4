"""What an extraction would do, without decoding anything (`hcq extract --dry-run`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from hcq_cli.extraction.extract import Options, load_experts, setup
from hcq_cli.extraction.plan import Broken, Finished, Ledger, Twin
from hcq_cli.extraction.report import Failed
from hcq_cli.features.store import FeatureWriter
from hcq_cli.media.inputs import Inputs


@dataclass(frozen=True)
class Planned:
    """A video that would be extracted, by these experts."""

    id: str
    path: str
    experts: list[str]


@dataclass
class Plan:
    """What would be done.

    Args:
        todo: videos that would be decoded.
        duplicates: paths of those that would be given the features of another file with the same bytes.
        finished: ids of those that would be skipped.
        failed: what cannot be read, or is known to be broken.
    """

    todo: list[Planned] = field(default_factory=list)
    duplicates: list[str] = field(default_factory=list)
    finished: list[str] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)

    @property
    def videos(self) -> int:
        """How many inputs were judged, whatever came of them."""
        return len(self.todo) + len(self.duplicates) + len(self.finished) + len(self.failed)


def plan(inputs: Inputs, names: Sequence[str], options: Options) -> Plan:
    """Judge all inputs, and do nothing about them.

    Raises:
        UsageError: no such expert or decoder.
        LockedError: another process writes to the store.
    """
    experts = load_experts(names, options.sample_fps)
    setup(names, options)
    planned = Plan(failed=[Failed(item.path, item.error) for item in inputs.unusable])
    if not options.store.is_dir():  # nothing is known, and a plan makes no folders
        every = [expert.name for expert in experts]
        planned.todo = [Planned(item.id, item.path, every) for item in inputs.videos]
        return planned
    with FeatureWriter(options.store) as writer:
        ledger = Ledger(writer, experts, options.max_seconds, options.retry_failed)
        for item in inputs.videos:
            verdict = ledger.judge(item)
            if isinstance(verdict, Finished):
                planned.finished.append(verdict.id)
            elif isinstance(verdict, Twin):
                planned.duplicates.append(item.path)
            elif isinstance(verdict, Broken):
                planned.failed.append(Failed(item.path, verdict.error, verdict.remembered))
            else:
                planned.todo.append(Planned(verdict.id, item.path, verdict.experts))
    return planned
