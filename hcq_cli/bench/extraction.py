"""How fast extraction is here, as a multiple of decoding alone with the same workers in the same run."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from experts.registry import split_source
from hcq_cli.api.extraction import expert_names
from hcq_cli.api.progress import SILENT, Progress
from hcq_cli.extraction.executor import Job
from hcq_cli.extraction.extract import extract
from hcq_cli.extraction.local import WorkerPool
from hcq_cli.extraction.options import ExtractionOptions, load_experts
from hcq_cli.extraction.report import ExtractReport
from hcq_cli.features.records import VideoFacts
from hcq_cli.media.inputs import Inputs, find_inputs


@dataclass(frozen=True)
class PassTime:
    """One pass over all videos.

    Args:
        seconds: wall-clock time, the start of the workers included.
        times_real_time: duration of the videos over that.
    """

    seconds: float
    times_real_time: float


@dataclass(frozen=True)
class ExtractionTimes:
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
    decode_only: PassTime
    extract: PassTime
    networks_s: float = 0.0
    alone: dict[str, PassTime] = field(default_factory=dict)

    @property
    def together(self) -> float | None:
        """What all experts in one pass take beyond one decoding, over the slowest alone; None if none was timed."""
        slowest_s = max((each.seconds for each in self.alone.values()), default=0.0)
        return (self.extract.seconds - self.decode_only.seconds) / slowest_s if self.alone else None

    @property
    def ratio(self) -> float:
        """Time of extraction over time of decoding alone."""
        return self.extract.seconds / self.decode_only.seconds


def bench_extraction(
    paths: Iterable[str],
    experts: str | None = None,
    preset: str = "classic",
    *,
    device: str = "auto",
    decoder: str = "auto",
    workers: int | None = None,
    alone: bool = False,
    progress: Progress = SILENT,
) -> ExtractionTimes:
    """Time extraction, and decoding alone with as many workers; the features are thrown away.

    Args:
        paths, experts, preset, device, decoder, workers: as `api.extraction.extract` takes them.
        alone: whether to extract with each expert alone, too.
    """
    names, inputs = expert_names(experts, preset), find_inputs(paths)
    options = ExtractionOptions(Path("features"), decoder=decoder, workers=workers, device=device)
    options = replace(options, workers=options.worker_count(len(inputs.videos)))
    progress.note("decode only")
    decode_only = _time_decoding(inputs, names, options)
    progress.note("extract")
    report, together = _time_extraction(inputs, names, options)
    by_name = {}
    for name in names if alone else ():
        progress.note(f"extract {name} alone")
        _, by_name[split_source(name)[0]] = _time_extraction(inputs, [name], options)
    return ExtractionTimes(
        videos=report.extracted,
        failed=len(report.failed),
        media_s=report.media_s,
        frames=report.frames,
        workers=options.workers or 0,
        decode_only=decode_only,
        extract=together,
        networks_s=report.networks_s,
        alone=by_name,
    )


def _time_decoding(inputs: Inputs, names: Sequence[str], options: ExtractionOptions) -> PassTime:
    """The same workers as of an extraction, experts prepared, and no expert asked."""
    begun = time.monotonic()
    experts = load_experts(names, options.sample_fps)
    decoded_s = 0.0
    with WorkerPool(experts, names, options, len(inputs.videos), decode_only=True) as pool:
        for id, path in inputs.videos.items():
            # A hash of no file: all there is to do is to decode it.
            pool.submit(Job(VideoFacts(id, path, content_hash="unknown", size=1)))
        for _ in inputs.videos:
            decoded_s += pool.next_outcome()[1].duration_s
    seconds = time.monotonic() - begun
    return PassTime(seconds, decoded_s / seconds)


def _time_extraction(
    inputs: Inputs, names: Sequence[str], options: ExtractionOptions
) -> tuple[ExtractReport, PassTime]:
    with tempfile.TemporaryDirectory() as folder:
        begun = time.monotonic()
        report = extract(inputs, names, replace(options, store=Path(folder) / "features"))
        seconds = time.monotonic() - begun
    return report, PassTime(seconds, report.media_s / seconds)
