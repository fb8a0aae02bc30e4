"""How long a query over many shards takes: a simulation by what is measured on this machine.

    python examples/simulate_shards.py --shards 256 --videos 1e9 --json

A query ends when the last of its shards has answered, so with 256 shards it nearly always meets a slow one. What a
shard takes is drawn from measured times: a scan of made-up codes by hcq's kernel, scaled to the shard's size, and the
way to an actor and back (with Ray, if it is installed). Some answers are stragglers: with the probability of
--straggles they take --slower times as long. A hedged request asks a replica when a shard has not answered by the
percentile --hedge of all answers, and takes whichever comes first.
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np

from hcq_cli.scan.blocks import RowMajorCodes
from hcq_cli.scan.kernels import kernel, scan

MEASURED_VIDEOS = 200_000
SCANS = 60
CALLS = 400


def scan_times(subquantizers: int, videos: int) -> np.ndarray:
    """Milliseconds that scans of `videos` random codes take, one query each, on one thread."""
    random = np.random.default_rng(0)
    codes = random.integers(0, 256, (videos, subquantizers), np.uint8)
    found = []
    for _ in range(SCANS):
        table = random.normal(size=(1, subquantizers, 256)).astype(np.float32)
        begun = time.thread_time()  # of this thread: others on the machine do not count
        scan([RowMajorCodes(codes, len(codes))], table, 10)
        found.append(1000 * (time.thread_time() - begun))
    return np.array(found[5:])


def call_times() -> np.ndarray:
    """Milliseconds to an actor of a Ray cluster of this machine and back; 0.5 where Ray is not installed."""
    from hcq_cli.engines.ray_cluster import connected
    from hcq_cli.errors import HcqError

    try:
        with connected("ray:local"):
            import ray

            class Echo:
                def answer(self, table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
                    return np.zeros(10), np.zeros(10, np.int64)

            actor = ray.remote(Echo).options(num_cpus=0).remote()
            table, found = np.zeros((1, 64, 256), np.float32), []
            for _ in range(CALLS):
                begun = time.perf_counter()
                ray.get(actor.answer.remote(table))
                found.append(1000 * (time.perf_counter() - begun))
            return np.array(found[20:])
    except HcqError:
        return np.array([0.5])


def simulate(
    shard_ms: np.ndarray,
    call_ms: np.ndarray,
    *,
    shards: int,
    queries: int,
    straggles: float,
    slower: float,
    hedge: float | None,
) -> tuple[np.ndarray, float]:
    """Milliseconds of each query, and requests a shard and query.

    Args:
        shard_ms, call_ms: measured, to be drawn from.
        shards: that a query asks.
        queries: how many to simulate.
        straggles: share of answers that are `slower` times as slow.
        hedge: the percentile of answers at which a replica is asked; None for never.
    """
    random = np.random.default_rng(1)

    def draw(shape: tuple[int, ...]) -> np.ndarray:
        late = np.where(random.random(shape) < straggles, slower, 1.0)
        return random.choice(shard_ms, shape) * late + random.choice(call_ms, shape)

    answers, requests = draw((queries, shards)), 1.0
    if hedge is not None:
        after = np.percentile(answers, hedge)
        late = answers > after
        answers[late] = np.minimum(answers[late], after + draw((int(late.sum()),)))
        requests += float(late.mean())
    return answers.max(1), requests


def main() -> None:
    """Measure, simulate, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, default=256)
    parser.add_argument("--videos", type=float, default=1e9)
    parser.add_argument("--bytes", type=int, default=64, help="a video")
    parser.add_argument("--lists", type=float, default=0.045, help="share of the codes that inverted lists leave")
    parser.add_argument("--threads", type=int, default=8, help="of a shard's machine, for one query")
    parser.add_argument("--straggles", type=float, default=0.01)
    parser.add_argument("--slower", type=float, default=10.0)
    parser.add_argument("--call-ms", type=float, help="instead of measuring the way to an actor")
    parser.add_argument("--queries", type=int, default=20_000)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    measured = scan_times(asked.bytes, MEASURED_VIDEOS)
    call_ms = call_times() if asked.call_ms is None else np.array([asked.call_ms])
    shard_ms = measured * asked.videos / asked.shards * asked.lists / asked.threads / MEASURED_VIDEOS
    rows = []
    for straggles, hedge in ((0.0, None), (asked.straggles, None), (asked.straggles, 99.0), (asked.straggles, 95.0)):
        taken, requests = simulate(
            shard_ms,
            call_ms,
            shards=asked.shards,
            queries=asked.queries,
            straggles=straggles,
            slower=asked.slower,
            hedge=hedge,
        )
        percentiles = {f"p{at}": round(float(np.percentile(taken, at)), 1) for at in (50, 95, 99)}
        rows.append({"straggles": straggles, "hedge": hedge, **percentiles, "requests": round(requests, 3)})
    document = {
        "kernel": kernel(None).name,
        "scan_ms_per_million": round(float(np.median(measured)) * 1e6 / MEASURED_VIDEOS, 2),
        "shard_ms": [round(float(np.percentile(shard_ms, at)), 2) for at in (50, 99)],
        "call_ms": [round(float(np.percentile(call_ms, at)), 2) for at in (50, 99)],
        "rows": rows,
    }
    if asked.json:
        print(json.dumps(document))
        return
    print({name: value for name, value in document.items() if name != "rows"})
    print("straggles  hedge   p50    p95    p99   requests")
    for row in rows:
        print("{straggles:9}  {hedge!s:>5} {p50:6} {p95:6} {p99:6}  {requests:8}".format(**row))


if __name__ == "__main__":
    main()
