"""`hcq encode` and `hcq index build` on a Ray cluster: jobs are parts of the code file, and code files.

What a job makes is a file of its own, named before anybody works on it, written by whichever worker has the job, and
the same bytes as one machine makes. The driver puts the parts together, and publishes the index, as it does alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from functools import partial
from os import fspath
from pathlib import Path

from hcq_cli.engines.claims import Claim
from hcq_cli.engines.ray_cluster import MOST_DEATHS, check_nodes, connected
from hcq_cli.engines.ray_pool import Json, RayPool, start_worker
from hcq_cli.engines.ray_worker import CODES_OF, CodesWorker, SegmentWorker, digest_of_all
from hcq_cli.errors import HcqError
from hcq_cli.model.encoding_parts import part_path
from hcq_cli.model.video_batches import VideoBatches
from hcq_cli.remote.nodes import mirror_of, sent
from hcq_cli.search.index_draft import WriteSegments

WORKER: Claim = {"CPU": 1, "memory": 2 << 30}
"""What a worker claims: its memory is for a model and a batch of videos, or the ids of a segment."""


def make_parts(
    on: str,
    batches: VideoBatches,
    parts: Sequence[range],
    checkpoint: Path,
    path: Path,
    device: str = "cpu",
    done: Callable[[int], None] = lambda count: None,
    warn: Callable[[str], None] = lambda line: None,
) -> None:
    """Have parts of a code file made.

    Args:
        on: see `ray_cluster.connected`.
        batches: of the whole collection, as this machine would encode them.
        parts: the numbers of the batches of each.
        checkpoint: of the model.
        path: of the code file.
        device: cpu, or cuda for a GPU a worker.
        done: told of videos whose codes are there.
        warn: told of a node that has joined and is left out.

    Raises:
        HcqError: the cluster cannot be reached, is full, has other versions, or a node sees other files.
    """
    mirror, places = mirror_of(path), sent(checkpoint, batches.store.folder, path)
    everywhere = [Path(place) for address, place in places[:2] if not address]
    seen = [fspath(file) for folder in everywhere for file in sorted(folder.iterdir()) if file.is_file()]
    start = partial(start_worker, CodesWorker, *places, asdict(batches.cutting), device)
    claim = {**WORKER, "GPU": 1} if device == "cuda" else WORKER
    jobs: list[Json] = [{"first": part.start, "stop": part.stop} for part in parts]
    done(batches.videos - sum(len(batches.rows(part.start, part.stop)) for part in parts))
    check = partial(check_nodes, folder=None if mirror else path.resolve().parent, files=seen)
    identities = {CODES_OF: digest_of_all(batches)}
    with connected(on), closing(RayPool(start, claim, identities, most=len(jobs), check=check, warn=warn)) as pool:
        for said in _all_done(pool, jobs):
            done(said["videos"])
    if mirror is not None:
        for part in parts:
            mirror.take(part_path(batches, part, path))


@contextmanager
def segment_writers(
    on: str, folder: Path, codes: Sequence[Path], warn: Callable[[str], None] = lambda line: None
) -> Iterator[WriteSegments]:
    """Who writes the segments of an index, a code file at a time each.

    Args:
        on: see `ray_cluster.connected`.
        folder: of the index.
        codes: the code files.
        warn: told of a node that has joined and is left out.

    Raises:
        HcqError: as `make_parts`.
    """
    mirror, everywhere = mirror_of(folder), [fspath(path.resolve()) for path in codes if mirror_of(path) is None]
    check = partial(check_nodes, folder=None if mirror else folder.resolve(), files=everywhere)
    start = partial(start_worker, SegmentWorker)
    with connected(on), closing(RayPool(start, WORKER, {}, most=len(codes), check=check, warn=warn)) as pool:

        def write(asked: Sequence[tuple[Path, Path]], lists: Path | None, done: Callable[[int], None]) -> None:
            places = sent(*(path for pair in asked for path in pair), *([lists] if lists else []))
            by = places[-1] if lists else None
            if mirror is not None and lists and by:
                mirror.put(lists, by[1])
            jobs = [{"codes": a, "segment": b, "lists": by} for a, b in zip(places[0::2], places[1::2], strict=False)]
            for said in _all_done(pool, jobs):
                done(said["rows"])
            if mirror is not None:
                for _, segment in asked:
                    mirror.take(segment)
                if by:
                    mirror.forget(by[1])

        yield write


def _all_done(pool: RayPool, jobs: Sequence[Json]) -> Iterator[Json]:
    """The answers to jobs, in whatever order."""
    for job in jobs:
        pool.submit(job)
    for _ in jobs:
        job, said = pool.next_answer()
        if said is None:
            message = f"{MOST_DEATHS} workers died or hung while they were at {job}"
            raise HcqError(message, "the logs of the nodes")
        yield said
