"""Networks of a cluster: a process a GPU, fed by decoders of any node; one that dies is started again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_networks
from ray_cluster import actors, add_node
from store_contents import shard_digests

from hcq_cli.engines.ray_cluster import living_nodes
from hcq_cli.errors import HcqError
from hcq_cli.extraction.extract import extract
from hcq_cli.extraction.options import ExtractionOptions
from hcq_cli.features.store import FeatureStore
from hcq_cli.media.inputs import find_inputs

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """One network, and an expert that is none."""
    return [f"appearance={tiny_networks.save('siglip2', tmp_path_factory.mktemp('networks'))}", "audio"]


def features(store: Path) -> dict[tuple[str, str], np.ndarray]:
    opened = FeatureStore.open(store)
    return {
        (opened.ids[row], name): opened.read([row], [name])[name].features
        for row in range(len(opened))
        for name in opened.experts
    }


@pytest.fixture
def gpu_node(cluster: Any, slowly: dict[str, str]) -> Iterator[str]:
    """A third node, which says that it has two GPUs; its id."""
    node = add_node(cluster, slowly, num_gpus=2)
    yield node.node_id
    cluster.remove_node(node)


def test_decoders_of_all_nodes_feed_the_node_with_a_gpu(
    cluster: Any, gpu_node: str, clips: Path, names: list[str], tmp_path: Path
) -> None:
    from hcq_cli.engines.ray_executor import ray_executor

    inputs = find_inputs([str(clips)])
    alone, options = ExtractionOptions(tmp_path / "alone"), ExtractionOptions(tmp_path / "store")
    extract(inputs, names, alone)
    with ray_executor(f"ray:{cluster.address}", inputs, names, options) as executor:
        assert [node for node, _ in executor._networks] == [gpu_node] * 2 and executor.slots == 6
        with pytest.raises(HcqError, match="full: it has room for 2 processes with gpus:1, now for 0"):
            executor._start_networks(living_nodes())
        report = extract(inputs, names, options, executor=executor)
        nodes = {worker.node for worker in executor._pool._workers}
    assert report.extracted == 6 and len(nodes) == 3
    ours, theirs = features(tmp_path / "alone"), features(tmp_path / "store")
    assert ours.keys() == theirs.keys() and len(ours) == 12
    for key, found in ours.items():  # what runs in one batch differs, and the last bits with it
        np.testing.assert_allclose(found, theirs[key], rtol=0, atol=1e-5)


@pytest.fixture
def many(clips: Path, tmp_path: Path) -> Path:
    """24 videos of other bytes each; what follows a film is not looked at."""
    videos = tmp_path / "videos"
    videos.mkdir()
    for number in range(24):
        film = (clips / f"clip{number % 6}.mp4").read_bytes()
        (videos / f"{number}.mp4").write_bytes(film + number.to_bytes(4, "big"))
    return videos


@pytest.fixture
def alone(hcq: Callable[..., Any], many: Path, slowly: dict[str, str], tmp_path: Path) -> Path:
    """What this machine makes of them by itself."""
    env = {**slowly, "SLOW_S": "0", "NETWORK_S": "0", "NETWORK_LOG": str(tmp_path / "alone.log")}
    hcq("extract", many, *SLOWLY, env=env)
    return tmp_path / ".hcq" / "features"


SLOWLY = ["--experts", "plodding,colour", "--decoder", "planted:Slow"]


def test_processes_run_where_there_is_what_they_claim(
    cluster: Any, hcq: Callable[..., Any], slowly: dict[str, str], many: Path, alone: Path, monkeypatch: Any
) -> None:
    """Two nodes have a processor and 4 GiB each, the third three, 4 GiB, and a resource of its own."""
    from hcq_cli.engines.ray_executor import ray_executor

    on, told, store = f"ray:{cluster.address}", alone.parent / "batches", alone.parent / "store"
    node = add_node(cluster, {**slowly, "NETWORK_LOG": str(told)}, num_cpus=3, resources={"quick": 1})
    inputs, options = find_inputs([str(many)]), ExtractionOptions(store, decoder="planted:Slow")
    for name, value in slowly.items():
        monkeypatch.setenv(name, value)
    monkeypatch.syspath_prepend(slowly["PYTHONPATH"].partition(os.pathsep)[0])
    claims = ["worker=gib:3", "plodding=quick:1,cpus:1"]
    with ray_executor(on, inputs, ["plodding", "colour"], options, claims) as executor:
        assert [place for place, _ in executor._networks] == [node.node_id]
        assert len(executor._pool) == 3  # for one more there is a processor, and no memory
        report = extract(inputs, ["plodding", "colour"], options, executor=executor)
        assert {worker.node for worker in executor._pool._workers} == {each.id for each in living_nodes()}
    cluster.remove_node(node)
    assert report.extracted == 24 and shard_digests(store) == shard_digests(alone)
    for claim, what in (("worker=gib:64", "cpus:1,gib:64"), ("plodding=slow:1", "slow:1")):
        run = ["extract", many, *SLOWLY, "-o", store / claim[:6], "--on", on, "--claim", claim]
        assert f"no node has {what}" in hcq(*run, env=slowly, code=1).err


@pytest.mark.parametrize(
    ("gpus", "a_gpu", "claims"), [(1, 1, []), (2, 1, []), (1, 2, ["--claim", "plodding=gpus:0.5"])]
)
def test_one_process_a_gpu_runs_batches_of_decoders_of_several_nodes(
    cluster: Any,
    hcq: Callable[..., Any],
    slowly: dict[str, str],
    log: Path,
    many: Path,
    alone: Path,
    gpus: int,
    a_gpu: int,
    claims: list[str],
) -> None:
    """Or two of them, where each claims half of one."""
    told, store, processes = alone.parent / "batches", alone.parent / "store", gpus * a_gpu
    nodes = [add_node(cluster, {**slowly, "NETWORK_LOG": str(told)}, num_gpus=1) for _ in range(gpus)]
    log.write_text("")
    hcq("extract", many, *SLOWLY, "-o", store, "--on", f"ray:{cluster.address}", *claims, env=slowly)
    for node in nodes:
        cluster.remove_node(node)
    assert shard_digests(store) == shard_digests(alone)
    batches = [json.loads(line) for line in told.read_text().splitlines()]
    assert {each["gpu"] for each in batches} == {"0"}
    assert len({each["process"] for each in batches}) == processes
    workers = {worker for each in batches for worker in each["workers"]}
    assert len(workers) == 2 + gpus  # one a node, for each node has one processor
    if processes == 1:  # while a batch of one runs the other two send theirs
        assert sum(len(each["workers"]) > 1 for each in batches) >= 4
    # Nobody runs ahead: a worker opens its next video when the network has answered for the last one.
    answered = 0
    for each in batches:
        assert each["opened"] <= answered + len(workers) + (processes - 1)
        answered += len(each["workers"])
    assert answered == len(log.read_text().split()) == 24


@pytest.mark.parametrize("killed", ["the actor", "what runs the networks"])
def test_a_process_of_networks_that_dies_is_started_again_and_costs_what_its_workers_were_at(
    cluster: Any, slowly: dict[str, str], log: Path, many: Path, alone: Path, killed: str
) -> None:
    told, store = alone.parent / "batches", alone.parent / "store"
    node = add_node(cluster, {**slowly, "NETWORK_LOG": str(told)}, num_gpus=1)
    log.write_text("")
    command = [sys.executable, "-m", "hcq_cli", "extract", str(many), *SLOWLY, "-o", str(store)]
    process = subprocess.Popen(
        [*command, "--on", f"ray:{cluster.address}"], env={**os.environ, **slowly}, stderr=subprocess.PIPE
    )
    while not told.exists() or len(told.read_text().splitlines()) < 4:
        assert process.poll() is None
        time.sleep(0.1)
    first = json.loads(told.read_text().splitlines()[0])["process"]
    os.kill(actors("NodeNetworks", log)[0] if killed == "the actor" else first, signal.SIGKILL)
    _, errors = process.communicate(timeout=300)
    cluster.remove_node(node)
    assert process.returncode == 0, errors
    assert shard_digests(store) == shard_digests(alone)
    assert 24 <= len(log.read_text().split()) <= 27
    assert len({json.loads(line)["process"] for line in told.read_text().splitlines()}) == 2
