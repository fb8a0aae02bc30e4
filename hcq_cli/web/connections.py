"""The connections of a server: where no request comes whole in time, they are closed.

uvicorn waits forever for the end of a request that has begun, so that a few hundred such connections would leave a
process without files to open.
"""

from __future__ import annotations

from asyncio import Transport
from typing import TYPE_CHECKING

from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    from uvicorn.protocols.http.h11_impl import RequestResponseCycle

WHOLE_S = 10.0
"""In which a request comes, or the next one begins; a long answer may take its time."""


class Connection(H11Protocol):
    """A connection, which is looked at again and again."""

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        self.loop.call_later(WHOLE_S, self._look, self.cycle)

    def _look(self, before: RequestResponseCycle | None) -> None:
        """Close it if it has waited since it was looked at last, when `before` was its request."""
        is_waiting = self.cycle is None or self.cycle.response_complete
        if is_waiting and self.cycle is before:
            self.transport.close()
        elif not self.transport.is_closing():
            self.loop.call_later(WHOLE_S, self._look, self.cycle)
