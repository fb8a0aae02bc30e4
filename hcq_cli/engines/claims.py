"""What processes on a cluster claim of a node: `--claim worker=gib:2 --claim appearance=gpus:0.5,cpus:2`.

A claim is what Ray sets aside for a process, by Ray's names: CPU, GPU, memory in bytes, and resources of a cluster's
own (`ray start --resources`). A worker does what its experts do one after the other, and so claims the most that one
of them does; the networks of a node lie in memory together, and so claim what all of them do.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from hcq_cli.errors import UsageError

Claim = Mapping[str, float]
WORKER = "worker"
"""What decodes, in `--claim`; anything else is an expert."""
NAMES = {"cpus": ("CPU", 1), "gpus": ("GPU", 1), "gib": ("memory", 1 << 30)}
"""Of Ray's own resources, as `--claim` calls them: Ray's name, and how many of it one is."""
LEAST = 1e-4
"""What Ray counts in."""
HINT = "--claim worker=gib:2, --claim appearance=gpus:0.5,cpus:2"


class Claims(NamedTuple):
    """Of an extraction: what a worker claims, and what a process that runs networks does."""

    worker: Claim
    networks: Claim


def read_claims(given: Sequence[str], experts: Mapping[str, bool], usual: Claim) -> Claims:
    """The claims that options name.

    Args:
        given: `WHO=WHAT:NUMBER` each, of a worker or an expert; of several kinds with commas.
        experts: of each by its name whether it is a network.
        usual: what a worker claims where nothing is said.

    Raises:
        UsageError: there is no such expert, a number is none, or networks together claim more than a GPU.
    """
    worker, most, together = dict(usual), Counter[str](), Counter[str]()
    for text in given:
        who, _, listed = text.partition("=")
        if who != WORKER and who not in experts:
            known = ", ".join([WORKER, *experts])
            raise UsageError(f"--claim {text!r}: {who!r} is none of {known}", HINT)
        claim = _read(text, listed)
        if who == WORKER:
            worker |= claim
        elif experts[who]:
            together.update(claim)
        else:
            most |= Counter(claim)
    if together["GPU"] > 1:
        raise UsageError(f"--claim: networks run on one GPU together, and claim {together['GPU']:g}", HINT)
    return Claims(dict(Counter(worker) | most), dict(together))


def _read(text: str, listed: str) -> dict[str, float]:
    claim = dict[str, float]()
    for each in listed.split(","):
        kind, _, number = each.strip().partition(":")
        name, factor = NAMES.get(kind, (kind, 1))
        try:
            claim[name] = float(number) * factor
        except ValueError:
            raise UsageError(f"--claim {text!r}: {each.strip()!r} is no amount of anything", HINT) from None
        if not (kind and math.isfinite(claim[name]) and claim[name] >= LEAST):
            raise UsageError(f"--claim {text!r}: {each.strip()!r} is no amount of anything", HINT)
    return claim


def places(has: Mapping[str, float], claim: Claim) -> int:
    """How many processes with this claim a node has room for, by what it has of each resource."""
    # What is asked for in tenths is not a whole number of times in what there is, but for rounding.
    return min((int(has.get(name, 0.0) / amount + 1e-9) for name, amount in claim.items()), default=1)


def as_options(claim: Claim) -> dict[str, Any]:
    """A claim as Ray takes it with an actor."""
    own = {name: amount for name, amount in claim.items() if name not in ("CPU", "GPU", "memory")}
    given = {"num_cpus": claim.get("CPU", 0), "num_gpus": claim.get("GPU", 0), "resources": own}
    return given | ({"memory": int(claim["memory"])} if "memory" in claim else {})


def told(claim: Claim) -> str:
    """A claim as `--claim` would have it."""
    kinds = {name: (kind, factor) for kind, (name, factor) in NAMES.items()}
    each = ((*kinds.get(name, (name, 1)), amount) for name, amount in claim.items())
    return ",".join(f"{kind}:{amount / factor:g}" for kind, factor, amount in each)
