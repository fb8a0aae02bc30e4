"""Codes and index made on a Ray cluster are the bytes of one machine; a job that kills its workers is named."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from feature_samples import video
from handmade import names, random_codes, write_codes
from small_models import EXPERTS, model

pytest.importorskip("ray")

from ray_cluster import actors, add_node, wait_for

from hcq_cli.api.encoding import encode
from hcq_cli.api.indexing import build_index
from hcq_cli.api.progress import Bar, NoBar, Silent
from hcq_cli.engines import ray_cluster, ray_pool
from hcq_cli.engines.claims import Claim, as_options
from hcq_cli.engines.ray_cluster import PROCESSOR, Node
from hcq_cli.engines.ray_pool import RayPool
from hcq_cli.errors import HcqError, UsageError
from hcq_cli.features.writer import FeatureWriter
from hcq_cli.files import digest_file
from hcq_cli.model import checkpoint
from hcq_cli.search.index import Index
from hcq_cli.workspace import Workspace

VIDEOS = 2100
"""Three parts or so."""
pytestmark = pytest.mark.long


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """With features and a model."""
    workspace = Workspace(tmp_path)
    made = model()
    checkpoint.save(workspace.model, made.network, made.caption_encoder)
    dims = {name: expert.dim for name, expert in EXPERTS.items()}
    with FeatureWriter(workspace.features) as writer:
        writer.add_videos(
            replace(video(f"v{at}.mp4", list(dims), dims=dims), duration_s=20.0) for at in range(VIDEOS)
        )
    return workspace


def test_codes_are_the_bytes_of_one_machine(cluster: Any, workspace: Workspace, tmp_path: Path) -> None:
    on, codes = f"ray:{cluster.address}", workspace.codes
    alone = encode(workspace, segment_s=2.0)
    whole = codes.read_bytes()
    for prepare in (
        lambda: codes.unlink(),
        lambda: (codes.unlink(), encode(workspace, segment_s=2.0, shard="2/3")),  # its parts are taken as they are
        lambda: None,  # all is there
    ):
        prepare()
        done = encode(workspace, segment_s=2.0, on=on)
        assert codes.read_bytes() == whole and not list(tmp_path.glob("*.parts"))
        assert replace(done, seconds=0, taken_over=0) == replace(alone, seconds=0)


@pytest.mark.parametrize("lists", [0, 8])
def test_an_index_is_the_bytes_of_one_machine(cluster: Any, tmp_path: Path, lists: int) -> None:
    """Five code files, two videos of each in the next one, too."""
    codes = random_codes(60)
    files = [
        write_codes(tmp_path / f"{at}.hcq", [f"v{number}.mp4" for number in range(58 * at, 58 * at + 60)], codes)
        for at in range(5)
    ]
    found = []
    for on in (None, f"ray:{cluster.address}"):
        folder = tmp_path / f"index-{on is None}"
        change = build_index(Workspace(tmp_path / ".hcq"), files, index=folder, partitions=lists, on=on)
        assert (change.videos, change.segments, change.removed) == (292, 5, 8)
        index = Index.open(folder)
        index.verify()
        found.append([digest_file(folder / entry.file) for entry in index.manifest.segments])
        found[-1] += [digest_file(folder / index.manifest.ivf)] if lists else []
    assert found[0] == found[1]


def test_what_is_missing_is_told_before_anything_is_made(cluster: Any, workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(HcqError, match="cannot be reached"):
        encode(workspace, on="ray:127.0.0.1:9")
    with pytest.raises(UsageError, match="no engine"):
        encode(workspace, on="slurm")
    assert not workspace.codes.exists() and not list(tmp_path.glob("*.parts"))


class Stopping(Silent):
    """Stops all workers of a kind for good when the first job is done."""

    def __init__(self, kind: str, log: Path) -> None:
        self.kind, self.log, self.stopped = kind, log, list[int]()

    @contextmanager
    def progress(self, label: str, total: float | None = None, unit: str = "") -> Iterator[Bar]:
        class Counted(NoBar):
            def advance(_, steps: float = 1, *, detail: str | None = None) -> None:
                if steps and not self.stopped:
                    self.stopped += actors(self.kind, self.log)
                    for each in self.stopped:
                        os.kill(each, signal.SIGSTOP)

        yield Counted()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_pool, "HANG_S", 10.0)
    monkeypatch.setattr(ray_pool, "LOOK_S", 1.0)


def test_what_workers_were_at_that_hang_is_done_again(
    cluster: Any, workspace: Workspace, log: Path, impatient: None, tmp_path: Path
) -> None:
    on, codes = f"ray:{cluster.address}", workspace.codes
    encode(workspace, segment_s=2.0)
    whole = codes.read_bytes()
    codes.unlink()
    encode(workspace, segment_s=2.0, on=on, progress=(stopping := Stopping("CodesWorker", log)))
    assert codes.read_bytes() == whole and stopping.stopped
    assert not set(stopping.stopped) & set(actors("CodesWorker", log))
    files = [write_codes(tmp_path / f"{at}.hcq", names(60, f"v{at}-"), random_codes(60, seed=at)) for at in range(5)]
    build_index(workspace, files, index=tmp_path / "alone")
    build_index(
        workspace, files, index=tmp_path / "ray", on=on, progress=(stopping := Stopping("SegmentWorker", log))
    )
    alone, ray = (Index.open(tmp_path / name) for name in ("alone", "ray"))
    assert stopping.stopped and len(alone.manifest.segments) == 5
    for one, other in zip(alone.manifest.segments, ray.manifest.segments, strict=True):
        assert digest_file(alone.path / one.file) == digest_file(ray.path / other.file)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["worker", "driver", "node"])
def test_kills_at_random_moments(
    cluster: Any, slowly: dict[str, str], workspace: Workspace, log: Path, tmp_path: Path, kind: str
) -> None:
    """Run again codes and index are the same bytes, and no part that was there is made again."""
    encode(workspace, segment_s=2.0)
    whole, rng, parts = workspace.codes.read_bytes(), random.Random(kind), tmp_path / "codes.hcq.parts"
    files = [write_codes(tmp_path / f"{at}.hcq", names(60, f"v{at}-"), random_codes(60, seed=at)) for at in range(5)]
    segments = index_digests(workspace, files, tmp_path / "alone")

    def lying() -> dict[str, tuple[int, int]]:
        return {each.name: (each.stat().st_ino, each.stat().st_mtime_ns) for each in parts.glob("*.hcq")}

    def killed_and_again(actor: str, *command: str, late: bool = False) -> None:
        node = add_node(cluster, slowly) if kind == "node" else None
        run = [sys.executable, "-m", "hcq_cli", *command, "-w", str(tmp_path), "--on", f"ray:{cluster.address}"]
        first = subprocess.Popen(run, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        while first.poll() is None and not actors(actor, log):
            time.sleep(0.05)
        while late and first.poll() is None and not lying():
            time.sleep(0.02)
        time.sleep(rng.uniform(0, 0.5 if late else 4))
        alive = actors(actor, log)
        if node is not None:
            cluster.remove_node(node, allow_graceful=False)
        elif kind == "driver":
            first.kill()
        elif alive:
            os.kill(rng.choice(alive), signal.SIGKILL)
        _, errors = first.communicate(timeout=300)
        assert kind != "worker" or first.returncode == 0, errors
        before = lying()
        again = subprocess.Popen(run, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        while again.poll() is None:
            with suppress(FileNotFoundError):  # at the end they go
                now = lying()
                assert all(now[name] == before[name] for name in now.keys() & before.keys())
            time.sleep(0.1)
        assert again.returncode == 0, again.communicate()
        told = f"{len(alive)} workers there, ended {first.returncode}, {len(before)} parts there"
        print(kind, command[0], told, flush=True)

    for at in range(int(os.environ.get("HCQ_TEST_KILLS", "4"))):
        workspace.codes.unlink()
        killed_and_again("CodesWorker", "encode", "--segment-s", "2", late=at % 2 == 1)
        assert workspace.codes.read_bytes() == whole, at
        folder = tmp_path / f"index{at}"
        killed_and_again("SegmentWorker", "index", "build", *map(str, files), "--index", str(folder))
        opened = Index.open(folder)
        assert [digest_file(folder / entry.file) for entry in opened.manifest.segments] == segments, at


def index_digests(workspace: Workspace, files: list[Path], folder: Path) -> list[str]:
    """Of the segments of an index that this machine makes."""
    build_index(workspace, files, index=folder)
    return [digest_file(folder / entry.file) for entry in Index.open(folder).manifest.segments]


def clerk(without: Collection[str] = (), ready_s: float = 0.0, claim: Claim = PROCESSOR) -> Any:
    """Start a worker that dies of some jobs, or hangs; it takes some time to be ready."""
    import ray

    class Clerk:  # inside, and so sent as it is: the nodes do not have this file
        def ready(self) -> dict[str, Any]:
            time.sleep(ready_s)
            return {"node": ray.get_runtime_context().get_node_id(), "identities": {"rule": "1"}}

        def run(self, job: dict[str, Any]) -> dict[str, Any]:
            if job["kind"] == "deadly":
                os._exit(1)
            if job["kind"] == "endless":
                os.kill(os.getpid(), signal.SIGSTOP)
            time.sleep(job.get("s", 0))
            return {"done": job["number"], "node": ray.get_runtime_context().get_node_id()}

        def moved(self) -> float:
            return time.monotonic()

    how = {**as_options(claim), "max_restarts": 0, "max_concurrency": 2}
    return ray.remote(Clerk).options(**how, scheduling_strategy=ray_cluster.anywhere_but(without)).remote()


def test_a_job_that_kills_or_stops_three_workers_is_given_up_and_costs_no_other(
    cluster: Any, impatient: None
) -> None:
    with (
        ray_cluster.connected(f"ray:{cluster.address}"),
        closing(RayPool(clerk, PROCESSOR, {"rule": "1"}, most=2)) as pool,
    ):
        kinds = {3: "deadly", 5: "endless"}
        jobs = [{"number": number, "kind": kinds.get(number, "")} for number in range(8)]
        for job in jobs:
            pool.submit(job)
        answers = dict[int, Any]()
        for _ in jobs:
            job, said = pool.next_answer()
            answers[job["number"]] = said and said["done"]
        assert answers == {number: None if number in kinds else number for number in range(8)}
        assert pool.lost_workers == 6


def test_workers_that_take_long_to_be_ready_are_waited_for(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    with ray_cluster.connected(f"ray:{cluster.address}"):
        ray.get((first := clerk()).ready.remote())  # how long a process takes to start is no part of it
        ray.kill(first)
        monkeypatch.setattr(ray_pool, "START_S", 10.0)
        with closing(RayPool(partial(clerk, ready_s=25.0), PROCESSOR, {"rule": "1"}, most=1)) as pool:
            pool.submit({"number": 1, "kind": ""})
            _, said = pool.next_answer()
            assert said is not None and said["done"] == 1


def test_processors_that_are_just_being_given_back_are_waited_for(cluster: Any) -> None:
    import ray

    with ray_cluster.connected(f"ray:{cluster.address}"):
        every = int(ray.cluster_resources()["CPU"])
        wait_for(lambda: ray_cluster.free_places(PROCESSOR).total() == every)  # those of the test before, too
        held = [clerk() for _ in range(every)]
        ray.get([each.ready.remote() for each in held])
        wait_for(lambda: ray_cluster.free_places(PROCESSOR).total() == 0)  # a node tells what is free now and then
        threading.Timer(1.0, lambda: [ray.kill(each) for each in held]).start()
        assert ray_cluster.room_for(9) >= 1


def test_a_node_that_joins_is_looked_at_and_gets_work(cluster: Any, slowly: dict[str, str], impatient: None) -> None:
    looked_at: list[Node] = []

    def check(nodes: Sequence[Node]) -> dict[str, HcqError]:
        looked_at.extend(nodes)
        return {}

    with (
        ray_cluster.connected(f"ray:{cluster.address}"),
        closing(RayPool(clerk, PROCESSOR, {"rule": "1"}, most=9, check=check)) as pool,
    ):
        for number in range(90):
            pool.submit({"number": number, "kind": "", "s": 0.5})
        node, worked = None, set[str]()
        for _ in range(90):
            _, said = pool.next_answer()
            node = node or add_node(cluster, slowly)
            worked.add(said and said["node"])
        assert len(pool) == 3 and node.node_id in worked
        assert len(looked_at) == 3 and looked_at[2].id == node.node_id
        cluster.remove_node(node)


def test_a_node_that_joins_and_cannot_do_the_work_is_left_out(
    cluster: Any, slowly: dict[str, str], impatient: None
) -> None:
    begun_with = set[str]()

    def check(nodes: Sequence[Node]) -> dict[str, HcqError]:
        if not begun_with:
            begun_with.update(node.id for node in nodes)
            return {}
        return {node.id: HcqError("a node has no hcq", "install it") for node in nodes}

    told: list[str] = []
    with (
        ray_cluster.connected(f"ray:{cluster.address}"),
        closing(RayPool(clerk, PROCESSOR, {"rule": "1"}, most=9, check=check, warn=told.append)) as pool,
    ):
        for number in range(60):
            pool.submit({"number": number, "kind": "", "s": 0.5})
        node, worked = None, set[str]()
        for _ in range(60):
            _, said = pool.next_answer()
            node = node or add_node(cluster, slowly, num_cpus=4)
            worked.add(said and said["node"])
        assert told == ["a node has no hcq; it is left out (install it)"]
        assert worked == begun_with and len(pool) == 2 and not pool.lost_workers
        # The place of a worker that dies is not taken by one there, either.
        pool.submit({"number": 60, "kind": "deadly"})
        assert pool.next_answer()[1] is None
        pool.submit({"number": 61, "kind": ""})
        assert pool.next_answer()[1]["node"] in begun_with  # type: ignore[index]
    cluster.remove_node(node)


def test_a_worker_that_would_work_otherwise_is_told(cluster: Any) -> None:
    with (
        ray_cluster.connected(f"ray:{cluster.address}"),
        closing(RayPool(clerk, PROCESSOR, {"rule": "2"}, most=1)) as pool,
        pytest.raises(HcqError, match="has another rule: 1, here 2"),
    ):
        pool.next_answer()
