"""Networks of a cluster: decoders of any node feed those of another one, and turn to others where these are gone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_networks
from ray_cluster import add_node

from hcq_cli.engines import ray_worker
from hcq_cli.engines.ray_cluster import living_nodes
from hcq_cli.engines.ray_worker import NodeWorker
from hcq_cli.errors import HcqError
from hcq_cli.extraction.executor import Job
from hcq_cli.extraction.extract import extract
from hcq_cli.extraction.inference import InferenceProcess
from hcq_cli.extraction.options import ExtractionOptions, load_experts
from hcq_cli.extraction.plan import identities_of
from hcq_cli.features.records import VideoFacts
from hcq_cli.features.store import FeatureStore
from hcq_cli.files import digest_file
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
        assert [node for node, _, _ in executor._networks] == [gpu_node] * 2 and executor.slots == 6
        with pytest.raises(HcqError, match="0 of its 2 GPUs are free"):
            executor._start_networks(living_nodes())
        report = extract(inputs, names, options, executor=executor)
        nodes = {worker.node for worker in executor._pool._workers}
    assert report.extracted == 6 and len(nodes) == 3
    ours, theirs = features(tmp_path / "alone"), features(tmp_path / "store")
    assert ours.keys() == theirs.keys() and len(ours) == 12
    for key, found in ours.items():  # what runs in one batch differs, and the last bits with it
        np.testing.assert_allclose(found, theirs[key], rtol=0, atol=1e-5)


def test_a_worker_turns_to_other_networks_where_its_own_are_gone(
    clips: Path, names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ray_worker, "_node", lambda: "a")
    options = ExtractionOptions(tmp_path / "store")
    identities = identities_of(load_experts(names), options)
    running = {node: InferenceProcess(names, "cpu", "127.0.0.1") for node in ("a", "b")}
    worker = NodeWorker(names, options.to_json(), [(at, one.address()) for at, one in running.items()], str(tmp_path))

    def run(name: str) -> dict[str, Any]:
        path = clips / name
        facts = VideoFacts(name, str(path), digest_file(path), path.stat().st_size, path.stat().st_mtime_ns)
        return worker.run(Job(facts, identities).to_json())

    try:
        assert run("clip0.mp4")["error"] is None and worker._asked[0] == "a"
        running["a"].close()
        assert run("clip1.mp4")["error"] is None and worker._asked[0] == "b"
        running["b"].close()
        assert "has ended" in run("clip2.mp4")["fatal"]
    finally:
        worker._worker.close()
