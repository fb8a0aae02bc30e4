"""What runs on the nodes of a Ray cluster: workers, which do a job at a time, and the networks of a node.

A worker that decodes is an actor around the very child process that the executor on one machine has
(hcq_cli/extraction/local.py): deadline, memory limit and crashes of a decoder are dealt with there, on the node.
"""

from __future__ import annotations

import os
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from hcq_cli.engines.ray_cluster import MOST_DEATHS
from hcq_cli.files import digest_bytes, digest_file
from hcq_cli.remote.mirror import Mirror
from hcq_cli.remote.nodes import Place, arrived, put_back, taken

if TYPE_CHECKING:
    from hcq_cli.extraction.executor import Job, Outcome
    from hcq_cli.model.video_batches import VideoBatches


class Watched:
    """An actor that tells how far it is with its work, so that one that hangs is known."""

    _thread = 0
    """That is at work, or was last."""

    def _at_work(self) -> None:
        """The calling thread is at work from now on."""
        self._thread = threading.get_ident()

    def moved(self) -> float:
        """How far it is; asked while it works. What stays the same hangs: it has no processor time."""
        clock = getattr(time, "pthread_getcpuclockid", None)  # macOS has none
        return time.clock_gettime(clock(self._thread)) if clock and self._thread else time.monotonic()


class PoolWorker(Watched, ABC):
    """A worker on some node, an actor, as `RayPool` asks it. Jobs, answers and errors travel as JSON."""

    @abstractmethod
    def identities(self) -> dict[str, str]:
        """What its work depends on here, by name, so that it is the same everywhere."""

    @abstractmethod
    def do(self, job: dict[str, Any]) -> dict[str, Any]:
        """Do a job; raises HcqError where no other worker would fare better."""

    def ready(self) -> dict[str, Any]:
        """Its identities, and its node."""
        return {"node": _node(), **_answer(lambda: {"identities": self.identities()})}

    def run(self, job: dict[str, Any]) -> dict[str, Any]:
        """Do a job; gives what came of it."""
        self._at_work()
        return _answer(lambda: self.do(job))


class NodeNetworks:
    """The process that runs the networks of one node; an actor.

    Args:
        names: of the experts.
        device: where the networks shall run.
        folder: what relative names of files count from.
    """

    def __init__(self, names: list[str], device: str, folder: str) -> None:
        import ray

        from hcq_cli.extraction.inference import InferenceProcess

        os.chdir(folder)
        if not ray.get_runtime_context().get_assigned_resources().get("CPU"):
            os.environ.pop("OMP_NUM_THREADS", None)  # Ray's, for an actor that claims no processor: one thread
        self._start = partial(InferenceProcess, names, device, ray.util.get_node_ip_address())
        self._process, self._busy_s = self._start(), 0.0

    def address(self, gone: str = "") -> dict[str, str]:
        """Where it listens, or why it does not.

        Args:
            gone: where somebody has found that nobody listens any more: another one is started.
        """

        def listens() -> dict[str, str]:
            if gone and gone == self._process.address():
                self._busy_s += self._process.close()
                self._process = self._start()
            return {"address": self._process.address()}

        return _answer(listens)

    def close(self) -> float:
        """End it; gives how long its networks ran, seconds."""
        return self._busy_s + self._process.close()


class NodeWorker(PoolWorker):
    """Extracts videos, by a child process.

    Args:
        names: of the experts.
        options: of the extraction, as `ExtractionOptions.to_json` has them, but for the store: a `nodes.Place`.
        networks: of each process that runs networks its node and its `NodeNetworks`; none where there are none.
        folder: what relative names of files count from.
    """

    def __init__(
        self, names: list[str], options: dict[str, Any], networks: list[tuple[str, Any]], folder: str
    ) -> None:
        from hcq_cli.extraction.local import WorkerProcess
        from hcq_cli.extraction.options import ExtractionOptions

        os.chdir(folder)
        self._remote, self._part = options["store"]
        self._scratch: TemporaryDirectory[str] | None = None
        if self._remote:
            # What belongs to a mirror of the driver's is written aside here, and put where that takes it.
            self._scratch = TemporaryDirectory(prefix="hcq-")
        options = {**options, "store": self._scratch.name if self._scratch else self._part}
        self._names, self._options = names, ExtractionOptions.from_json(options)
        # Those of its own node come first.
        self._networks = sorted(networks, key=lambda each: each[0] != _node())
        self._address = self._gone = ""
        settings = {"experts": names, "options": options, "decode_only": False}
        self._worker = WorkerProcess(settings, self._options, self._listening if networks else None)

    def _listening(self) -> str:
        """Where the networks listen that it asks; who is gone is started again."""
        import ray

        from hcq_cli.errors import HcqError
        from hcq_cli.extraction.inference import GONE, HINT

        while self._networks:
            try:
                said = ray.get(self._networks[0][1].address.remote(self._gone))
            except ray.exceptions.RayError:  # their node has died
                self._networks.pop(0)
                continue
            if "fatal" in said:
                raise HcqError(said["fatal"], said["hint"])
            self._address = said["address"]
            return self._address
        raise HcqError(GONE, HINT)

    def identities(self) -> dict[str, str]:
        """What the features of its experts depend on."""
        from hcq_cli.extraction.options import load_experts
        from hcq_cli.extraction.plan import identities_of

        if self._remote:
            Mirror.at(self._remote)  # which says what is missing, before anything begins
        found = identities_of(load_experts(self._names, self._options.sample_fps), self._options)
        return {f"expert {name}": identity for name, identity in found.items()}

    def moved(self) -> float:
        """See `Watched.moved`; its child process has a deadline of its own."""
        return time.monotonic()

    def do(self, job: dict[str, Any]) -> dict[str, Any]:
        """Do a job; gives the outcome."""
        from hcq_cli.extraction.executor import Job, hash_file

        asked = Job.from_json(job)
        outcome = hash_file(asked) if asked.only_hash else self._extract(asked)
        return {**outcome.to_json(), "put": self._put(Path(self._scratch.name)) if self._scratch else []}

    def _put(self, aside: Path) -> list[str]:
        """Put what was written aside; gives the paths in the workspace."""
        found = [path for path in aside.rglob("*") if path.is_file() and path.name[0] != "."]
        names = list[str]()  # what a killed child process left has a dot before its name
        for path in sorted(found, key=lambda path: path.suffix == ".h5"):  # the last: the video is finished then
            if path.suffix == ".h5":
                names.append(f"{self._part}/{path.relative_to(aside).as_posix()}")
            else:  # what was said and shown
                names.append(f"{self._part}/logs/words-{digest_file(path)[:16]}.jsonl")
            Mirror.at(self._remote).put(path, names[-1])
            path.unlink()
        return names

    def _extract(self, job: Job) -> Outcome:
        """Do a job; where the networks that it asks are gone, with those in their place, some times."""
        from hcq_cli.errors import HcqError
        from hcq_cli.extraction.inference import GONE

        for _ in range(MOST_DEATHS - 1):
            try:
                return self._worker.run(job)
            except HcqError as error:
                if GONE not in error.message:
                    raise
            self._gone = self._address
            self._worker.close()
        return self._worker.run(job)


