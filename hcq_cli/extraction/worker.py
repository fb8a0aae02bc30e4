"""The worker process: takes one video at a time, decodes it once, puts its features into the store.

local.py starts it and speaks with it; process.py says how. A message is one of:

    parent -> worker   {"experts", "options", "decode_only", "inference"} once; then {"job", "number"} for each video
    worker -> parent   {"ready"} or {"error", "hint"} once; then for each job {"duration_s"} when the file could be
                       opened, {"alive"} now and then while it waits for a network, and last one of {"outcome"};
                       {"memory"} when it has run out of it; {"fatal", "hint"} when no other video will fare better

Each of the latter carries the job's "number": whatever else is printed there, no answer is taken for another video's.

It runs in one thread, as there are as many workers as cores. It loads nothing of the parent's side.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hcq_cli.process import ParentConnection, die_with_parent, limit_memory

if TYPE_CHECKING:
    from experts.base import Expert
    from hcq_cli.extraction.executor import Job, Outcome
    from hcq_cli.extraction.options import ExtractionOptions
    from hcq_cli.media.decoder import Decoder


def main() -> None:
    """Serve until the parent has no more jobs."""
    die_with_parent()
    os.environ["HF_HUB_OFFLINE"] = "1"  # whatever an expert loads is on this machine, or is missing
    parent = ParentConnection()
    settings = parent.receive()

    # Only now: importing takes seconds, in which the parent may die and should not be outlived.
    from hcq_cli.errors import HcqError
    from hcq_cli.extraction.executor import Job, Outcome
    from hcq_cli.extraction.options import ExtractionOptions
    from hcq_cli.extraction.pipeline import decode_video
    from hcq_cli.media.decoder import decoders_for

    number = 0

    def answer(message: dict[str, Any]) -> None:
        parent.send({**message, "number": number})

    options = ExtractionOptions.from_json(settings["options"])
    limit_memory(options.memory_limit_bytes)
    try:
        experts, decoders = _prepare_experts(settings, options, answer), decoders_for(options.decoder)
    except Exception as error:  # an expert and a decoder are anybody's code
        hint = getattr(error, "hint", "")
        parent.send({"error": str(error) if hint else f"{type(error).__name__}: {error}", "hint": hint})
        return
    parent.send({"ready": True})
    while True:
        asked = parent.receive()
        job, number = Job.from_json(asked["job"]), asked["number"]
        try:
            if settings["decode_only"]:
                outcome = decode_video(job.facts.path, decoders)
            else:
                looking = [experts[name] for name in job.identities]
                outcome = extract_job(job, looking, decoders, options, lambda s: answer({"duration_s": s}))
        except MemoryError:
            answer({"memory": True})
            return  # a fresh process starts with fresh memory
        except HcqError as error:  # the store cannot be written, a network is lost
            answer({"fatal": error.message, "hint": error.hint})
            continue
        except Exception as error:
            told = error.strerror if isinstance(error, OSError) else None
            outcome = Outcome(error=told or f"{type(error).__name__}: {error}", lasting=False)
        answer({"outcome": outcome.to_json()})


def _prepare_experts(
    settings: dict[str, Any], options: ExtractionOptions, answer: Callable[[dict[str, Any]], None]
) -> dict[str, Expert]:
    """The experts by name, ready to look; a network runs elsewhere, and only gathers its inputs here."""
    import cv2

    from experts.neural.expert import NetworkExpert
    from hcq_cli.extraction.inference import RemoteNetwork
    from hcq_cli.extraction.options import load_experts

    cv2.setNumThreads(1)  # which no variable of the environment tells it
    experts = load_experts(settings["experts"], options.sample_fps)
    for expert in experts:
        # A network is in memory once a machine, not once a worker, and runs rows of several videos together.
        if settings["inference"] and isinstance(expert, NetworkExpert):
            expert.load_preprocessor()
            expert.network = RemoteNetwork(settings["inference"], expert.name, lambda: answer({"alive": True}))
        else:
            expert.prepare(options.device)
    return {expert.name: expert for expert in experts}


def extract_job(
    job: Job,
    experts: Sequence[Expert],
    decoders: Sequence[Decoder],
    options: ExtractionOptions,
    opened: Callable[[float], None] = lambda duration_s: None,
) -> Outcome:
    """Extract one video and write what was found, before anybody hears of it: what any executor does with a job.

    Args:
        job: with its content hash.
        experts: those of the job, prepared.
        decoders: tried in this order.
        options: how far to look, and the store.
        opened: told the duration in seconds, when the file could be opened.

    Raises:
        MemoryError: it needs more memory than the process may have.
        HcqError: the store cannot be written, or the process that runs the networks is gone.
    """
    from hcq_cli.extraction.executor import CHANGED
    from hcq_cli.extraction.pipeline import extract_video
    from hcq_cli.features.folder import write_incoming
    from hcq_cli.features.records import VideoFeatures
    from hcq_cli.features.transcripts import write_transcripts
    from hcq_cli.files import storable_ns

    facts = job.facts
    found = extract_video(
        facts.path, experts, decoders, max_seconds=options.max_seconds, opened=opened, deaf=job.deaf
    )
    now = Path(facts.path).stat()
    if (now.st_size, storable_ns(now.st_mtime_ns)) != (facts.size, facts.mtime_ns):
        # What was decoded belongs to neither the old content nor, for sure, the new one.
        found.error, found.lasting = CHANGED, False
    if found.error is None:
        decoded = {"duration_s": found.duration_s, "decoder": found.decoder, "warnings": [*map(str, found.warnings)]}
        decoded |= asdict(found.facts)
        video = VideoFeatures(**{**vars(facts), **decoded}, tokens=found.tokens, identities=job.identities)
        # The transcripts first: once the features are there, the video counts as finished.
        write_transcripts(options.store, video, options.words_log)
        write_incoming(options.store, video)
    return found


if __name__ == "__main__":
    main()
    os._exit(0)  # not waiting for threads: one may hang in a library
