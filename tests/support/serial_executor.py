"""An executor of another kind: in this very process, one job after the other, the newest first."""

from __future__ import annotations

import json
from collections.abc import Sequence

from experts.base import Expert
from hcq_cli.extraction.executor import Job, Outcome, hash_file
from hcq_cli.extraction.options import ExtractionOptions
from hcq_cli.extraction.worker import extract_job
from hcq_cli.media.decoder import decoders_for


class SerialExecutor:
    """Follows `Executor`; every job and outcome travels as JSON, as it would to another machine.

    Args:
        experts: prepared.
        options: of the extraction.
    """

    networks_s = 0.0

    def __init__(self, experts: Sequence[Expert], options: ExtractionOptions, slots: int = 3) -> None:
        self.slots, self.options = slots, options
        self.experts = {expert.name: expert for expert in experts}
        self.jobs: list[Job] = []
        self.most_jobs = 0
        self.extracted: list[str] = []

    def submit(self, job: Job) -> None:
        self.jobs.append(Job.from_json(json.loads(json.dumps(job.to_json()))))
        self.most_jobs = max(self.most_jobs, len(self.jobs))

    def next_outcome(self) -> tuple[Job, Outcome]:
        job = self.jobs.pop()
        if job.only_hash:
            return job, hash_file(job)
        self.extracted.append(job.facts.id)
        asked = [self.experts[name] for name in job.identities]
        outcome = extract_job(job, asked, decoders_for("pyav"), self.options)
        return job, Outcome.from_json(json.loads(json.dumps(outcome.to_json())))
