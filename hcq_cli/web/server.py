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
from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from hcq_cli.codes.ids import video_of
from hcq_cli.errors import HcqError, NotFoundError, UsageError
from hcq_cli.printable import printable
from hcq_cli.web.batches import Batches
from hcq_cli.web.cards import STATIC, Addresses, Answer, Card, answer_of, templates, title_and_folder
from hcq_cli.web.guard import Guard
from hcq_cli.web.media import MOST_SECONDS, Previews, Thumbnails, film_response, id_of, key_of

if TYPE_CHECKING:
    from hcq_cli.duplicates.groups import DuplicateGroup, Duplicates, Member

PAGE = 48
"""Hits a page."""
MOST_HITS = 500
"""Hits an answer of the API."""
FARTHEST = 10_000
"""How many hits can be paged through."""
GROUPS, MEMBERS = 50, 24
"""Groups of duplicates a page, and videos that it shows of each."""
LONGEST_QUERY = 2000
MOST_PARTS = 10
"""Examples of a query, and things that it is not to be like."""
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


def application(
    batches: Batches, duplicates: Callable[[], Duplicates], *, hosts: Sequence[str], token: str | None = None
) -> ASGIApp:
    """The application.

    Args:
        batches: what answers; entered already.
        duplicates: gives what `hcq dedupe` found last, or raises HcqError.
        hosts: names and addresses by which it may be asked.
        token: that is asked for; None on this machine's own address.
    """
    pages = _Pages(batches, duplicates)
    routes = [
        Route("/", _in_time(pages.page)),
        Route("/cards", _in_time(pages.cards)),
        Route("/duplicates", _in_time(pages.duplicates)),
        Route("/api/search", _in_time(pages.search)),
        Route("/api/similar/{key}", _in_time(pages.similar)),
        Route("/api/duplicates", _in_time(pages.duplicates_api)),
        Route("/api/stats", _in_time(pages.stats)),
        Route("/media/{key}", _in_time(pages.film)),
        Route("/thumbnail/{key}", _in_time(pages.thumbnail)),
        Route("/preview/{key}", _in_time(pages.preview, PREVIEW_DEADLINE_S)),
        Route("/static/{name}", _in_time(pages.static)),
    ]

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        with pages.thumbnails, pages.previews:
            yield

    app = Starlette(routes=routes, lifespan=lifespan, exception_handlers={HTTPException: _http_error})
    return Guard(app, hosts, token)


