"""How a path of a mirror is told to other machines: each has a mirror of its own, in a folder of its own."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from os import fspath
from pathlib import Path

from hcq_cli.errors import HcqError
from hcq_cli.remote.mirror import Mirror
from hcq_cli.remote.mirror_files import part_of

ARRIVE_S = 24 * 3600.0
"""How long a worker waits for another one of its machine that fetches, seconds: all features may take hours."""
KEEP_S = 60.0
"""How often a long run puts what it has finished, seconds."""

Place = tuple[str, str]
"""An address and a path in that workspace; or no address, and a path that is the same on all machines."""


def mirror_of(path: Path) -> Mirror | None:
    """The mirror that a path lies in, of those that this process works in."""
    real = path.resolve()
    return next((each for each in Mirror.opened.values() if real.is_relative_to(each.folder.resolve())), None)


def sent(*paths: Path) -> list[Place]:
    """Paths as other machines understand them; what was changed in a mirror is put, so that they can fetch it.

    Raises:
        HcqError: as `Mirror.publish`.
    """
    mirrors = [mirror_of(path) for path in paths]
    for mirror in {id(each): each for each in mirrors if each is not None}.values():
        mirror.publish()
    return [
        ("", fspath(path.resolve()))
        if mirror is None
        else (mirror.address, path.resolve().relative_to(mirror.folder.resolve()).as_posix())
        for path, mirror in zip(paths, mirrors, strict=True)
    ]


def arrived(places: Iterable[Place]) -> list[Path]:
    """Where places of other machines lie on this one; what is newer of them is fetched.

    Raises:
        HcqError: as `Mirror.fetch`.
    """
    places = list(places)
    for address in {address for address, _ in places if address}:
        Mirror.at(address).fetch({part_of(path) for at, path in places if at == address}, wait_s=ARRIVE_S)
    return [Mirror.at(address).folder / path if address else Path(path) for address, path in places]


@contextmanager
def _here(place: Place) -> Iterator[Path]:
    """The file of a place, or of one at an address where its copy lies, while the block runs."""
    address, path = place
    if not address:
        yield Path(path)
        return
    with tempfile.TemporaryDirectory(prefix="hcq-") as folder:
        yield Path(folder) / Path(path).name


@contextmanager
def put_back(place: Place) -> Iterator[Path]:
    """Where to write a file that another machine will take (`Mirror.take`); it is put when the block ends well."""
    address, path = place
    with _here(place) as made:
        yield made
        if address:
            Mirror.at(address).put(made, path)


@contextmanager
def taken(place: Place) -> Iterator[Path]:
    """A file that another machine has put (`Mirror.put`), while the block runs."""
    address, path = place
    with _here(place) as target:
        if address and not Mirror.at(address).get(path, target):
            raise HcqError(f"{address}: {path} is no longer there", "run the same command again")
        yield target


class Keeping:
    """Puts what a long run has finished, now and then, where its store lies in a mirror.

    Args:
        store: the feature store.

    Attributes:
        mirror: that it lies in, if any.
    """

    def __init__(self, store: Path) -> None:
        self.mirror, self._last = mirror_of(store), time.monotonic()

    def __call__(self) -> None:
        """To be called after each step. What cannot be put now lies here, and is put the next time."""
        if self.mirror is not None and time.monotonic() - self._last > KEEP_S:
            with suppress(HcqError):
                self.mirror.keep()
            self._last = time.monotonic()
