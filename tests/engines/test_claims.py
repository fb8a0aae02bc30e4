"""What processes on a cluster claim, as options say it."""

from __future__ import annotations

import pytest

from hcq_cli.engines.claims import as_options, places, read_claims, told
from hcq_cli.errors import UsageError

EXPERTS = {"appearance": True, "speech": True, "motion": False, "audio": False}
USUAL = {"CPU": 1, "memory": 2**30}


def test_a_worker_claims_the_most_of_its_experts_and_networks_all_of_theirs() -> None:
    assert read_claims([], EXPERTS, USUAL) == (USUAL, {})
    given = [
        "worker=gib:2",
        "motion=cpus:2,gib:1.5",
        "audio=cpus:4",
        "appearance=gpus:0.5,cpus:2",
        "speech=gpus:0.25",
    ]
    worker, networks = read_claims([*given, "speech=a100:1"], EXPERTS, USUAL)
    assert worker == {"CPU": 4, "memory": 2 << 30}
    assert networks == {"GPU": 0.75, "CPU": 2, "a100": 1}
    assert as_options(worker) == {"num_cpus": 4, "num_gpus": 0, "memory": 2 << 30, "resources": {}}
    assert as_options(networks) == {"num_cpus": 2, "num_gpus": 0.75, "resources": {"a100": 1}}
    assert told(worker) == "cpus:4,gib:2" and told(networks) == "gpus:0.75,cpus:2,a100:1"


@pytest.mark.parametrize(
    ("claim", "what"),
    [
        ("face=cpus:1", "'face' is none of worker, appearance"),
        ("worker", "no amount"),
        ("worker=cpus", "no amount"),
        ("worker=cpus:0", "no amount"),
        ("worker=cpus:0.00001", "no amount"),
        ("worker=gib:nan", "no amount"),
        ("worker=gib:-1", "no amount"),
        ("worker=:1", "no amount"),
        ("motion=cpus:1,gib:much", "'gib:much' is no amount"),
        ("appearance=gpus:1.5", "networks run on one GPU"),
    ],
)
def test_what_is_no_claim_is_told(claim: str, what: str) -> None:
    with pytest.raises(UsageError, match=what):
        read_claims([claim], EXPERTS, USUAL)


def test_places_are_those_of_what_is_shortest() -> None:
    has = {"CPU": 8.0, "memory": 5 * 2.0**30, "GPU": 1.0}
    assert places(has, USUAL) == 5 and places(has, {"CPU": 3}) == 2 and places(has, {"a100": 1}) == 0
    assert places({"GPU": 0.3}, {"GPU": 0.1}) == 3 and places(has, {}) == 1
