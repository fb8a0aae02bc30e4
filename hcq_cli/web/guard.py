"""Who may ask what of the server: before any request reaches it.

A page of some other site that is open in the same browser can send requests to 127.0.0.1, too. So requests count only
if they are for this very server (Host; a name that was made to point here is refused) and come from its own pages
(Origin, Sec-Fetch-Site). On another address than this machine's own a token is asked for.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from http.cookies import CookieError, SimpleCookie
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.responses import JSONResponse, RedirectResponse, Response

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "hcq_token"
EVERYWHERE = ("0.0.0.0", "::")
"""Addresses to listen on for all that a machine has."""
LONGEST_ADDRESS = 8192
A_SECOND, AT_ONCE = 50.0, 200.0
"""Requests from another machine: on average, and those that may come at once."""
MOST_CLIENTS = 4096
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; media-src 'self'; style-src 'self'; "
    "script-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""On every answer."""


class Guard:
    """An ASGI application before another.

    Args:
        app: the other.
        hosts: names and addresses by which the server may be asked; where one is of `EVERYWHERE`, by any address.
        token: that is asked for; None on this machine's own address.
    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str], token: str | None) -> None:
        self._app, self._hosts, self._token = app, frozenset(map(str.lower, hosts)), token
        self._everywhere = not self._hosts.isdisjoint(EVERYWHERE)
        self._left: dict[str, tuple[float, float]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what is refused, and hand on the rest."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # a web socket, where a library for them is installed
            await send({"type": "websocket.close", "code": 1008})
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        refusal = self._refusal(scope)
        await (refusal or self._app)(scope, receive, with_headers)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if scope["method"] not in ("GET", "HEAD"):
            return _refused(405, "only GET is answered", {"Allow": "GET, HEAD"})
        if "transfer-encoding" in headers or set(headers.getlist("content-length")) - {"0"}:
            return _refused(413, "nothing is read but the address", {"Connection": "close"})
        if len(scope.get("raw_path", b"")) + len(scope["query_string"]) > LONGEST_ADDRESS:
            return _refused(414, "the address is too long")
        if not self._is_host(headers.getlist("host")):
            return _refused(421, "the server was not started for this Host")
        if not _is_own(scope, headers):
            return _refused(403, "the request comes from another site's page")
        if self._token is None:
            return None
        if not self._in_time((scope.get("client") or ("", 0))[0]):
            return _refused(429, "too many requests", {"Retry-After": "1"})
        return self._without_token(scope, headers, self._token)

    def _is_host(self, named: Sequence[str]) -> bool:
        """Whether a request is for one of the names, with a port or without, and names nothing else."""
        given = _address(f"//{named[0]}") if len(named) == 1 else None
        if given is None or given.netloc != named[0]:
            return False
        with suppress(ValueError):  # it is no address
            # Nobody can make an address point elsewhere, as they can a name.
            return given.hostname in self._hosts or (self._everywhere and bool(ip_address(given.hostname or "")))
        return False

    def _in_time(self, client: str) -> bool:
        """Whether a client has requests left; they come back with time."""
        now = time.monotonic()
        if len(self._left) > MOST_CLIENTS:
            self._left.clear()
        left, since = self._left.get(client, (AT_ONCE, now))
        left = min(AT_ONCE, left + (now - since) * A_SECOND)
        self._left[client] = (max(left - 1, 0.0), now)
        return left >= 1

    def _without_token(self, scope: Scope, headers: Headers, token: str) -> Response | None:
        """What a request without the token gets; of an address that has it, a cookie takes the place."""
        given = QueryParams(scope["query_string"])
        if _same(given.get("token", ""), token):
            left = urlencode([(name, value) for name, value in given.multi_items() if name != "token"])
            answer = RedirectResponse(scope["path"] + (f"?{left}" if left else ""), 303)
            answer.set_cookie(COOKIE, token, httponly=True, samesite="strict")
            return answer
        cookies = SimpleCookie()
        try:
            cookies.load(headers.get("cookie", ""))
        except CookieError:
            cookies.clear()
        in_cookie = cookies[COOKIE].value if COOKIE in cookies else ""
        if _same(in_cookie, token) or _same(headers.get("authorization", ""), f"Bearer {token}"):
            return None
        return _refused(
            401, "a token is asked for: open the address that hcq serve printed", {"WWW-Authenticate": "Bearer"}
        )


def _is_own(scope: Scope, headers: Headers) -> bool:
    """Whether a request comes from a page of this server, or from none: typed, a bookmark, a link, a program."""
    origins = [_address(origin) for origin in headers.getlist("origin")]
    if any(origin is None or origin.netloc != headers["host"] for origin in origins):
        return False
    # A link to a search may stand anywhere: it opens a page of ours, and no other page can look into that.
    is_link = headers.get("sec-fetch-mode") == "navigate" and scope["path"] == "/"
    return is_link or set(headers.getlist("sec-fetch-site")) <= {"none", "same-origin"}


def _address(given: str) -> SplitResult | None:
    """An address in its parts; None where it is none, or one that names a person, too."""
    try:
        parts = urlsplit(given)
        return parts if parts.port != 0 and "@" not in parts.netloc else None  # looking at the port checks it
    except ValueError:
        return None


def _same(given: str, wanted: str) -> bool:
    return secrets.compare_digest(given.encode("utf-8", "surrogatepass"), wanted.encode())


def _refused(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": message}, status, headers)
