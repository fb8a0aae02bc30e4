"""What waits together is answered together, and each gets its own answer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from hcq_cli.errors import HcqError, UsageError
from hcq_cli.web.batches import AT_ONCE, Batches


class Echo:
    """Answers a text with itself; the first call waits until it is let go."""

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.begun, self.go = threading.Event(), threading.Event()

    def texts(self, queries: Sequence[str], k: int, how: dict[str, Any]) -> list[dict[str, Any]]:
        self.begun.set()
        self.go.wait(10)
        self.calls.append(len(queries))
        if "bad" in queries:
            raise UsageError("bad")
        if "worse" in queries:
            raise ZeroDivisionError("worse")
        return [{"query": query, "how": how, "hits": list(range(k))} for query in queries]

    def like(
        self, likes: Sequence[str], k: int, how: dict[str, Any], *, text: str = "", unlike: Sequence[str] = ()
    ) -> dict[str, Any]:
        return {"query": likes[0], "hits": list(range(k))}

    def path_of(self, item_id: str) -> str:
        return "/" + item_id

    def facts(self) -> dict[str, Any]:
        return {"videos": 1}

    def printed(self, asked: dict[str, Any]) -> dict[str, Any] | None:
        return asked or None


def run(echo: Echo, ask: Any) -> Any:
    async def asked() -> Any:
        with Batches(lambda: echo) as batches:
            waiting = asyncio.ensure_future(ask(batches))
            await asyncio.sleep(0.05)
            echo.go.set()
            return await waiting

    return asyncio.run(asked())


def test_each_gets_its_own_answer_and_as_many_hits_as_it_asked_for() -> None:
    echo = Echo()

    async def ask(batches: Batches) -> Any:
        return await asyncio.gather(*(batches.text(f"q{at}", at % 7 + 1) for at in range(200)))

    found = run(echo, ask)
    assert [answer["query"] for answer in found] == [f"q{at}" for at in range(200)]
    assert [len(answer["hits"]) for answer in found] == [at % 7 + 1 for at in range(200)]
    assert sum(echo.calls) == 200 and len(echo.calls) < 10 and max(echo.calls) <= AT_ONCE


def test_other_settings_and_other_questions_are_not_mixed_in() -> None:
    async def ask(batches: Batches) -> Any:
        return await asyncio.gather(
            batches.text("a", 1, {"exact": True}), batches.path_of("v"), batches.text("b", 1), batches.like(["l"], 2)
        )

    one, path, two, like = run(Echo(), ask)
    assert (one["how"], two["how"]) == ({"exact": True}, {}) and (path, like["query"]) == ("/v", "l")


@pytest.mark.parametrize("text", ["bad", "worse"])
def test_an_error_is_told_and_the_next_question_is_answered(text: str) -> None:
    async def ask(batches: Batches) -> Any:
        with pytest.raises(HcqError, match=text):
            await batches.text(text, 1)
        return await batches.text("good", 1)

    assert run(Echo(), ask)["query"] == "good"


def test_what_cannot_be_opened_is_told_on_entering() -> None:
    def make() -> Any:
        raise HcqError("no index")

    with pytest.raises(HcqError, match="no index"), Batches(make):
        pass


def test_who_has_gone_is_not_answered_and_the_others_are() -> None:
    echo = Echo()

    async def asked() -> list[str]:
        with Batches(lambda: echo) as batches:
            first = asyncio.ensure_future(batches.text("first", 1))
            while not echo.begun.is_set():  # the thread is at the first one, and the others wait together
                await asyncio.sleep(0.001)
            gone, last = (asyncio.ensure_future(batches.text(text, 1)) for text in ("gone", "last"))
            await asyncio.sleep(0)
            gone.cancel()
            await asyncio.sleep(0)
            echo.go.set()
            return [(await first)["query"], (await last)["query"]]

    assert asyncio.run(asked()) == ["first", "last"]
    assert echo.calls == [1, 1]
