"""Threads that drive the worker processes through the inputs: one thread a process."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from typing import Protocol

from hcq_cli.extraction.child import Child
from hcq_cli.extraction.executor import Answer, Job
from hcq_cli.extraction.plan import Broken, Finished, Twin
from hcq_cli.media.inputs import Input

Outcome = Finished | Broken | Twin | tuple[Job, Answer]
"""What became of an input: finished before, hopeless, the twin of another, or a job and the worker's answer."""


class Judge(Protocol):
    """Says what is to be done with an input, and is told what came of it; see `Ledger`."""

    def judge(self, item: Input) -> Job | Finished | Broken | Twin:
        """What is to be done: extract it (a job), or why there is nothing to extract."""
        ...

    def failed(self, job: Job, error: str) -> None:
        """It gave nothing, and will not until the file changes."""
        ...

    def mended(self, job: Job) -> None:
        """It gave something: an earlier failure is forgotten."""
        ...


class Crew:
    """Threads that drive the worker processes through the inputs.

    Args:
        ledger: judges the inputs.
        videos: what there is to do.
        children: one a thread.
        timeout_s: deadline of a video; None for one by size and duration.
    """

    def __init__(
        self, ledger: Judge, videos: Sequence[Input], children: Sequence[Child], timeout_s: float | None
    ) -> None:
        self._ledger, self._children, self._timeout_s = ledger, children, timeout_s
        self._left = iter(videos)
        self._taking = threading.Lock()
        self._stopped = threading.Event()
        self._done: queue.SimpleQueue[tuple[Input, Outcome] | BaseException | None] = queue.SimpleQueue()

    def outcomes(self) -> Iterator[tuple[Input, Outcome]]:
        """What became of each input, as they are finished. Whatever ends this, no process is left behind."""
        threads = [threading.Thread(target=self._drive, args=(child,), daemon=True) for child in self._children]
        try:
            for thread in threads:
                thread.start()
            running = len(threads)
            while running:
                said = self._done.get()
                if isinstance(said, BaseException):
                    raise said
                if said is None:
                    running -= 1
                else:
                    yield said
        finally:
            self._stopped.set()
            for child in self._children:
                child.stop()
            for thread in threads:
                if thread.ident is not None:
                    thread.join()

    def _drive(self, child: Child) -> None:
        try:
            while not self._stopped.is_set() and (item := self._take()) is not None:
                outcome = self._deal(child, item)
                if not self._stopped.is_set():
                    self._done.put((item, outcome))
        except BaseException as error:  # the main thread raises it
            self._done.put(error)
        finally:
            child.kill()
            self._done.put(None)

    def _take(self) -> Input | None:
        with self._taking:
            return next(self._left, None)

    def _deal(self, child: Child, item: Input) -> Outcome:
        verdict = self._ledger.judge(item)
        if not isinstance(verdict, Job):
            return verdict
        answer = child.ask(verdict, self._timeout_s)
        if answer.error is None:
            self._ledger.mended(verdict)
        elif answer.lasting and not self._stopped.is_set():
            self._ledger.failed(verdict, answer.error)
        return verdict, answer
