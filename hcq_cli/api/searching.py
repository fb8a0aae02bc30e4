"""An index and a question -> hits: `hcq query`.

One `Searcher` serves the command line, a program, and whatever shows hits: it decides which index is opened, what
encodes the queries, and where an id lies.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hcq_cli.api.progress import SILENT, Progress
from hcq_cli.errors import HcqError, NotFoundError, ReplacedError, UsageError
from hcq_cli.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hcq_cli.search.composing import ComposedSearch
    from hcq_cli.search.index import Index
    from hcq_cli.search.query import QueryResult
    from hcq_cli.search.searchable import SearchableCodes, SearchParams
    from hcq_cli.search.text_encoder import TextEncoder
    from hcq_cli.search.video_query import VideoQuery
    from hcq_cli.words.asked import AskedWords

KINDS = ("videos", "texts")
UNITS = ("video", "segment")
SORTS = ("score", "date", "path", "duration")
TRIES = 3
"""To open an index that others build anew at the same moment."""


@dataclass(frozen=True)
class SearchSettings:
    """What is searched, and how hard.

    Args:
        index: the index's folder; default: the workspace's.
        codes: a code file to search instead, without an index.
        find: "videos" or "texts"; None for what the index holds.
        checkpoint: the model that encodes the queries; default: the text side in the index, else the model that made
            the codes.
        threads: cores to scan with; default: all.
        nprobe: lists of an IVF index to look into; default: those that come near the best.
        exact: look into all lists.
        device: scan on a device of torch: for many queries.
        many: queries will keep coming, so that preparing for them pays.
        by: "video": each comes once, by its best moment or as a whole; or "segment": the moments of all videos.
        on: "ray", "ray:HOST:PORT" or "ray:local": processes of a Ray cluster scan the index, each a group of its
            segments.
        partial: with `on`, whether an answer that lacks a group is better than none; its note then says so.
        where: a filter over the columns of the index (`hcq_cli.columns.grammar`): only what passes is ranked.
        sort: the order of the hits, one of `SORTS`: the best are found first, and then put in order.
        offset: so many of the best hits are left out.
        columns: what is told of each hit, names of columns of the index.
    """

    index: Path | None = None
    codes: Path | None = None
    find: str | None = None
    checkpoint: Path | None = None
    threads: int | None = None
    nprobe: int | None = None
    exact: bool = False
    device: str | None = None
    many: bool = False
    by: str = "video"
    on: str | None = None
    partial: bool = False
    where: str | None = None
    sort: str = "score"
    offset: int = 0
    columns: Sequence[str] = ()

    def check(self) -> None:
        """Raise UsageError where one of them is not known, or two exclude each other."""
        if self.find not in (None, *KINDS):
            raise UsageError(f"--find {self.find}: it is videos or texts", "hcq query --video FILE --find texts")
        if self.by not in UNITS:
            raise UsageError(f"--by {self.by}: it is {' or '.join(UNITS)}", "hcq query TEXT --by segment")
        if self.codes is not None and self.index is not None:
            raise UsageError("--codes and --index exclude each other")
        if self.nprobe is not None and self.exact:
            raise UsageError("--probe and --exact exclude each other")
        if self.sort not in SORTS:
            raise UsageError(f"--sort {self.sort}: known are {', '.join(SORTS)}")
        if self.offset < 0:
            raise UsageError(f"--offset {self.offset}: hits are counted from 0")


class Searcher:
    """Answers queries from the newest generation of an index: a new one is noticed at the next query.

    Args:
        workspace: whose index is searched.
        settings: a `SearchSettings`.

    Raises:
        NotFoundError: there is no index; the hint says what makes one.
        DamagedError: it is damaged, foreign, or of a newer hcq.
        UsageError: the settings contradict each other, or the index.
    """

    def __init__(self, workspace: Workspace, settings: SearchSettings | None = None) -> None:
        self.workspace, self.settings = workspace, settings or SearchSettings()
        self.settings.check()
        self._engine = ExitStack()
        self.collection: SearchableCodes = self._open()
        self._encoder: TextEncoder | None = None
        self._shown: Sequence[str] = ()
        self._searched = self._filtered()

    def close(self) -> None:
        """End what was started elsewhere (`SearchSettings.on`), which ends with this process otherwise."""
        self._engine.close()

    def prepare(self) -> None:
        """Load what encodes texts, so that the first query need not wait for it; nothing where there is none."""
        with suppress(HcqError):
            self._ready_encoder()

    @property
    def kind(self) -> str:
        """What is found: "videos" or "texts"."""
        return self.collection.header.kind

    @property
    def lists(self) -> int:
        """How many lists the index is cut into; 0 where all of it is scanned."""
        partition = self.collection.ivf
        return partition.lists if partition is not None else 0

    def text(self, query: str, k: int = 10) -> QueryResult:
        """What fits a text, best first. Raises as `texts`, and UsageError where there is no word in it."""
        from hcq_cli.search.query import NO_WORD
        from hcq_cli.search.word_search import ONLY_EXCLUDED

        answer = self.texts([query], k)[0]
        if answer.note in (NO_WORD, ONLY_EXCLUDED):
            raise UsageError(answer.note, 'hcq query "a man cooking -pan"')
        return answer

    def texts(self, queries: Sequence[str], k: int = 10) -> list[QueryResult]:
        """Answer texts: by what the model sees and hears, and by what is said, shown and told (words/asked.py).

        Raises:
            UsageError: a query is blank or says only what must not occur, or k is less than 1.
            NotFoundError: nothing here can encode a text for this index.
            ModelMismatchError: the checkpoint asked for is of another model.
        """
        from hcq_cli.words.asked import asked_words

        asked = [asked_words(query) for query in queries] if self.kind == "videos" else []
        # Before anything of a generation is looked at: it may open a newer one, and phrases alone need no model.
        if not asked or any(each.rest for each in asked):
            self._ready_encoder()
        else:
            self.refresh()
        wanted = k + self.settings.offset
        if any(each.exact for each in asked) or getattr(self.collection, "sentences", False):
            answers = self._answers(queries, asked, wanted)
        else:
            answers = self._model_answers(self._searched, queries, wanted)
        return [self._arranged(answer) for answer in answers]

    def _model_answers(self, collection: SearchableCodes, queries: Sequence[str], k: int) -> list[QueryResult]:
        """What the model, which is ready, finds in a collection; errors are those of `texts`."""
        from hcq_cli.search.query import search_texts

        assert self._encoder is not None
        return search_texts(collection, self._encoder, queries, k, threads=self._threads, params=self._params)

    def _answers(self, queries: Sequence[str], asked: Sequence[AskedWords], k: int) -> list[QueryResult]:
        """Answer texts by the model and by words: together what only the model can answer."""
        from hcq_cli.search.word_search import WordSearch

        search = WordSearch(self._searched, self._model_answers, vector=self._sentence_vector)
        answers = [search.answer(query, each, k) for query, each in zip(queries, asked, strict=True)]
        plain = [query for query, answer in zip(queries, answers, strict=True) if answer is None]
        rest = iter(self._model_answers(self._searched, plain, k) if plain else ())
        return [next(rest) if answer is None else answer for answer in answers]

    def _sentence_vector(self, text: str) -> NDArray[np.float32]:
        """A text as captions and names are compared with it, float32 [W]."""
        from hcq_cli.search.sentence_vectors import unit_vectors

        assert self._encoder is not None
        return unit_vectors([text], self._encoder)[0]

    def like(self, item_id: str, k: int = 10) -> QueryResult:
        """What is like an indexed video, segment or caption.

        Raises:
            NotFoundError: no such id; the hint names those near it.
            ModelMismatchError: it lies in an index of another model.
        """
        from hcq_cli.search.query import search_like

        self.refresh()
        source = self._holder(item_id)
        wanted = k + self.settings.offset
        return self._arranged(
            search_like(self._searched, item_id, wanted, source=source, threads=self._threads, params=self._params)
        )

    def composed(
        self, text: str = "", k: int = 10, *, likes: Sequence[str] = (), unlike: Sequence[str] = ()
    ) -> QueryResult:
        """What fits several things at once (`hcq_cli.search.composing`): words, examples, and what it is not to be.

        Args:
            text: what to look for; quotes and dashes in it are heeded as in `text`.
            k: how many hits.
            likes: ids that hits should be like; they are no hits themselves. `ID^2` counts twice.
            unlike: texts that hits should not be like; `TEXT^2` counts twice.

        Raises:
            NotFoundError: no such id, or nothing here can encode a text for this index.
            ModelMismatchError: an example lies in an index of another model.
            UsageError: nothing is looked for, or a text holds no word.
        """
        import numpy as np

        from hcq_cli.search.composing import NOT_LOOKED_FOR, ComposedSearch, weighted
        from hcq_cli.search.query import item_levels, own_hits, without_items

        if not text.strip() and not likes:
            raise UsageError(NOT_LOOKED_FOR, 'hcq query "a beach" --not "people"')
        examples_asked, against = [weighted(each) for each in likes], [weighted(each) for each in unlike]
        if not all(each.strip() for each, _ in against):
            raise UsageError("--not: the text is empty", 'hcq query "a beach" --not "people"')
        self.refresh()
        encoder = self._ready_encoder() if text.strip() or unlike else None
        ids = [item_id for item_id, _ in examples_asked]
        sources = [self._holder(item_id) for item_id in ids]
        found = [item_levels(source, each, self._searched) for source, each in zip(sources, ids, strict=True)]
        header, by = self.collection.header, self.settings.by
        examples = np.concatenate([np.empty((0, header.levels, header.D), np.float32), *(each for _, each in found)])
        weights = [weight for _, weight in examples_asked]
        search = ComposedSearch(examples, weights, against, encoder, threads=self._threads, params=self._params)
        names = [name for name, _ in found]
        wanted = k + self.settings.offset
        own = sum(own_hits(source, name, by) for source, name in zip(sources, names, strict=True))
        answer = replace(self._composed_answer(search, text, wanted + own), query=text or ", ".join(names))
        return self._arranged(without_items(answer, names, by, wanted))

    def _composed_answer(self, search: ComposedSearch, text: str, k: int) -> QueryResult:
        """What a composed search finds, by the words of its text, too."""
        from hcq_cli.search.word_search import ONLY_EXCLUDED, WordSearch
        from hcq_cli.words.asked import asked_words

        asked = asked_words(text)
        if asked.exact and not asked.phrases and not asked.rest and not len(search.examples):
            raise UsageError(ONLY_EXCLUDED, 'hcq query "a man cooking -pan"')
        answer = None
        if self.kind == "videos" and (asked.exact or (text and getattr(self.collection, "sentences", False))):
            vector = self._sentence_vector if text.strip() else None
            answer = WordSearch(self._searched, search.answers, always=True, vector=vector).answer(text, asked, k)
        return answer or search.answers(self._searched, [text], k)[0]

    def video(
        self,
        path: str | PathLike[str],
        k: int = 10,
        *,
        experts: Sequence[str] = (),
        progress: Progress = SILENT,
    ) -> tuple[QueryResult, VideoQuery]:
        """What fits a video file, indexed or not: the model's own experts look at it first.

        Args:
            path: the file.
            k: how many hits.
            experts: `name=source` of experts that are files of one's own.
            progress: told of warnings.

        Returns:
            the answer, and how the video was turned into vectors.

        Raises:
            NotFoundError: no such file, no checkpoint, or an expert is not on this machine.
            UsageError: the experts here are not those of the model.
            HcqError: the file gives nothing.
        """
        from hcq_cli.search.query import search_levels

        self.refresh()
        seen = self._encode_video(Path(path), experts, progress)
        wanted = k + self.settings.offset
        answers = search_levels(
            self._searched, [str(path)], seen.levels, wanted, threads=self._threads, params=self._params
        )
        return self._arranged(answers[0]), seen

    @property
    def outdated(self) -> str:
        """What is to be said where the workspace's codes were made anew since its index was; empty where not."""
        from hcq_cli.codes.codefile import relative_to
        from hcq_cli.codes.container import read_digest
        from hcq_cli.search.index import Index

        codes, index = self.workspace.codes, self.collection
        if not isinstance(index, Index) or index.path != self.workspace.index or not codes.is_file():
            return ""
        made_of = index.manifest.sources.get(relative_to(str(codes), index.path))
        same = made_of is None or read_digest(codes) == made_of
        return "" if same else f"{index.path}: made of older codes than {codes} holds now: hcq index build"

    def refresh(self) -> bool:
        """Open the index's newest generation, and its text side, if there is a newer one than that which is open.

        Returns:
            whether there was.
        """
        from hcq_cli.search.index import Index

        if not isinstance(self.collection, Index) or self.collection.is_newest():  # a code file has no generations
            return False
        # Codes and text side are replaced together: one generation never answers for another's model.
        self._engine.close()
        before, self.collection, self._encoder = self.collection, self._open(), None
        try:
            self._searched = self._filtered()
        except Exception:  # a column of the filter is gone: the next query, too, is to be told so
            self.collection = before
            raise
        return True

    def change(self, **settings: Any) -> None:
        """Go on with other settings of how to search (by, where, sort, offset, columns, nprobe, exact).

        Raises:
            UsageError: one of them is not known, or the filter cannot be read.
        """
        changed = replace(self.settings, **settings)
        if changed != self.settings:
            changed.check()
            before, self.settings = self.settings, changed
            try:
                self._searched = self._filtered()
            except Exception:  # else the same filter, asked for again, would count as set
                self.settings = before
                raise

    def _filtered(self) -> SearchableCodes:
        """What is searched: of an index what passes the filter."""
        from hcq_cli.search.filtered import FilteredIndex
        from hcq_cli.search.index import Index

        wanted = self.settings
        needs = wanted.where is not None or wanted.sort in ("date", "duration") or wanted.columns
        if not needs:
            return self.collection
        if not isinstance(self.collection, Index):
            raise UsageError(
                "only an index on this machine has columns to filter or sort by, no code file", "hcq index build"
            )
        self._shown = self.collection.columns.check_names(wanted.columns)
        return (
            self.collection
            if wanted.where is None
            else FilteredIndex(self.collection, self.collection.columns.passing(wanted.where))
        )

    def _arranged(self, answer: QueryResult) -> QueryResult:
        """An answer without the hits before the offset, in the order asked for, each with the columns asked for."""
        from hcq_cli.search.arranging import arranged

        wanted = self.settings
        page = arranged(
            self._searched, answer, offset=wanted.offset, sort=wanted.sort, columns=self._shown, where=wanted.where
        )
        return self._with_gaps(page)

    @property
    def _threads(self) -> int:
        from hcq_cli.cores import cores

        return 1 if self.settings.device else self.settings.threads or cores()

    @property
    def _params(self) -> SearchParams:
        from hcq_cli.search.searchable import SearchParams

        wanted = self.settings
        kernel = f"torch:{wanted.device}" if wanted.device else None
        return SearchParams(wanted.nprobe, wanted.exact, kernel, wanted.by)

    def _open(self) -> SearchableCodes:
        """The code file or index asked for; of texts the workspace's other index."""
        from hcq_cli.search.index import Index
        from hcq_cli.search.searchable import SearchableCodeFile

        wanted = self.settings
        opened: SearchableCodes
        if wanted.codes is not None:
            opened = SearchableCodeFile(wanted.codes)
        elif wanted.index is not None or wanted.find != "texts":
            opened = Index.open(wanted.index or self.workspace.index)
        else:
            opened = self._open_texts()
        held = opened.header.kind
        if wanted.find is not None and held != wanted.find:
            raise UsageError(f"{opened.path} holds {held}, no {wanted.find}", f"--find {held}")
        if wanted.on is not None:
            if not isinstance(opened, Index):
                raise UsageError("--on searches an index, --codes is none", "hcq index build")
            from hcq_cli.engines.ray_search import search_on_ray

            return self._engine.enter_context(search_on_ray(wanted.on, opened, partial=wanted.partial))
        return opened

    def _with_gaps(self, answer: QueryResult) -> QueryResult:
        """An answer that says which part of the index it lacks, if any."""
        missing = getattr(self.collection, "missing", [])
        if not missing:
            return answer
        count = getattr(self.collection, "missing_rows", 0)
        lost = ", ".join(f"{group.start}-{group.stop - 1}" for group in missing)
        return replace(answer, note=f"partial: not searched are {count} rows, the segments {lost} of the index")

    def _open_texts(self) -> Index:
        from hcq_cli.search.index import Index

        places = self.workspace
        try:
            return Index.open(places.texts_index)
        except NotFoundError:
            first = "" if places.texts.is_file() else "hcq encode --texts captions.jsonl, then: "
            message = f"{places.texts_index}: no index of sentences there"
            raise NotFoundError(message, f"{first}hcq index build {places.texts}") from None

    def _ready_encoder(self) -> TextEncoder:
        """What encodes the queries, loaded, of the generation that is open: the newest.

        The weights of a text side are opened by their name, a moment after its graph. Whoever builds the index anew
        in that moment takes the file away: then that newer index is opened, and neither mixed nor given up.
        """
        for more_tries in reversed(range(TRIES)):
            self.refresh()
            try:
                if self._encoder is None:
                    self._encoder = self._text_encoder()
                self._encoder.prepare()
                return self._encoder
            except (NotFoundError, ReplacedError):
                self._encoder = None
                if not more_tries:
                    raise
        raise AssertionError("the last try returns or raises")

    def _text_encoder(self) -> TextEncoder:
        """What encodes the queries: the checkpoint asked for, or the text side of the index, or the codes' model."""
        from hcq_cli.search.index import Index
        from hcq_cli.search.text_encoder import open_checkpoint_encoder, open_text_encoder

        if self.settings.checkpoint is not None:
            return open_checkpoint_encoder([self.settings.checkpoint])
        collection = self.collection
        if collection.header.kind == "texts":  # the index of the videos has the text side of the same model
            with suppress(HcqError):
                videos = Index.open(self.workspace.index)
                if videos.header.model_hash == collection.header.model_hash:
                    collection = videos
        many = self.settings.many
        return open_text_encoder(
            collection, [self.workspace.model], lasting=many, threads=self._threads if many else 1
        )

    def _holder(self, item_id: str) -> SearchableCodes:
        """Where an id lies: in what is searched, or else in the workspace's index of videos or of texts."""
        from hcq_cli.search.index import Index
        from hcq_cli.search.query import locate

        if locate(self.collection, item_id)[1]:
            return self.collection
        for folder in (self.workspace.index, self.workspace.texts_index):
            with suppress(NotFoundError):
                other = Index.open(folder)
                if locate(other, item_id)[1]:
                    return other
        return self.collection

    def _encode_video(self, path: Path, experts: Sequence[str], progress: Progress) -> VideoQuery:
        """The vectors of a video, by the model of the collection."""
        from hcq_cli.search.query import check_model
        from hcq_cli.search.text_encoder import open_checkpoint_encoder
        from hcq_cli.search.video_query import encode_video

        asked = self.settings.checkpoint
        places = [asked] if asked else [*self.collection.checkpoints, self.workspace.model]
        encoder = open_checkpoint_encoder(places, self.collection.header.model_hash)
        check_model(encoder, self.collection)
        with progress.progress("extract", total=None, unit="videos"):
            seen = encode_video(encoder.source, path, experts)
        for warning in seen.warnings:
            progress.warn(f"{path}: {warning}")
        return seen
