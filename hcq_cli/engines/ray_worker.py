"""What runs on the nodes of a Ray cluster: a worker, which does a job at a time, and the networks of a node.

A worker is an actor around the very child process that the executor on one machine has (hcq_cli/extraction/local.py):
deadline, memory limit and crashes of a decoder are dealt with there, on the node.
"""

from __future__ import annotations

import os
from typing import Any


class NodeNetworks:
    """The process that runs the networks of one node; an actor.

    Args:
        names: of the experts.
        device: where the networks shall run.
        folder: what relative names of files count from.
    """

    def __init__(self, names: list[str], device: str, folder: str) -> None:
        from hcq_cli.extraction.inference import InferenceProcess

        os.chdir(folder)
        self._process = InferenceProcess(names, device)

    def address(self) -> dict[str, str]:
        """Where it listens, on its node; or why it does not."""
        return _answer(lambda: {"address": self._process.address()})

    def close(self) -> float:
        """End it; gives how long its networks ran, seconds."""
        return self._process.close()


class NodeWorker:
    """A worker on some node; an actor. Jobs, outcomes and errors travel as JSON.

    Args:
        names: of the experts.
        options: of the extraction, as `ExtractionOptions.to_json` has them.
        networks: the address of the networks of its node; empty where there are none.
        folder: what relative names of files count from.
    """

    def __init__(self, names: list[str], options: dict[str, Any], networks: str, folder: str) -> None:
        from hcq_cli.extraction.local import WorkerProcess
        from hcq_cli.extraction.options import ExtractionOptions

        os.chdir(folder)
        self._names, self._options = names, ExtractionOptions.from_json(options)
        settings = {"experts": names, "options": options, "decode_only": False}
        self._worker = WorkerProcess(settings, self._options, (lambda: networks) if networks else None)

    def ready(self) -> dict[str, Any]:
        """What the features of its experts depend on here, so that they are the same as everywhere; and its node."""
        from hcq_cli.extraction.options import load_experts
        from hcq_cli.extraction.plan import identities_of

        def look() -> dict[str, Any]:
            experts = load_experts(self._names, self._options.sample_fps)
            return {"identities": identities_of(experts, self._options)}

        import ray

        return {"node": ray.get_runtime_context().get_node_id(), **_answer(look)}

    def run(self, job: dict[str, Any]) -> dict[str, Any]:
        """Do a job; gives the outcome, or what no other worker would fare better with."""
        from hcq_cli.extraction.executor import Job, hash_file

        asked = Job.from_json(job)
        return _answer(lambda: (hash_file(asked) if asked.only_hash else self._worker.run(asked)).to_json())


def _answer(work: Any) -> dict[str, Any]:
    """What `work` gives; an error of hcq is told, because an exception would travel as a pickle of its class."""
    from hcq_cli.errors import HcqError

    try:
        return work()
    except HcqError as error:
        return {"fatal": error.message, "hint": error.hint}
