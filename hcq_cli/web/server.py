"""The server of a search page and its API, as an ASGI application: `hcq serve`.

A page is whole without any script: a form, links and cards. search.js replaces the cards as one types.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from hcq_cli.codes.ids import video_of
from hcq_cli.errors import HcqError, NotFoundError, UsageError
from hcq_cli.web.batches import Batches
from hcq_cli.web.cards import STATIC, Answer, answer_of, templates
from hcq_cli.web.guard import Guard
from hcq_cli.web.media import MOST_SECONDS, Previews, Thumbnails, film_response, id_of, key_of

PAGE = 48
"""Hits a page."""
MOST_HITS = 500
"""Hits an answer of the API."""
FARTHEST = 10_000
"""How many hits can be paged through."""
LONGEST_QUERY = 2000
DEADLINE_S, PREVIEW_DEADLINE_S = 30.0, 300.0
SORTS = {"score": "best first", "date": "newest first", "path": "by path", "duration": "shortest first"}
UNITS = {"video": "videos", "segment": "moments"}
STATIC_FILES = {
    "style.css": "text/css",
    "player.js": "text/javascript",
    "search.js": "text/javascript",
    "openapi.json": "application/json",
}

Handler = Callable[[Request], Awaitable[Response]]


def application(batches: Batches, *, hosts: Sequence[str], token: str | None = None) -> ASGIApp:
    """The application.

    Args:
        batches: what answers; entered already.
        hosts: names and addresses by which it may be asked.
        token: that is asked for; None on this machine's own address.
    """
    pages = _Pages(batches)
    routes = [
        Route("/", _told(pages.page)),
        Route("/cards", _told(pages.cards)),
        Route("/api/search", _told(pages.search)),
        Route("/api/similar/{key}", _told(pages.similar)),
        Route("/api/stats", _told(pages.stats)),
        Route("/media/{key}", _told(pages.film)),
        Route("/thumbnail/{key}", _told(pages.thumbnail)),
        Route("/preview/{key}", _told(pages.preview, PREVIEW_DEADLINE_S)),
        Route("/static/{name}", _told(pages.static)),
    ]

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        with pages.thumbnails, pages.previews:
            yield

    app = Starlette(routes=routes, lifespan=lifespan, exception_handlers={HTTPException: _http_error})
    return Guard(app, hosts, token)


async def _http_error(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return _json({"error": str(getattr(error, "detail", error))}, status)


def _told(handler: Handler, deadline_s: float = DEADLINE_S) -> Handler:
    """A handler whose errors are told in JSON, and that answers in time."""

    async def run(request: Request) -> Response:
        try:
            async with asyncio.timeout(deadline_s):
                return await handler(request)
        except TimeoutError:
            return _json({"error": "it took too long"}, 408)
        except HcqError as error:
            status = 404 if isinstance(error, NotFoundError) else 400 if isinstance(error, UsageError) else 503
            return _json({"error": error.message, "hint": error.hint}, status)

    return run


class _Pages:
    """The handlers."""

    def __init__(self, batches: Batches) -> None:
        self._batches, self.thumbnails, self.previews = batches, Thumbnails(), Previews()

    async def page(self, request: Request) -> Response:
        """The page, with the answer in it if something is asked."""
        found, facts = await self._found(request), await self._batches.facts()
        page = templates().get_template("page.html")
        given = dict(request.query_params)
        asked = {"found": found, "facts": facts, "asked": _asked(request), "like": _like(request), "given": given}
        return HTMLResponse(page.render(**asked, sorts=SORTS, units=UNITS))

    async def cards(self, request: Request) -> Response:
        """The answer alone, for the script."""
        found = await self._found(request)
        return HTMLResponse(templates().get_template("found.html").render(found=found))

    async def search(self, request: Request) -> Response:
        """The JSON of `hcq query`, with a key for each hit."""
        query = _asked(request)
        if not query.strip():
            raise UsageError("q is empty", "/api/search?q=a+man+cooking")
        return _document(await self._batches.text(query, _number(request, "k", 10, 1, MOST_HITS), _how(request)))

    async def similar(self, request: Request) -> Response:
        """What is like a video, by its key."""
        k = _number(request, "k", 10, 1, MOST_HITS)
        return _document(await self._batches.like(id_of(request.path_params["key"]), k, _how(request)))

    async def stats(self, request: Request) -> Response:
        """What is searched."""
        return _json(await self._batches.facts())

    async def film(self, request: Request) -> Response:
        """The file of a video, in ranges."""
        return await asyncio.to_thread(film_response, await self._path(request))

    async def thumbnail(self, request: Request) -> Response:
        """The picture at the second `t`."""
        return await self.thumbnails.response(await self._path(request), _second(request))

    async def preview(self, request: Request) -> Response:
        """Some seconds from the second `t` on, in a form that any browser plays."""
        return await self.previews.response(await self._path(request), _second(request))

    async def static(self, request: Request) -> Response:
        """A file of ours."""
        name = request.path_params["name"]
        if name not in STATIC_FILES:
            raise NotFoundError("no such file", "/")
        body = (STATIC / name).read_bytes()
        return Response(body, media_type=STATIC_FILES[name], headers={"Cache-Control": "no-cache"})

    async def _path(self, request: Request) -> str:
        path = await self._batches.path_of(id_of(request.path_params["key"]))
        if not path:
            raise NotFoundError("no indexed video has this key", "keys stand in the answers of /api/search")
        return path

    async def _found(self, request: Request) -> Answer | None:
        """The answer that an address asks for, a page of it; None where it asks for nothing."""
        query, like = _asked(request), _like(request)
        if not query.strip() and not like:
            return None
        how = _how(request)
        document = await (
            self._batches.like(id_of(like), PAGE, how) if like else self._batches.text(query, PAGE, how)
        )
        following, more = how["offset"] + PAGE, ""
        if len(document["hits"]) == PAGE and following <= FARTHEST:
            asked = [(name, value) for name, value in request.query_params.multi_items() if name != "offset"]
            more = "/?" + urlencode([*asked, ("offset", following)], errors="replace")
        return answer_of(document, _addresses, more)


def _asked(request: Request) -> str:
    query = request.query_params.get("q", "")
    if len(query) > LONGEST_QUERY:
        raise UsageError(f"the query is longer than {LONGEST_QUERY:,} characters", "ask for less")
    return query


def _how(request: Request) -> dict[str, Any]:
    """The settings of the search that the address names. Raises UsageError."""
    given = request.query_params
    sort, by, where = given.get("sort") or "score", given.get("by") or "video", given.get("where", "").strip()
    if sort not in SORTS or by not in UNITS:
        raise UsageError(f"sort is one of {', '.join(SORTS)}, and by one of {', '.join(UNITS)}", "sort=date")
    if len(where) > LONGEST_QUERY:
        raise UsageError(f"the filter is longer than {LONGEST_QUERY:,} characters", "ask for less")
    return {"sort": sort, "by": by, "where": where or None, "offset": _number(request, "offset", 0, 0, FARTHEST)}


def _like(request: Request) -> str:
    return request.query_params.get("like", "")


def _number(request: Request, name: str, usual: int, least: int, most: int) -> int:
    """A number of the address. Raises UsageError."""
    given = request.query_params.get(name, "")
    number = int(given) if given.isascii() and given.isdigit() and len(given) < 10 else usual if not given else -1
    if not least <= number <= most:
        raise UsageError(f"{name} is a number from {least} to {most:,}", f"{name}={usual}")
    return number


def _second(request: Request) -> float:
    """The second of the address, 0 without one. Raises UsageError."""
    try:
        second = float(request.query_params.get("t", "0"))
    except ValueError:
        second = math.nan
    if not 0 <= second <= MOST_SECONDS:
        raise UsageError("t is a second of the video", "t=12.5")
    return second


def _addresses(hit: dict[str, Any]) -> dict[str, str]:
    """Where a hit's film and pictures are on this server."""
    key, second = key_of(video_of(hit["id"])), hit.get("time_s") or 0
    return {
        "video": f"/media/{key}",
        "picture": f"/thumbnail/{key}?t={second}",
        "preview": f"/preview/{key}?t={second}",
        "like": f"/?like={key}",
    }


def _document(document: dict[str, Any]) -> Response:
    return _json({**document, "hits": [{**hit, "key": key_of(video_of(hit["id"]))} for hit in document["hits"]]})


def _json(document: dict[str, Any], status: int = 200) -> Response:
    """A document as JSON, in ASCII: names may hold bytes that are no UTF-8."""
    body = json.dumps(document, ensure_ascii=True, allow_nan=False, default=os.fspath)
    return Response(body, status, media_type="application/json")
