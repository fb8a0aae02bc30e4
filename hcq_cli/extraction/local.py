"""The executor on this machine: a pool of worker processes, each driven by a thread of the parent.

A worker that hangs, crashes or takes too much memory costs the video it was at, and is started anew for the next.
worker.py is the process itself.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from experts.base import Expert
from hcq_cli.errors import HcqError
from hcq_cli.extraction.executor import Job, Outcome, hash_file
from hcq_cli.extraction.inference import InferenceProcess
from hcq_cli.extraction.options import ExtractionOptions, needs_inference
from hcq_cli.process import ONE_THREAD, ChildDied, ChildProcess

START_S = 180.0
"""How long a worker may take to load its experts, seconds."""
LEAST_S = 60.0
"""The shortest default deadline of a video, seconds."""
SLOWEST_BYTES_PER_S = 100_000
SLOWEST_REAL_TIME = 0.5
LONGEST_SAID_S = 12 * 3600.0
"""A file that says it is longer may be lying, and is not waited for longer, seconds."""


class WorkerPool:
    """Worker processes on this machine; an `Executor`. They run while the `with` block does.

    Args:
        experts: those asked for; where the networks of some run in a process of their own, it is started when needed.
        names: the same, as `experts.registry.load` takes them.
        options: how to extract.
        videos: how many there will be at most: no more workers than that are started.
        decode_only: decode everything and ask no expert (a measurement).
        on_reading: told by any thread how far the reading of a large file is, for people.
    """

    def __init__(
        self,
        experts: Sequence[Expert],
        names: Sequence[str],
        options: ExtractionOptions,
        videos: int,
        decode_only: bool = False,
        on_reading: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._on_reading = on_reading
        asks_networks = needs_inference(experts) and not decode_only
        self._inference = InferenceProcess(names, options.device) if asks_networks else None
        address = self._inference.address if self._inference else None
        settings = {"experts": list(names), "options": options.to_json(), "decode_only": decode_only}
        count = options.worker_count(videos)
        self._workers = [WorkerProcess(settings, options, address) for _ in range(count)]
        self._threads = [
            threading.Thread(target=self._drive, args=(worker,), daemon=True) for worker in self._workers
        ]
        self.slots = 2 * count  # for each worker a job it is at, and the next one
        self.networks_s = 0.0
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._outcomes: queue.SimpleQueue[tuple[Job, Outcome] | BaseException] = queue.SimpleQueue()
        self._stopped = threading.Event()

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Whatever ends the block, no process is left behind."""
        self._stopped.set()
        for worker in self._workers:
            self._jobs.put(None)  # wakes a thread that waits for a job
            worker.stop()
        for thread in self._threads:
            if thread.ident is not None:  # an interrupt may come before all are started
                thread.join()
        if self._inference is not None:
            self.networks_s = self._inference.close()

    def submit(self, job: Job) -> None:
        """See `Executor.submit`."""
        self._jobs.put(job)

    def next_outcome(self) -> tuple[Job, Outcome]:
        """See `Executor.next_outcome`."""
        done = self._outcomes.get()
        if isinstance(done, BaseException):
            raise done
        return done

    def _drive(self, worker: WorkerProcess) -> None:
        """One thread: its worker does a job at a time. Only this thread starts the worker, which ends with it."""
        try:
            while (job := self._jobs.get()) is not None and not self._stopped.is_set():
                # A hash needs no expert: it is taken here, and the process is started when there is more to do.
                self._outcomes.put((job, hash_file(job, self._on_reading) if job.only_hash else worker.run(job)))
        except BaseException as error:  # the caller's thread raises it
            self._outcomes.put(error)
        finally:
            worker.close()


