"""`hcq encode` and `hcq index build` on a Ray cluster: jobs are parts of the code file, and code files.

What a job makes is a file of its own, named before anybody works on it, written by whichever worker has the job, and
the same bytes as one machine makes. The driver puts the parts together, and publishes the index, as it does alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from os import fspath
from pathlib import Path
from typing import Any

from hcq_cli.engines.ray_cluster import check_nodes, connected, free_processors, living_nodes
from hcq_cli.engines.ray_pool import MOST_DEATHS, Json, RayPool
from hcq_cli.engines.ray_worker import CODES_OF, CodesWorker, SegmentWorker, digest_of_all
from hcq_cli.errors import HcqError
from hcq_cli.model.encoding import header
from hcq_cli.model.encoding_parts import divide, parts_of
from hcq_cli.model.video_batches import VideoBatches, known_batches
from hcq_cli.search.index_draft import WriteSegments

WORKER_BYTES = 2 << 30
"""Memory that Ray sets aside for a worker: a model and a batch of videos, or the ids of a segment."""


def make_parts(
    on: str,
    batches: VideoBatches,
    checkpoint: Path,
    path: Path,
    device: str = "cpu",
    *,
    workers: int | None = None,
    done: Callable[[int], None] = lambda count: None,
) -> None:
    """Have the parts of a code file made, of which neither it nor its parts hold all batches yet.

    Args:
        on: see `ray_cluster.connected`.
        batches: of the whole collection, as this machine would encode them.
        checkpoint: of the model.
        path: of the code file.
        device: cpu, or cuda for a GPU a worker.
        workers: at most so many; None for one a free processor.
        done: told of videos whose codes are there.

    Raises:
        HcqError: the cluster cannot be reached, is full, has other versions, or a node sees other files.
    """
    known = known_batches([path, *parts_of(path)], header(batches.model, "videos"))
    missing = [part for part in divide(batches) if any(batches.digest(number) not in known for number in part)]
    done(batches.videos - sum(len(batches.rows(part.start, part.stop)) for part in missing))
    places = [fspath(place.resolve()) for place in (checkpoint, batches.store.folder, path)]
    seen = [file for folder in places[:2] for file in sorted(Path(folder).iterdir()) if file.is_file()]
    with connected(on) as address:
        count = min(free_processors(address, workers), len(missing))
        check_nodes(living_nodes(), path.resolve().parent, [fspath(file) for file in seen])
        start = _starter(CodesWorker, *places, batches.cutting.to_json(), device, gpus=1 if device == "cuda" else 0)
        with closing(RayPool(start, count, {CODES_OF: digest_of_all(batches)})) as pool:
            for said in _all_done(pool, [{"first": part.start, "stop": part.stop} for part in missing]):
                done(said["videos"])


@contextmanager
def segment_writers(
    on: str, folder: Path, codes: Sequence[Path], workers: int | None = None
) -> Iterator[WriteSegments]:
    """Who writes the segments of an index, a code file at a time each.

    Args:
        on: see `ray_cluster.connected`.
        folder: of the index.
        codes: the code files.
        workers: at most so many; None for one a free processor.

    Raises:
        HcqError: as `make_parts`.
    """
    with connected(on) as address:
        count = min(free_processors(address, workers), len(codes))
        check_nodes(living_nodes(), folder.resolve(), [fspath(path.resolve()) for path in codes])

        def write(asked: Sequence[tuple[Path, Path]], lists: Path | None, done: Callable[[int], None]) -> None:
            by = fspath(lists.resolve()) if lists else ""
            jobs = [{"codes": fspath(a.resolve()), "segment": fspath(b.resolve()), "lists": by} for a, b in asked]
            with closing(RayPool(_starter(SegmentWorker), count, {})) as pool:
                for said in _all_done(pool, jobs):
                    done(said["rows"])

        yield write


def _starter(worker: type, *given: Any, gpus: int = 0) -> Callable[[], Any]:
    """What starts a worker, on whichever node has room."""

    def start() -> Any:
        import ray

        actor = ray.remote(worker).options(
            num_cpus=1, num_gpus=gpus, memory=WORKER_BYTES, max_restarts=0, scheduling_strategy="SPREAD"
        )
        return actor.remote(*given)

    return start


def _all_done(pool: RayPool, jobs: Sequence[Json]) -> Iterator[Json]:
    """The answers to jobs, in whatever order."""
    for job in jobs:
        pool.submit(job)
    for _ in jobs:
        job, said = pool.next_answer()
        if said is None:
            raise HcqError(f"{MOST_DEATHS} workers died while they were at {job}", "the logs of the nodes")
        yield said
