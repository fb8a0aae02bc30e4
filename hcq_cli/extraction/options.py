"""How to extract: the options of a run, and the experts it is to ask."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from experts.base import Expert
from hcq_cli.cores import cores
from hcq_cli.errors import DamagedError, NotFoundError, UsageError
from hcq_cli.features.transcripts import TRANSCRIPTS
from hcq_cli.media.decoder import BUILT_IN

MEMORY_LIMIT_GIB = 4.0
"""The most memory a worker takes by default: far more than a video of any usual size needs."""


@dataclass(frozen=True)
class ExtractionOptions:
    """How to extract.

    Args:
        store: the feature store's folder.
        decoder: auto, pyav, decord, or package.module:Class.
        workers: processes; None for one a core.
        device: where networks run: auto, cpu, cuda or mps.
        timeout_s: deadline of a video; None for a generous one by its size and duration.
        sample_fps: frames a second for every expert that sees; None leaves it to the expert.
        max_seconds: what lies later in a video is left out; None for all.
        retry_failed: try again what is known to be broken.
        memory_gib: the most memory a worker may take; None for HCQ_MEMORY_LIMIT_GIB or 4; 0 for no limit.
        keep_missing: leave videos in the store whose files are no longer there.
        words_log: the file of the store that transcripts go to.

    Raises:
        UsageError: there is no such decoder, or a limit is no number.
    """

    store: Path
    decoder: str = "auto"
    workers: int | None = None
    device: str = "auto"
    timeout_s: float | None = None
    sample_fps: float | None = None
    max_seconds: float | None = None
    retry_failed: bool = False
    memory_gib: float | None = None
    keep_missing: bool = False
    words_log: str = TRANSCRIPTS

    def __post_init__(self) -> None:
        if self.decoder not in ("auto", *BUILT_IN) and ":" not in self.decoder:
            choices = ", ".join(["auto", *BUILT_IN])
            raise UsageError(f"there is no decoder {self.decoder!r}", f"--decoder {choices} or package.module:Class")
        _ = self.memory_limit_bytes  # raises where it cannot be read

    @property
    def memory_limit_bytes(self) -> int:
        """The most memory a worker may take; 0 for no limit."""
        if self.device not in ("auto", "cpu"):  # anybody's expert may use a GPU, whose driver reserves a lot
            return 0
        if self.memory_gib is not None:
            return int(self.memory_gib * 2**30)
        text = os.environ.get("HCQ_MEMORY_LIMIT_GIB", str(MEMORY_LIMIT_GIB))
        try:
            return int(float(text) * 2**30)
        except ValueError:
            raise UsageError(f"HCQ_MEMORY_LIMIT_GIB={text!r} is no number") from None

    def worker_count(self, videos: int) -> int:
        """How many worker processes are worth starting for so many videos."""
        return min(self.workers or cores(), max(1, videos))

    def to_json(self) -> dict[str, Any]:
        """As `from_json` takes it: what a worker process is told."""
        return {**asdict(self), "store": os.fspath(self.store)}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> ExtractionOptions:
        """The options that `to_json` described."""
        return cls(**{**document, "store": Path(document["store"])})


@contextmanager
def weights_errors() -> Iterator[None]:
    """What is wrong with the weights of a network as hcq's own errors."""
    from experts.neural.weights import RefusedError, WeightsError

    try:
        yield
    except RefusedError as error:
        raise DamagedError(str(error), error.hint) from error
    except WeightsError as error:
        raise NotFoundError(str(error), error.hint) from error


def load_experts(names: Sequence[str], sample_fps: float | None = None) -> list[Expert]:
    """The experts of these names, not prepared yet.

    Args:
        names: as `experts.registry.load` takes them.
        sample_fps: frames a second for those that see and have no rate that their network needs; None leaves it to
            each.

    Raises:
        UsageError: there is no such expert.
        NotFoundError: the weights of a network are not on this machine, or cannot be used.
        DamagedError: the folder of a network asks for code, a kernel or another file.
    """
    from experts.registry import load

    try:
        with weights_errors():
            experts = load(names)
    except (LookupError, ValueError) as error:
        raise UsageError(str(error.args[0] if error.args else error), "hcq experts") from error
    for expert in experts:
        if sample_fps is not None and expert.sampling.frames_per_second and not getattr(expert, "paced", False):
            expert.sampling = replace(expert.sampling, frames_per_second=sample_fps)
    return experts


def needs_inference(experts: Sequence[Expert]) -> bool:
    """Whether one of the experts is a network, which is loaded once and not once a worker."""
    from experts.neural.expert import NetworkExpert

    return any(isinstance(expert, NetworkExpert) for expert in experts)