class CodesWorker(PoolWorker):
    """Makes parts of a code file (hcq_cli/model/encoding_parts.py), on one core.

    Args:
        checkpoint, features, codes: where they lie, as `nodes.sent` says it.
        cutting: of the videos, as `Cutting.to_json` has it.
        device: cpu or cuda.
    """

    def __init__(
        self, checkpoint: Place, features: Place, codes: Place, cutting: dict[str, Any], device: str
    ) -> None:
        self._places, self._codes, self._cutting, self._device = (checkpoint, features), codes, cutting, device

    @cached_property
    def _batches(self) -> VideoBatches:
        from hcq_cli.collection import read_collection
        from hcq_cli.datasets.segments import Cutting
        from hcq_cli.features.store import FeatureStore
        from hcq_cli.model.checkpoint import load
        from hcq_cli.model.video_batches import VideoBatches
        from hcq_cli.model.video_side import open_video_encoder

        checkpoint, features = arrived(self._places)
        store, on_cpu = FeatureStore.open(features), self._device == "cpu"
        model = open_video_encoder(checkpoint, threads=1) if on_cpu else load(checkpoint, self._device)
        return VideoBatches(model, store, Cutting(**self._cutting), read_collection(store.folder).removed)

    def identities(self) -> dict[str, str]:
        """What its codes are made of."""
        return {CODES_OF: digest_of_all(self._batches)}

    def do(self, job: dict[str, Any]) -> dict[str, Any]:
        """Make a part, if it is not there yet."""
        from hcq_cli.model.encoding_parts import make_part, part_path

        part, (address, place) = range(job["first"], job["stop"]), self._codes
        with TemporaryDirectory(prefix="hcq-") as aside:
            codes = Path(aside) / Path(place).name if address else Path(place)
            make_part(self._batches, part, codes)
            if address:
                wanted = part_path(self._batches, part, Path(place)).as_posix()
                Mirror.at(address).put(part_path(self._batches, part, codes), wanted)
        return {"videos": len(self._batches.rows(part.start, part.stop))}


CODES_OF = "model or other features"
"""What is compared between the nodes before codes are made."""


def digest_of_all(batches: VideoBatches) -> str:
    """What says whether two machines would make the same codes."""
    return digest_bytes(b"".join(map(batches.digest, range(len(batches)))))


class SegmentWorker(PoolWorker):
    """Writes segments of an index, one of a code file each."""

    def identities(self) -> dict[str, str]:
        """Nothing but the code files."""
        return {}

    def do(self, job: dict[str, Any]) -> dict[str, Any]:
        """Write the segment of a code file."""
        from hcq_cli.codes.codefile import open_codes
        from hcq_cli.search.ivf import read_lists
        from hcq_cli.search.segment_writer import write_segment

        file, ivf = open_codes(arrived([job["codes"]])[0]), None
        if job["lists"]:
            with taken(job["lists"]) as lists:
                ivf = read_lists(lists, file.header, file.scale)
        with put_back(job["segment"]) as segment:
            write_segment(segment, file, ivf, lambda count: None)
        return {"rows": len(file)}


def _node() -> str:
    import ray

    return str(ray.get_runtime_context().get_node_id())


def _answer(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `work` gives; an error of hcq is told, because an exception would travel as a pickle of its class."""
    from hcq_cli.errors import HcqError

    try:
        return work()
    except HcqError as error:
        return {"fatal": error.message, "hint": error.hint}
