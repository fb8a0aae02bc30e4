"""Questions of many clients, answered by one thread that owns the searcher: what waits together is answered together.

A scan of sixteen queries takes little longer than one of a single query, so that a queue which grows under load is
also what makes each of them cheaper.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol, Self

from hcq_cli.errors import HcqError

AT_ONCE = 64
"""Texts answered in one scan."""


class Answering(Protocol):
    """What a server asks; used by one thread. Answers are the JSON of `hcq query`."""

    def texts(self, queries: Sequence[str], k: int, how: dict[str, Any]) -> list[dict[str, Any]]:
        """Answers to texts, in one scan; `how` are further settings of the search. Raises HcqError."""
        ...

    def like(
        self, likes: Sequence[str], k: int, how: dict[str, Any], *, text: str = "", unlike: Sequence[str] = ()
    ) -> dict[str, Any]:
        """What is like indexed videos, fits a text, and is not like others (`Searcher.composed`). Raises HcqError."""
        ...

    def path_of(self, item_id: str) -> str:
        """Where an indexed video lies; empty where none has that id."""
        ...

    def facts(self) -> dict[str, Any]:
        """What is searched: `videos`, `index`, `model`."""
        ...

    def printed(self, asked: dict[str, Any]) -> dict[str, Any] | None:
        """What a command line of a shell prints, as `web.shells` sends it; None where it is not answered here."""
        ...


@dataclass
class _Question:
    """One call that waits for its turn: a text, or `ask`; texts with the same `how` are answered together."""

    ask: Callable[[Answering], Any] | None = None
    text: str = ""
    k: int = 0
    how: dict[str, Any] = field(default_factory=dict)
    done: Future[Any] = field(default_factory=Future)


class Batches:
    """The thread, and the queue before it; a context manager.

    Args:
        make: opens the searcher, in that thread.

    Raises:
        HcqError: (on entering) there is nothing to search.
    """

    def __init__(self, make: Callable[[], Answering]) -> None:
        self._make = make
        self._waiting: queue.SimpleQueue[_Question | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._opened: Future[Answering] = Future()

    def __enter__(self) -> Self:
        self._thread.start()
        self._opened.result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._waiting.put(None)
        self._thread.join()

    async def text(self, query: str, k: int, how: dict[str, Any] | None = None) -> dict[str, Any]:
        """The answer to a text. Raises HcqError."""
        answer: dict[str, Any] = await self._answer_to(_Question(text=query, k=k, how=how or {}))
        return answer

    async def like(
        self,
        likes: Sequence[str],
        k: int,
        how: dict[str, Any] | None = None,
        *,
        text: str = "",
        unlike: Sequence[str] = (),
    ) -> dict[str, Any]:
        """See `Answering.like`."""
        answer: dict[str, Any] = await self._answer_to(
            _Question(lambda searcher: searcher.like(likes, k, how or {}, text=text, unlike=unlike))
        )
        return answer

    async def path_of(self, item_id: str) -> str:
        """Where an indexed video lies; empty where none has that id."""
        return str(await self._answer_to(_Question(lambda searcher: searcher.path_of(item_id))))

    async def facts(self) -> dict[str, Any]:
        """See `Answering.facts`."""
        answer: dict[str, Any] = await self._answer_to(_Question(lambda searcher: searcher.facts()))
        return answer

    def printed(self, asked: dict[str, Any]) -> dict[str, Any] | None:
        """See `Answering.printed`; waits for it, so that it is for threads without an event loop."""
        question = _Question(lambda searcher: searcher.printed(asked))
        self._waiting.put(question)
        found: dict[str, Any] | None = question.done.result()
        return found

    async def _answer_to(self, question: _Question) -> Any:
        self._waiting.put(question)
        return await asyncio.wrap_future(question.done)

    def _serve(self) -> None:
        try:
            searcher = self._make()
        except BaseException as error:
            self._opened.set_exception(error)
            return
        self._opened.set_result(searcher)
        following: _Question | None = None
        while (question := following or self._waiting.get()) is not None:
            together, following = [question], None
            while question.text and len(together) < AT_ONCE and not self._waiting.empty():
                following = self._waiting.get()
                if following is None:  # the end: for the outer loop, when these are answered
                    self._waiting.put(None)
                    break
                if not following.text or following.how != question.how:
                    break
                together.append(following)
                following = None
            # Who has gone meanwhile, as one who types on does, is not answered.
            _answer(searcher, [each for each in together if each.done.set_running_or_notify_cancel()])


def _answer(searcher: Answering, questions: Sequence[_Question]) -> None:
    """Answer texts of the same settings together, or one other question; whatever goes wrong is told who asked."""
    if not questions:
        return
    try:
        if (ask := questions[0].ask) is not None:
            questions[0].done.set_result(ask(searcher))
            return
        most = max(question.k for question in questions)
        found = searcher.texts([question.text for question in questions], most, questions[0].how)
    except Exception as error:
        known = isinstance(error, HcqError)
        said = (
            error if known else HcqError(f"the search failed ({type(error).__name__}: {error})", "hcq index verify")
        )
        for question in questions:
            question.done.set_exception(said)
        return
    for question, document in zip(questions, found, strict=True):
        question.done.set_result({**document, "hits": document["hits"][: question.k]})
