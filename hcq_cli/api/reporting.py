"""What is in a workspace, how good its model is and what it costs, on one page: `hcq report`."""

from __future__ import annotations

import json
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import numpy as np

from hcq_cli.errors import NotFoundError
from hcq_cli.workspace import Workspace

if TYPE_CHECKING:
    from hcq_cli.evaluation.retrieval import SavedEvaluation
    from hcq_cli.features.store import FeatureStore

SIZES = (10_000, 100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000)
"""Videos for which is told what they would take."""
MEASURED_VIDEOS = 1 << 18
MOST_REASONS, MOST_FILES = 20, 100


@dataclass(frozen=True)
class Report:
    """A workspace.

    Args:
        workspace: its folder.
        videos: extracted.
        hours: of them.
        formats: how many have each ending, the most first.
        experts: name -> state -> videos.
        failures: reason -> paths, the most first.
        feature_bytes, index_bytes: on the disk.
        found: videos that the index can find; None where there is no index.
        bytes_per_video: of codes.
        model: kind and hash of the model; empty without one.
        epochs: of its training, as `metrics.jsonl` has them.
        evaluated: recall against bytes as `hcq eval` measured it last, of this model; None where it did not.
        scan_ns: nanoseconds that scanning one video's codes takes here, on one core; None without an index.
        missing: what is not there yet, each with the command that makes it.
    """

    workspace: Path
    videos: int = 0
    hours: float = 0.0
    formats: dict[str, int] = field(default_factory=dict)
    experts: dict[str, dict[str, int]] = field(default_factory=dict)
    failures: dict[str, list[str]] = field(default_factory=dict)
    feature_bytes: int = 0
    index_bytes: int = 0
    found: int | None = None
    bytes_per_video: int | None = None
    model: str = ""
    epochs: list[dict[str, Any]] = field(default_factory=list)
    evaluated: SavedEvaluation | None = None
    scan_ns: float | None = None
    missing: list[str] = field(default_factory=list)

    def costs(self) -> list[dict[str, float]]:
        """What collections of `SIZES` would take, by this one: bytes of features and codes, and seconds of a query
        that scans everything on one core."""
        if not self.videos or not self.bytes_per_video or self.scan_ns is None:
            return []
        a_video = self.feature_bytes / self.videos
        return [
            {
                "videos": size,
                "feature_bytes": a_video * size,
                "code_bytes": float(self.bytes_per_video * size),
                "scan_s": self.scan_ns * size / 1e9,
            }
            for size in SIZES
        ]


def report(workspace: Workspace) -> Report:
    """Look through a workspace; what is not there is told, and costs nothing else.

    Raises:
        NotFoundError: there is neither a feature store nor an index.
        DamagedError: a file is damaged, foreign, or of a newer hcq.
    """
    from hcq_cli.features.store import FeatureStore
    from hcq_cli.search.index import Index

    parts: dict[str, Any] = {}
    missing = []
    try:
        parts |= _of_features(FeatureStore.open(workspace.features))
    except NotFoundError as error:
        missing.append(f"features: {error.hint}")
    try:
        parts |= _of_index(Index.open(workspace.index))
    except NotFoundError:
        missing.append(f"an index: {workspace.step_towards(workspace.index)}")
    if not parts:
        raise NotFoundError(f"{workspace.root}: nothing to report on", workspace.step_towards(workspace.index))
    epochs, evaluated = _epochs(workspace.model / "metrics.jsonl"), _evaluated(workspace, parts.get("model", ""))
    return Report(workspace.root, **parts, epochs=epochs, evaluated=evaluated, missing=missing)


def write_report(found: Report, path: Path) -> None:
    """Write a report as one page of HTML that needs nothing else. Raises HcqError where it cannot be written."""
    from hcq_cli.files import write_text
    from hcq_cli.web.report import report_page

    write_text(path, report_page(found, found.epochs, found.costs()))


def _of_features(store: FeatureStore) -> dict[str, Any]:
    seconds = store.column("videos/duration_s")[store.newest]
    formats = Counter(PurePath(id).suffix.lower() or "none" for id in store.ids)
    reasons: dict[str, list[str]] = {}
    for failure in store.failures():
        # The reason without what differs from file to file.
        reasons.setdefault(failure.error.partition(" (")[0], []).append(failure.path)
    most = sorted(reasons.items(), key=lambda each: -len(each[1]))[:MOST_REASONS]
    return {
        "videos": len(store),
        "hours": float(seconds[np.isfinite(seconds)].sum()) / 3600,
        "formats": dict(formats.most_common()),
        "experts": store.states(),
        "failures": dict(most),
        "feature_bytes": sum(shard.nbytes for shard in store.shards),
    }


def _of_index(index: Any) -> dict[str, Any]:
    header = index.header
    return {
        "found": index.videos,
        "bytes_per_video": header.S,
        "index_bytes": index.disk_bytes,
        "model": header.model_hash,
        "scan_ns": _scan_ns(header.S, header.K),
    }


def _scan_ns(subquantizers: int, codewords: int) -> float:
    """What scanning a video's codes takes on one core, nanoseconds: the best of three scans of made-up codes, as a
    small index would fit into the processor's cache."""
    from hcq_cli.scan.blocks import to_blocks
    from hcq_cli.scan.kernels import scan

    rng = np.random.default_rng(0)
    videos = max(1, min(MEASURED_VIDEOS, (256 << 20) // subquantizers))
    blocks = to_blocks(rng.integers(0, codewords, (videos, subquantizers), np.uint8))
    table = rng.normal(size=(1, subquantizers, codewords)).astype(np.float32)
    taken = []
    for _ in range(3):
        begun = time.perf_counter()
        scan([blocks], table, 10, threads=1)
        taken.append(time.perf_counter() - begun)
    return min(taken) / videos * 1e9


def _evaluated(workspace: Workspace, model: str) -> SavedEvaluation | None:
    """What was measured last; None where that was another model than the index's."""
    from hcq_cli.evaluation.retrieval import read_evaluated

    try:
        found = read_evaluated(workspace.evaluation)
    except NotFoundError:
        return None
    return found if model in ("", found.model) else None


def _epochs(path: Path) -> list[dict[str, Any]]:
    """The epochs of a training; none where the model was fitted, or the file says nothing that can be read."""
    epochs = []
    with suppress(OSError):
        for line in path.read_text("utf-8", "replace").splitlines()[-10_000:]:
            with suppress(ValueError):
                if isinstance(epoch := json.loads(line), dict):
                    epochs.append(epoch)
    return epochs