async def _http_error(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return _failed(request, HcqError(str(getattr(error, "detail", error))), status)


def _failed(request: Request, error: HcqError, status: int) -> Response:
    """What is wrong: as a page for who opened an address that is for one, else as JSON."""
    if "text/html" not in request.headers.get("accept", "") or request.url.path.startswith("/api/"):
        return _json({"error": error.message, "hint": error.hint}, status)
    page = templates().get_template("error.html")
    return HTMLResponse(page.render(error=_told(error)[0]), status)


def _in_time(handler: Handler, deadline_s: float = DEADLINE_S) -> Handler:
    """A handler that answers before its deadline, errors, too."""

    async def run(request: Request) -> Response:
        try:
            async with asyncio.timeout(deadline_s):
                return await handler(request)
        except TimeoutError:
            return _failed(request, HcqError("it took too long"), 408)
        except HcqError as error:
            return _failed(request, error, _status(error))

    return run


def _status(error: HcqError) -> int:
    return 404 if isinstance(error, NotFoundError) else 400 if isinstance(error, UsageError) else 503


def _told(error: HcqError) -> tuple[str, int]:
    """What a page says of an error, and its status."""
    message = error.message.removeprefix("--where: ")  # there are no options in a page
    return printable(f"{message}: {error.hint}" if error.hint else message), _status(error)


class _Pages:
    """The handlers."""

    def __init__(self, batches: Batches, duplicates: Callable[[], Duplicates]) -> None:
        self._duplicates = duplicates
        self._batches, self.thumbnails, self.previews = batches, Thumbnails(), Previews()

    async def page(self, request: Request) -> Response:
        """The page, with the answer in it if something is asked, or with what is wrong with the question."""
        facts, given = await self._batches.facts(), dict(request.query_params)
        found, likes, error, status = None, list[str](), "", 200
        try:
            likes = _likes(request)
            found, error = await self._found(request)
        except HcqError as problem:
            error, status = _told(problem)
        page = templates().get_template("page.html")
        asked = {"asked": given.get("q", ""), "given": given, "likes": [(key_of(id), printable(id)) for id in likes]}
        body = page.render(
            found=found, facts=facts, error=error, sorts=SORTS, units=UNITS, printable=printable, **asked
        )
        return HTMLResponse(body, status)

    async def cards(self, request: Request) -> Response:
        """The answer alone, for the script."""
        found, error = await self._found(request)
        return HTMLResponse(templates().get_template("found.html").render(found=found, error=error))

    async def search(self, request: Request) -> Response:
        """The JSON of `hcq query`, with a key for each hit."""
        found = await self._answer(_question(request), _number(request, "k", 10, 1, MOST_HITS))
        if found is None:
            raise UsageError("q is empty", "/api/search?q=a+man+cooking")
        return _document(found)

    async def similar(self, request: Request) -> Response:
        """What is like a video, by its key."""
        k = _number(request, "k", 10, 1, MOST_HITS)
        return _document(await self._batches.like([id_of(request.path_params["key"])], k, _how(request)))

    async def duplicates(self, request: Request) -> Response:
        """A page of groups of copies, and of videos that share a part."""
        page = templates().get_template("duplicates.html")
        try:
            groups, first = await self._groups(request)
        except HcqError as problem:
            error, status = _told(problem)
            not_yet = isinstance(problem, NotFoundError)  # which is no fault of the address
            return HTMLResponse(page.render(groups=[], count=0, links={}, error=error), 200 if not_yet else status)
        count, last = len(groups), min(first + GROUPS, len(groups))
        # Where the neighbouring pages begin, and the outermost.
        places = {
            "first": 0,
            "previous": max(0, first - GROUPS),
            "next": last,
            "last": (count - 1) // GROUPS * GROUPS,
        }
        links = {name: at for name, at in places.items() if (at < first or at >= last) and 0 <= at < count}
        shown = [(each, each.members[:MEMBERS]) for each in groups[first:last]]
        ids = {member.id for _, members in shown for member in members}
        paths = await asyncio.gather(*(self._batches.path_of(id) for id in ids))
        indexed = {id for id, path in zip(ids, paths, strict=True) if path}
        cards = [(each, [_of_member(one, one.id in indexed) for one in members]) for each, members in shown]
        return HTMLResponse(page.render(groups=cards, count=count, first=first, last=last, links=links, error=""))

    async def duplicates_api(self, request: Request) -> Response:
        """The JSON of `hcq dedupe`, with a key for each video."""
        groups, first = await self._groups(request)
        shown = [
            {**asdict(each), "members": [{**asdict(one), "key": key_of(one.id)} for one in each.members]}
            for each in groups[first : first + GROUPS]
        ]
        return _json({"groups": shown, "count": len(groups)})

    async def stats(self, request: Request) -> Response:
        """What is searched."""
        return _json(await self._batches.facts())

    async def film(self, request: Request) -> Response:
        """The file of a video, in ranges."""
        return await asyncio.to_thread(film_response, await self._path(request))

    async def thumbnail(self, request: Request) -> Response:
        """The picture at the second `t`."""
        second = _second(request)
        path = await self._batches.path_of(id_of(request.path_params["key"]))
        return await self.thumbnails.response(path, second)

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

    async def _found(self, request: Request) -> tuple[Answer | None, str]:
        """The answer that an address asks for, a page of it; None where it asks for nothing, or else why there is
        none: what somebody is still typing, half a filter, is no fault that a browser should note."""
        question = _question(request)
        try:
            document = await self._answer(question, PAGE)
        except (UsageError, NotFoundError) as problem:
            return None, _told(problem)[0]
        if document is None:
            return None, ""
        following, more = _number(request, "offset", 0, 0, FARTHEST) + PAGE, ""
        if len(document["hits"]) == PAGE and following <= FARTHEST:
            asked = [(name, value) for name, value in request.query_params.multi_items() if name != "offset"]
            more = "/?" + urlencode([*asked, ("offset", following)], errors="replace")
        return answer_of(document, _addresses(request), more), ""

    async def _answer(self, asked: _Asked, k: int) -> dict[str, Any] | None:
        """The answer to a text, to examples, or to both with what it is not to be; None where nothing is asked."""
        query, likes, unlike, how = asked
        if not query.strip() and not likes:
            return None
        if not likes and not unlike:
            return await self._batches.text(query, k, how)
        return await self._batches.like(likes, k, how, text=query, unlike=unlike)

    async def _groups(self, request: Request) -> tuple[Sequence[DuplicateGroup], int]:
        """All groups of duplicates, and the first that is asked for."""
        found = await asyncio.to_thread(self._duplicates)  # a large file, and none of the searcher's
        return found.groups, _number(request, "offset", 0, 0, max(0, len(found.groups) - 1))


_Asked = tuple[str, list[str], list[str], dict[str, Any]]
"""A text, ids of examples, what it is not to be like, and the settings of the search."""


def _question(request: Request) -> _Asked:
    """What an address asks for. Raises UsageError and NotFoundError where it makes no sense."""
    query = request.query_params.get("q", "")
    if len(query) > LONGEST_QUERY:
        raise UsageError(f"the query is longer than {LONGEST_QUERY:,} characters", "ask for less")
    return query, _likes(request), _parts(request, "not"), _how(request)


def _how(request: Request) -> dict[str, Any]:
    """The settings of the search that the address names. Raises UsageError."""
    given = request.query_params
    sort, by, where = given.get("sort") or "score", given.get("by") or "video", given.get("where", "").strip()
    if sort not in SORTS or by not in UNITS:
        raise UsageError(f"sort is one of {', '.join(SORTS)}, and by one of {', '.join(UNITS)}", "sort=date")
    if len(where) > LONGEST_QUERY:
        raise UsageError(f"the filter is longer than {LONGEST_QUERY:,} characters", "ask for less")
    return {"sort": sort, "by": by, "where": where or None, "offset": _number(request, "offset", 0, 0, FARTHEST)}


def _likes(request: Request) -> list[str]:
    """Ids of the examples that an address names by their keys, each once. Raises UsageError."""
    return list(dict.fromkeys(id_of(key) for key in _parts(request, "like")))


def _parts(request: Request, name: str) -> list[str]:
    """Values that an address may give several times, those that say nothing left out. Raises UsageError."""
    given = [value for value in request.query_params.getlist(name) if value.strip()]
    if len(given) > MOST_PARTS or any(len(value) > LONGEST_QUERY for value in given):
        raise UsageError(f"at most {MOST_PARTS} {name}, each of at most {LONGEST_QUERY:,} characters", f"{name}=…")
    return given


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


def _addresses(request: Request) -> Addresses:
    """Where hits' films and pictures are on this server, and searches that go on from a hit."""
    asked = [(name, value) for name, value in request.query_params.multi_items() if name != "offset" and value]

    def addresses(hit: dict[str, Any]) -> dict[str, str]:
        key = key_of(video_of(hit["id"]))
        add = "/?" + urlencode([*asked, ("like", key)], errors="replace") if asked else ""
        return {**_media(key, hit.get("time_s") or 0), "like": f"/?like={key}", "add": add}

    return addresses


def _media(key: str, second: float) -> dict[str, str]:
    """Where a film, its picture and what any browser plays of it are."""
    return {
        "video": f"/media/{key}",
        "picture": f"/thumbnail/{key}?t={second}",
        "preview": f"/preview/{key}?t={second}",
    }


def _of_member(member: Member, indexed: bool) -> Card:
    """The card of a duplicate; one that is not in the index is named, and no more."""
    media = _media(key_of(member.id), member.start_s or 0) if indexed else {"video": ""}
    title, folder = title_and_folder(member.id)
    shown = {"title": title, "folder": folder, "path": printable(member.path), **media}
    return Card(0, start_s=member.start_s, end_s=member.end_s, **shown)  # type: ignore[arg-type]


def _document(document: dict[str, Any]) -> Response:
    return _json({**document, "hits": [{**hit, "key": key_of(video_of(hit["id"]))} for hit in document["hits"]]})


def _json(document: dict[str, Any], status: int = 200) -> Response:
    """A document as JSON, in ASCII: names may hold bytes that are no UTF-8."""
    body = json.dumps(document, ensure_ascii=True, allow_nan=False, default=os.fspath)
    return Response(body, status, media_type="application/json")