class WorkerProcess:
    """One worker process as its parent sees it: started at the first job, asked for one at a time, killed at the
    deadline, and started again after it died.

    Args:
        settings: what it is told first: the experts, the options, and whether to decode only.
        options: the same as in `settings`.
        inference: gives the address of the process that runs the networks; None if there is none.
    """

    def __init__(
        self, settings: dict[str, Any], options: ExtractionOptions, inference: Callable[[], str] | None
    ) -> None:
        self._settings, self._options, self._inference = settings, options, inference
        self._process: ChildProcess | None = None
        self._stopped = False
        self._jobs = 0

    def run(self, job: Job) -> Outcome:
        """Let the worker do a job; whatever happens to the worker is told in the outcome.

        Raises:
            HcqError: no worker can be started at all (an expert cannot be prepared), or the store cannot be written.
        """
        process = self._process or self._start()
        self._jobs += 1
        try:
            process.send({"job": job.to_json(), "number": self._jobs})
            return self._outcome(process, job)
        except ChildDied as death:
            self._process, death_signal = None, death.signal
            # Whoever killed it, the file is not to blame: the kernel's killer for want of memory, or the user.
            by_others = self._stopped or death.signal in ("SIGKILL", "SIGTERM")
            crashed = Outcome(error=_reason(death), lasting=not by_others, killed=by_others)
        if by_others or not death_signal or job.deaf or self._settings["decode_only"]:
            return crashed
        # A sound that crashes the decoder is not to cost the pictures: where they come without it, it was the sound.
        deaf = self.run(replace(job, deaf=True))
        return deaf if deaf.error is None else crashed

    def _outcome(self, process: ChildProcess, job: Job) -> Outcome:
        """Wait for the outcome; the deadline moves as the worker says more."""
        begun, limit_s = time.monotonic(), self._options.timeout_s or patience_s(job.facts.size)
        while True:
            try:
                said = process.receive(begun + limit_s)
            except ChildDied as death:
                if not death.late:
                    raise
                self._process = None
                return Outcome(error=f"it took longer than {limit_s:.0f} s and was stopped (--timeout-s)")
            if said.get("number") != self._jobs:  # printed by somebody's code, or about a job that was given up
                continue
            if "alive" in said:  # it waits for a network, which takes its time: the file is not to blame
                begun = begun if self._options.timeout_s else time.monotonic()
            elif "duration_s" in said:  # the file could be opened
                limit_s = self._options.timeout_s or patience_s(job.facts.size, said["duration_s"])
            elif "fatal" in said:
                raise HcqError(said["fatal"], said["hint"])
            elif "memory" in said:  # it ends by itself: what it could not free goes with it
                self.close()
                limit = f"{self._options.memory_limit_bytes / 2**30:.3g} GiB"
                return Outcome(error=f"it needs more memory than {limit} (HCQ_MEMORY_LIMIT_GIB)")
            else:
                return Outcome.from_json(said["outcome"])

    def _start(self) -> ChildProcess:
        settings = {**self._settings, "inference": self._inference() if self._inference else ""}
        # Its libraries get one thread: there are as many workers as cores.
        self._process = process = ChildProcess("hcq_cli.extraction.worker", environment=ONE_THREAD)
        if self._stopped:  # by another thread, in between
            process.kill()
        try:
            process.send(settings)
            deadline, said = time.monotonic() + START_S, dict[str, Any]()
            while "ready" not in said and "error" not in said:
                said = process.receive(deadline)
        except ChildDied as death:
            self._process = None
            reason = f"it did not start within {START_S:.0f} s" if death.late else _reason(death)
            raise HcqError(f"a worker process cannot start: {reason}", "hcq doctor") from None
        if "error" in said:
            self.close()
            raise HcqError(f"the experts cannot be prepared: {said['error']}", said["hint"] or "hcq doctor")
        return process

    def stop(self) -> None:
        """Kill the process for good; called from another thread, while `run` may be waiting."""
        self._stopped = True
        process = self._process
        if process is not None:
            process.kill()

    def close(self) -> None:
        """End the process and let go of it; a further `run` would start another."""
        process, self._process = self._process, None
        if process is not None:
            process.close()


def patience_s(size: int, duration_s: float = 0.0) -> float:
    """The default deadline of a video: generous, because a slow machine is no broken file.

    Args:
        size: bytes.
        duration_s: as the file says.
    """
    by_duration = min(duration_s, LONGEST_SAID_S) / SLOWEST_REAL_TIME
    return LEAST_S + max(size / SLOWEST_BYTES_PER_S, by_duration)


def _reason(death: ChildDied) -> str:
    """How a worker died, for people."""
    if death.signal:
        return f"the decoder crashed: {death.signal}"
    said = f": {death.last_line}" if death.last_line else ""
    return f"the decoder process ended with exit code {death.exit_code}{said}"
