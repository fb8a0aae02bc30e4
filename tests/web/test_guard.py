"""Who may ask: this very server, from its own pages, and from other machines with the token."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

pytest.importorskip("starlette")

from starlette.responses import PlainTextResponse

from hcq_cli.web import guard
from hcq_cli.web.guard import COOKIE, Guard


def ask(app: Guard, path: str = "/api/stats", query: str = "", **headers: str) -> tuple[int, dict[str, str]]:
    named = {"host": "box:8420", **{name.replace("_", "-"): value for name, value in headers.items()}}
    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in named.items()],
        "client": ("10.0.0.1", 1),
        "server": ("box", 8420),
        "scheme": "http",
    }
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], {name.decode(): value.decode() for name, value in sent[0]["headers"]}


@pytest.fixture
def app() -> Guard:
    return Guard(PlainTextResponse("inside"), ["box"], "s3cret")


def test_without_the_token_there_is_no_answer(app: Guard) -> None:
    assert ask(app)[0] == 401
    assert ask(app, authorization="Bearer s3cre")[0] == 401
    assert ask(app, cookie=f"{COOKIE}=other")[0] == 401
    assert ask(app, cookie="\xff;=,")[0] == 401
    assert ask(app, query="token=%ff")[0] == 401


def test_the_address_with_the_token_leaves_a_cookie_and_goes_on_without_it(app: Guard) -> None:
    status, headers = ask(app, path="/", query="q=a+dog&token=s3cret")
    assert (status, headers["location"]) == (303, "/?q=a+dog")
    cookie = headers["set-cookie"]
    assert "httponly" in cookie.lower() and "samesite=strict" in cookie.lower()
    assert ask(app, cookie=cookie.partition(";")[0])[0] == 200
    assert ask(app, authorization="Bearer s3cret")[0] == 200


@pytest.mark.parametrize("listens", ["0.0.0.0", "::"])
def test_who_listens_on_all_addresses_is_asked_by_any_and_by_no_strange_name(listens: str) -> None:
    app = Guard(PlainTextResponse("inside"), [listens, "box"], None)
    for host in ("10.0.0.7:8420", "[fe80::1]:8420", "box", listens if "." in listens else f"[{listens}]"):
        assert ask(app, host=host)[0] == 200
    for host in ("evil.example", "10.0.0.7.evil.example", "", "[", "10.0.0"):
        assert ask(app, host=host)[0] == 421
    assert ask(Guard(PlainTextResponse("inside"), ["box"], None), host="10.0.0.7")[0] == 421


def test_a_machine_whose_name_has_capitals_is_asked_by_it() -> None:
    """Browsers ask in small letters, whatever was typed."""
    app = Guard(PlainTextResponse("inside"), ["Johns-Mac.local"], None)
    for host in ("johns-mac.local:8420", "Johns-Mac.local:8420"):
        assert ask(app, host=host)[0] == 200


def test_a_link_from_elsewhere_opens_the_page_and_nothing_else() -> None:
    app = Guard(PlainTextResponse("inside"), ["box"], None)
    link = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}
    assert ask(app, path="/", **link)[0] == 200
    assert ask(app, path="/api/search", **link)[0] == 403
    assert ask(app, path="/", sec_fetch_site="cross-site", sec_fetch_mode="no-cors")[0] == 403


def test_a_web_socket_is_closed_before_anything_is_said() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    app = Guard(PlainTextResponse("inside"), ["box"], None)
    asyncio.run(app({"type": "websocket", "path": "/", "headers": []}, None, send))  # type: ignore[arg-type]
    assert [message["type"] for message in sent] == ["websocket.close"]


def test_every_answer_says_what_a_page_may_do(app: Guard) -> None:
    for headers in ({}, {"authorization": "Bearer s3cret"}):
        said = {name.lower(): value for name, value in ask(app, **headers)[1].items()}
        assert {name.lower() for name in guard.HEADERS} <= set(said) and said["cache-control"] == "no-store"


def test_who_asks_too_often_waits(app: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "AT_ONCE", 5.0)
    monkeypatch.setattr(guard, "A_SECOND", 0.001)
    assert [ask(app, authorization="Bearer s3cret")[0] for _ in range(7)] == [200] * 5 + [429] * 2
