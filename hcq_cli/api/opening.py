"""Workspaces opened: to search from Python or a notebook in two lines, with hits to see, and those at an address.

hcq.open(".hcq").search("a man cooking")
with hcq.mirrored("s3://bucket/ws") as workspace:
    hcq.update(workspace)
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from hcq_cli.api.answers import answer_document
from hcq_cli.api.progress import SILENT, Progress
from hcq_cli.api.searching import Searcher
from hcq_cli.errors import NotFoundError, needing
from hcq_cli.printable import whole_characters
from hcq_cli.search.params import SearchSettings
from hcq_cli.workspace import Workspace

if TYPE_CHECKING:
    import pyarrow

SHOWN = 24
"""Hits that a notebook shows as pictures."""


class FoundVideos(Sequence[dict[str, Any]]):
    """The hits of a search, best first, each as `hcq query --json` has it; a notebook shows their pictures.

    Args:
        document: the answer, as `answer_document` makes it.

    Attributes:
        document: the same.
    """

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document

    @overload
    def __getitem__(self, at: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, at: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, at: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        return self.document["hits"][at]  # type: ignore[no-any-return]

    def __len__(self) -> int:
        return len(self.document["hits"])

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.document["hits"])

    def __repr__(self) -> str:
        rows = [f"{hit['rank']:5}  {hit['score']:.3f}  {hit['id']!r}" for hit in self]
        note = [self.document["note"]] if "note" in self.document else []
        return "\n".join([f"{self.document['query']!r}: {len(self)} hits", *note, *rows])

    def _repr_html_(self) -> str:
        """What a notebook shows: thumbnails at the second that was found."""
        from hcq_cli.web.gallery import gallery_frame

        return gallery_frame({**self.document, "hits": self.document["hits"][:SHOWN]})

    def to_pandas(self) -> Any:
        """A pandas.DataFrame, a row a hit. Raises NotFoundError where pandas is not installed."""
        try:
            import pandas
        except ImportError:
            raise NotFoundError("pandas is not installed", "pip install pandas") from None
        return pandas.DataFrame(self._rows())

    def to_arrow(self) -> pyarrow.Table:
        """A row a hit. Raises NotFoundError where pyarrow is not installed."""
        with needing("pyarrow is not installed", "parquet"):
            import pyarrow
        return pyarrow.Table.from_pylist(self._rows())

    def to_parquet(self, path: str | PathLike[str]) -> None:
        """Write a row a hit into a Parquet file. Raises NotFoundError where pyarrow is not installed."""
        table = self.to_arrow()
        from pyarrow import parquet

        from hcq_cli.files import atomic_path

        with atomic_path(Path(path)) as temporary:
            parquet.write_table(table, temporary)

    def _rows(self) -> list[dict[str, Any]]:
        """The hits as rows of one table: text and numbers alone, and every column in every row."""
        rows = [{**hit, **hit.get("columns", {})} for hit in self]
        for row in rows:
            row.pop("columns", None)
            if "words" in row:
                row |= {"words": row["words"]["text"], "words_source": row["words"]["source"]}
            if "found_by" in row:
                row["found_by"] = ", ".join(row["found_by"])
        names = dict.fromkeys(name for row in rows for name in row)
        return [{name: _text(row.get(name)) for name in names} for row in rows]


def _text(value: Any) -> Any:
    # Bytes that are no UTF-8 fit no column of text; the hits themselves keep them.
    return whole_characters(value) if isinstance(value, str) else value


class OpenIndex:
    """An index to search; what `hcq.open` gives."""

    def __init__(self, searcher: Searcher) -> None:
        self._searcher = searcher

    def search(self, query: str, k: int = 10) -> FoundVideos:
        """What fits a text, best first. Raises HcqError as `Searcher.text`."""
        return FoundVideos(answer_document(self._searcher, self._searcher.text(query, k)))

    def like(self, item_id: str, k: int = 10) -> FoundVideos:
        """What is like an indexed video. Raises HcqError as `Searcher.like`."""
        return FoundVideos(answer_document(self._searcher, self._searcher.like(item_id, k)))

    def __len__(self) -> int:
        """How many videos can be found."""
        return self._searcher.collection.videos

    def __repr__(self) -> str:
        return f"<hcq index {str(self._searcher.collection.path)!r} of {len(self):,} {self._searcher.kind}>"


def open_workspace(path: str | PathLike[str] = ".hcq", **how: Any) -> OpenIndex:
    """Open a workspace, or the folder of an index, to search it: `hcq.open`.

    Args:
        how: fields of `SearchSettings`: where, sort, by, threads…

    Raises:
        NotFoundError: there is no index.
    """
    place = Path(path)
    index = place if any(place.glob("manifest-*.json")) else None
    return OpenIndex(Searcher(Workspace(place), SearchSettings(index=index, many=True, **how)))


@contextmanager
def mirrored(address: str, *, progress: Progress = SILENT) -> Iterator[Workspace]:
    """The workspace at an address that fsspec knows (s3://bucket/ws), to work in: what is newer there is fetched, and
    when the block ends well, what was changed is put there.

    Raises:
        UsageError: there is no such kind of address, or what it needs is not installed.
        LockedError: another machine has changed the same part of the workspace meanwhile.
        HcqError: the address cannot be reached or written.
    """
    yield fetched(address, None, progress)
    publish(address, progress)


def fetched(address: str, parts: Collection[str] | None, progress: Progress) -> Workspace:
    """The mirror of a workspace, brought up to date; arguments and errors are those of `Mirror.fetch`."""
    from hcq_cli.remote.mirror import Mirror

    mirror = Mirror.at(address)
    moved = mirror.fetch(parts)
    for warning in moved.warnings:
        progress.warn(warning)
    if moved.files:
        progress.note(f"fetched {moved}, from {mirror.address}")
    return Workspace(mirror.folder)


def publish(address: str, progress: Progress) -> None:
    """Put what was changed in the mirror of a workspace; errors are those of `Mirror.publish`."""
    from hcq_cli.remote.mirror import Mirror

    if (moved := Mirror.at(address).publish()).files:
        progress.note(f"put {moved}, to {address}")
