"""How fast extraction is here, as a multiple of decoding alone with the same workers in the same run."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from experts.registry import split_source
from hcq_cli.extraction.child import Child
from hcq_cli.extraction.executor import Job
from hcq_cli.extraction.extract import Options, cores, extract, setup
from hcq_cli.extraction.local import Crew
from hcq_cli.extraction.plan import Broken, Finished
from hcq_cli.extraction.report import ExtractReport
from hcq_cli.media.inputs import Input, Inputs


@dataclass(frozen=True)
class Pace:
    """One pass over all videos.

    Args:
        seconds: wall-clock time, the start of the workers included.
        times_real_time: duration of the videos over that.
    """

    seconds: float
    times_real_time: float


@dataclass(frozen=True)
class Measured:
    """Extraction and decoding side by side.

    Args:
        videos: how many were extracted.
        failed: how many could not be.
        media_s: duration of all of them, seconds.
        frames: frames decoded in one pass.
        workers: processes in each pass.
        decode_only: decoding all pictures and the sound, and nothing else.
        extract: the whole extraction into an empty store.
        networks_s: how long networks ran in it, seconds.
        alone: the whole extraction by each expert alone, by its name; empty unless asked for.
    """

    videos: int
    failed: int
    media_s: float
    frames: int
    workers: int
    decode_only: Pace
    extract: Pace
    networks_s: float = 0.0
    alone: dict[str, Pace] = field(default_factory=dict)

    @property
    def together(self) -> float | None:
        """What all experts in one pass take beyond one decoding, over the slowest alone; None if none was timed."""
        slowest_s = max((pace.seconds for pace in self.alone.values()), default=0.0)
        return (self.extract.seconds - self.decode_only.seconds) / slowest_s if self.alone else None

    @property
    def ratio(self) -> float:
        """Time of extraction over time of decoding alone."""
        return self.extract.seconds / self.decode_only.seconds


class _Everything:
    """Judges like a ledger that knows nothing."""

    def judge(self, item: Input) -> Job | Finished | Broken:
        return Job(item.id, item.path, "", 1, 0, [], {})

    def failed(self, job: Job, error: str) -> None: ...

    def mended(self, job: Job) -> None: ...


def measure(
    inputs: Inputs,
    names: Sequence[str],
    options: Options,
    told: Callable[[str], None] = lambda stage: None,
    alone: bool = False,
) -> Measured:
    """Decode all videos, then extract them into a store that is thrown away.

    Args:
        inputs: from `find_inputs`.
        names: the experts.
        options: the store in it is not used.
        told: called with the name of each pass as it begins.
        alone: whether to extract with each expert alone, too.
    """
    count = min(options.workers or cores(), max(1, len(inputs.videos)))
    told("decode only")
    decode_only = _decode_only(inputs, names, options, count)
    told("extract")
    report, pace = _extract(inputs, names, replace(options, workers=count))
    by_name = {}
    for name in names if alone else ():
        told(f"extract {name} alone")
        by_name[split_source(name)[0]] = _extract(inputs, [name], replace(options, workers=count))[1]
    return Measured(
        report.extracted,
        len(report.failed),
        report.media_s,
        report.frames,
        count,
        decode_only,
        pace,
        report.networks_s,
        by_name,
    )


def _decode_only(inputs: Inputs, names: Sequence[str], options: Options, count: int) -> Pace:
    begun = time.monotonic()
    only = replace(setup(names, options), decode_only=True)
    crew = Crew(_Everything(), inputs.videos, [Child(only) for _ in range(count)], options.timeout_s)
    decoded_s = [outcome[1].duration_s for _, outcome in crew.outcomes() if isinstance(outcome, tuple)]
    seconds = time.monotonic() - begun
    return Pace(seconds, sum(decoded_s) / seconds)


def _extract(inputs: Inputs, names: Sequence[str], options: Options) -> tuple[ExtractReport, Pace]:
    with tempfile.TemporaryDirectory() as folder:
        begun = time.monotonic()
        report = extract(inputs, names, replace(options, store=Path(folder) / "features"))
        seconds = time.monotonic() - begun
    return report, Pace(seconds, report.media_s / seconds)
