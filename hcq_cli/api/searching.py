"""An index and a question -> hits: `hcq query`.

One `Searcher` serves the command line, a program, and whatever shows hits. What it opens for that is searched.py's.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hcq_cli.api.progress import SILENT, Progress
from hcq_cli.api.searched import check_settings, holder_of, open_encoder, open_searched, what_passes
from hcq_cli.errors import HcqError, NotFoundError, ReplacedError, UsageError
from hcq_cli.search.params import SearchSettings
from hcq_cli.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hcq_cli.search.index import Index
    from hcq_cli.search.query import QueryResult
    from hcq_cli.search.text_encoder import TextEncoder
    from hcq_cli.search.video_query import VideoQuery

TRIES = 3
"""To open an index that others build anew at the same moment."""


class Searcher:
    """Answers queries from the newest generation of an index: a new one is noticed at the next query.

    Args:
        settings: a `SearchSettings`.

    Raises:
        NotFoundError: there is no index; the hint says what makes one.
        DamagedError: it is damaged, foreign, or of a newer hcq.
        UsageError: the settings contradict each other, or the index.
    """

    def __init__(self, workspace: Workspace, settings: SearchSettings | None = None) -> None:
        self.workspace, self.settings = workspace, settings or SearchSettings()
        check_settings(self.settings)
        self._engine = ExitStack()
        self.collection: Index = open_searched(workspace, self.settings, self._engine)
        self._encoder: TextEncoder | None = None
        self._searched, self._shown = what_passes(self.collection, self.settings)

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
        from hcq_cli.words.tokens import ONLY_EXCLUDED

        answer = self.texts([query], k)[0]
        if answer.note in (NO_WORD, ONLY_EXCLUDED):
            raise UsageError(answer.note, 'hcq query "a man cooking -pan"')
        return answer

    def texts(self, queries: Sequence[str], k: int = 10) -> list[QueryResult]:
        """Answer texts: by what the model sees and hears, and by what is said, shown and told (words/tokens.py).

        Raises:
            UsageError: a query is blank or says only what must not occur, or k is less than 1.
            NotFoundError: nothing here can encode a text for this index.
            ModelMismatchError: the checkpoint asked for is of another model.
        """
        from hcq_cli.words.tokens import asked_words

        asked = [asked_words(query) for query in queries] if self.kind == "videos" else []
        # Before anything of a generation is looked at: it may open a newer one, and phrases alone need no model.
        if not asked or any(each.rest for each in asked):
            self._ready_encoder()
        else:
            self.refresh()
        wanted = k + self.settings.offset
        answers: list[QueryResult | None] = [None] * len(queries)
        if any(each.exact or self.collection.sentences for each in asked):
            from hcq_cli.search.fusing import with_words

            answers = [
                with_words(self._searched, each, wanted, self._model, vector=self._sentence_vector) for each in asked
            ]
        # Together in one scan what only the model can answer.
        plain = [query for query, answer in zip(queries, answers, strict=True) if answer is None]
        rest = iter(self._model(self._searched, plain, wanted) if plain else ())
        return [self._arranged(next(rest) if answer is None else answer) for answer in answers]

    def _model(self, collection: Index, queries: Sequence[str], k: int) -> list[QueryResult]:
        """What the model, which is ready, finds in a collection; errors are those of `texts`."""
        from hcq_cli.search.query import search_texts

        assert self._encoder is not None
        return search_texts(collection, self._encoder, queries, k, params=self.settings)

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
        from hcq_cli.search.examples import search_like

        self.refresh()
        source, item_id, _ = self._example(item_id)
        how = self.settings
        wanted = k + how.offset
        return self._arranged(search_like(self._searched, item_id, wanted, source=source, params=how))

    def _example(self, part: str) -> tuple[Index, str, float]:
        """Where an example lies, its id, and how often it counts. Raises UsageError."""
        from hcq_cli.search.composing import weighted

        source, weight = holder_of(part, self.collection, self.workspace), 1.0
        if source is None:  # only then, since an id may itself end like a weight
            part, weight = weighted(part)
            source = holder_of(part, self.collection, self.workspace)
        return source or self.collection, part, weight

    def composed(
        self,
        text: str = "",
        k: int = 10,
        *,
        likes: Sequence[str] = (),
        unlike: Sequence[str] = (),
        faces: Sequence[str] = (),
        not_faces: Sequence[str] = (),
        experts: Sequence[str] = (),
    ) -> QueryResult:
        """What fits several things at once (`hcq_cli.search.composing`): words, examples, and what it is not to be.
        Faces of people (`hcq_cli.search.faces`), if they were extracted, are a ranking of their own beside the rest.

        Args:
            text: what to look for; quotes and dashes in it are heeded as in `text`.
            k: how many hits.
            likes: ids that hits should be like; they are no hits themselves. `ID^2` counts twice.
            unlike: texts that hits should not be like; `TEXT^2` counts twice.
            faces: `FILE` or `ID@SECOND` whose face hits should show; `FILE^2` counts twice.
            not_faces: the same, of faces that no hit may show.
            experts: `face=SOURCE`, for faces of a file where the networks are files that have moved.

        Raises:
            NotFoundError: no such id, no face, or nothing here can encode a text for this index.
            ModelMismatchError: an example lies in an index of another model.
            UsageError: nothing is looked for, a text holds no word, or faces of persons were not extracted.
        """
        from hcq_cli.search.composing import NOT_LOOKED_FOR, ComposedSearch, weighted
        from hcq_cli.search.examples import item_levels, own_hits, without_items
        from hcq_cli.words.tokens import ONLY_EXCLUDED, asked_words

        if not text.strip() and not likes and not faces:
            raise UsageError(NOT_LOOKED_FOR, 'hcq query "a beach" --not "people"')
        against = [weighted(each) for each in unlike]
        if not all(each.strip() for each, _ in against):
            raise UsageError("--not: the text is empty", 'hcq query "a beach" --not "people"')
        self.refresh()
        # What is in quotes is looked for without a model, in videos.
        asked, of_videos = asked_words(text), self.kind == "videos"
        encoder = self._ready_encoder() if (asked.rest if of_videos else text).strip() or unlike else None
        examples = [self._example(each) for each in likes]
        found = [item_levels(held, each, self._searched) for held, each, _ in examples]
        names, how = [name for name, _ in found], self.settings
        parts = [(levels, weight) for (_, levels), (_, _, weight) in zip(found, examples, strict=True)]
        search = ComposedSearch(parts, against, encoder, params=how)
        wanted = k + how.offset
        own = sum(own_hits(source, name, how.by) for (source, _, _), name in zip(examples, names, strict=True))
        searched, model = self._searched, search.answers
        if faces or not_faces:
            if not of_videos or how.by != "video":
                raise UsageError("--face finds videos, each once by its best face: no texts, and no --by segment")
            from hcq_cli.search.faces import people

            persons = people(self.workspace.features, self.collection, faces, not_faces, experts)
            searched, rest = persons.without_unwanted(searched), search if encoder or parts else None
            model = partial(persons.answers, rest)
        if asked.exact and not asked.phrases and not asked.rest and not parts and not faces:
            raise UsageError(ONLY_EXCLUDED, 'hcq query "a man cooking -pan"')
        answer = None
        if of_videos and (asked.exact or (text and self.collection.sentences)):
            from hcq_cli.search.fusing import with_words

            vector = self._sentence_vector if text.strip() else None
            answer = with_words(searched, asked, wanted + own, model, always=True, vector=vector)
        answer = answer or model(searched, [text], wanted + own)[0]
        answer = replace(answer, query=text or ", ".join([*names, *faces]))
        return self._arranged(without_items(answer, names, how.by, wanted))

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
        from hcq_cli.search.query import check_model, search_levels
        from hcq_cli.search.text_encoder import open_checkpoint_encoder
        from hcq_cli.search.video_query import encode_video

        self.refresh()
        how, usual = self.settings, [*self.collection.checkpoints, self.workspace.model]
        places = [how.checkpoint] if how.checkpoint else usual
        encoder = open_checkpoint_encoder(places, self.collection.header.model_hash)
        check_model(encoder, self.collection)
        with progress.progress("extract", total=None, unit="videos"):
            seen = encode_video(encoder.source, Path(path), experts)
        for warning in seen.warnings:
            progress.warn(f"{path}: {warning}")
        queries, wanted = [str(path)], k + how.offset
        found = search_levels(self._searched, queries, seen.levels, wanted, params=how)
        return self._arranged(found[0]), seen

    @property
    def outdated(self) -> str:
        """What is to be said where the workspace's codes were made anew since its index was; empty where not."""
        from hcq_cli.codes.codefile import relative_to
        from hcq_cli.codes.container import read_digest

        searched, codes = self.collection, self.workspace.codes
        if searched.path != self.workspace.index or not codes.is_file():
            return ""
        made_of = searched.manifest.sources.get(relative_to(str(codes), searched.path))
        same = made_of is None or read_digest(codes) == made_of
        return "" if same else f"{searched.path}: made of older codes than {codes} holds now: hcq index build"

    def refresh(self) -> bool:
        """Open the index's newest generation, and its text side, if there is a newer one than that which is open.

        Returns:
            whether there was.
        """
        if self.collection.is_newest():
            return False
        # Codes and text side are replaced together: one generation never answers for another's model.
        self._engine.close()
        opened = open_searched(self.workspace, self.settings, self._engine)
        # Nothing is kept yet: where a column of the filter is gone the next query, too, is to be told so.
        self._searched, self._shown = what_passes(opened, self.settings)
        self.collection, self._encoder = opened, None
        return True

    def change(self, **settings: Any) -> None:
        """Go on with other settings of how to search (by, where, sort, offset, columns, nprobe, exact).

        Raises:
            UsageError: one of them is not known, or the filter cannot be read.
        """
        changed = replace(self.settings, **settings)
        if changed != self.settings:
            check_settings(changed)
            # Kept only now: else the same filter, asked for again, would count as set.
            self._searched, self._shown = what_passes(self.collection, changed)
            self.settings = changed

    def _arranged(self, answer: QueryResult) -> QueryResult:
        """An answer without the hits before the offset, in the order asked for, each with the columns asked for."""
        how = self.settings
        if how.offset or how.sort != "score" or how.where is not None or self._shown:
            from hcq_cli.search.arranging import arranged

            answer = arranged(
                self._searched, answer, offset=how.offset, sort=how.sort, columns=self._shown, where=how.where
            )
        if not self.collection.missing:
            return answer
        lost = ", ".join(f"{group.start}-{group.stop - 1}" for group in self.collection.missing)
        note = f"partial: not searched are {self.collection.missing_rows} rows, the segments {lost} of the index"
        return replace(answer, note="; ".join(filter(None, [note, answer.note])))

    def _ready_encoder(self) -> TextEncoder:
        """What encodes the queries, loaded, of the generation that is open: the newest.

        The weights of a text side are opened by their name, a moment after its graph. Whoever builds the index anew
        in that moment takes the file away: then that newer index is opened, and neither mixed nor given up.
        """
        for more_tries in reversed(range(TRIES)):
            self.refresh()
            try:
                if self._encoder is None:
                    self._encoder = open_encoder(self.collection, self.workspace, self.settings)
                self._encoder.prepare()
                return self._encoder
            except (NotFoundError, ReplacedError):
                self._encoder = None
                if not more_tries:
                    raise
        raise AssertionError("the last try returns or raises")
