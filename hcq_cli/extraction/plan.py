"""What is left to do: what the store knows of each file is compared with what is wanted of it.

A file is finished, known to be broken, a duplicate (it has the bytes of another one, and gets the features of that
one), taken out by hand, or a job for an executor. The content hash decides, not the name: what was moved or touched
is not decoded again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path

from experts.base import Expert
from hcq_cli.collection import RemovedVideo
from hcq_cli.extraction.executor import Job, Outcome, Status
from hcq_cli.extraction.options import ExtractionOptions
from hcq_cli.extraction.vanished import Vanished, find_vanished, is_gone, same_place
from hcq_cli.features.records import VideoFacts, identity, text_key
from hcq_cli.features.store import FeatureStore
from hcq_cli.features.writer import FeatureWriter, SharedWriter
from hcq_cli.files import storable_ns
from hcq_cli.media.inputs import longer_ids
from hcq_cli.media.sniffing import read_head, what_instead, what_is_missing

MOST_COPIES = 64
"""Files with the same bytes that are looked at for one that was renamed."""

Step = tuple[Job, Outcome | None]
"""What is to be done with a video, and how that has ended; None where it is still to be done."""


class ExtractionPlan:
    """Judges videos, and is told what came of them. Used by one thread.

    Args:
        writer: the store, opened for writing; where others write to it too, nothing can be copied in it.
        experts: those asked for.
        options: how far to look, and whether to try again what is known to be broken.
        removed: videos that were taken out by hand, by id.
        named: paths of files that were named themselves, and so come back if they were taken out.

    Attributes:
        copies: files put aside whose bytes others in the store have, each with what would have had to be done.
        duplicates: the same, of bytes that others of this run have.
        heirs: files with bytes that the store has under other ids alone, where other experts have seen them, too.
        moved: ids of the store whose files are gone, each with the new id of a file with the same bytes.
        second_ids: of the store, of files that have another id there, too.
        changed: how many known files have other bytes than before.
        new: how many had no id in the store.
        restored: ids that were taken out and are no longer, because their files were named, or renamed.
        removed_anew: renamed files that stay out, by their new ids.
    """

    def __init__(
        self,
        writer: FeatureWriter | SharedWriter,
        experts: Sequence[Expert],
        options: ExtractionOptions,
        *,
        removed: Mapping[str, RemovedVideo] = {},
        named: Set[str] = frozenset(),
    ) -> None:
        self._writer, self._retry_failed = writer, options.retry_failed
        self._identities = identities_of(experts, options)
        self._every = frozenset(self._identities)
        self._path_of_id: dict[str, str] = {}
        self._begun: dict[int, frozenset[str]] = {}
        self._errors: dict[int, str] = {}
        self.copies: list[Job] = []
        self.duplicates: list[Job] = []
        self.heirs: list[VideoFacts] = []
        self.moved: dict[str, str] = {}
        self.second_ids: set[str] = set()
        self.changed = self.new = 0
        self.restored, self.removed_anew = set[str](), dict[str, RemovedVideo]()
        self._removed, self._named = removed, named
        self._removed_paths = {video.path: id for id, video in removed.items()}
        self._removed_contents = {video.content_hash: id for id, video in removed.items() if video.content_hash}

    def judge(self, id: str, path: str) -> Step:
        """What is to be done with a file: at first often to hash it, if it is new or has changed."""
        unread = Job(VideoFacts(id, path))
        if path in self._removed_paths and not self._comes_back(self._removed_paths[path], path):
            return unread, Outcome(status=Status.REMOVED)
        try:
            found = os.stat(path)  # noqa: PTH116 - a Path costs more than the question
        except OSError as error:
            return unread, Outcome(error=error.strerror or str(error))
        facts = VideoFacts(id, path, size=found.st_size, mtime_ns=storable_ns(found.st_mtime_ns))
        # Size and time of the last change stand for the content: reading terabytes again for their hash takes hours.
        failure = self._writer.failures.about(facts)
        if failure is not None and not self._retry_failed:
            return Job(facts), Outcome(error=failure.error, known=True)
        if not facts.size:
            return Job(facts), Outcome(error="the file is empty")
        # The ordinary case of a later run, and there may be a million of it: all is as it was.
        if self._path_of_id.get(id, path) == path and self._writer.is_finished(
            facts, self._identities, retry_failed=self._retry_failed
        ):
            self._path_of_id[id] = path
            return Job(facts), Outcome(status=Status.FINISHED)
        known_hash = self._writer.known_hash(facts)
        return self._compare(replace(facts, content_hash=known_hash)) if known_hash else (Job(facts), None)

    def settle(self, job: Job, outcome: Outcome) -> Step:
        """What is to be done now that a job is done; a lasting failure is remembered until the file changes."""
        if job.only_hash and outcome.error is None:
            return self._compare(replace(job.facts, content_hash=outcome.content_hash))
        if outcome.error is None:
            self._writer.failures.drop(job.facts.path)
        elif not job.only_hash:
            self._count(job.facts, -1)
        if outcome.error is not None and outcome.lasting:
            # Only now: whatever can be decoded is a video, whatever it looks like.
            path = job.facts.path
            if (instead := what_instead(read_head(path)) or what_is_missing(path)) is not None:
                outcome = replace(outcome, error=f"{instead} ({outcome.error})")
            self._remember_failure(job, str(outcome.error))
        return job, outcome

    def _compare(self, facts: VideoFacts) -> Step:
        """What the store and this run lack of a file whose content is known."""
        facts, stored = self._with_own_id(facts)
        if stored is None and facts.content_hash in self._removed_contents and self._stays_removed(facts):
            return Job(facts), Outcome(status=Status.REMOVED)
        missing = self._writer.todo(facts.id, facts.content_hash, self._identities, retry_failed=self._retry_failed)
        if not missing:
            where = (facts.path, facts.size, facts.mtime_ns)
            # Moved or touched: noted, so that the next run knows it without its hash.
            if stored is not None and (stored.path, stored.size, stored.mtime_ns) != where:
                self._writer.set_path(facts.id, facts.path)
            return Job(facts), Outcome(status=Status.FINISHED)
        if self._writer.known_hash(facts) != facts.content_hash:
            self._writer.hashes.put(facts)
        self._count(facts, 1)
        if stored is None or stored.content_hash != facts.content_hash:
            self.heirs.append(facts)
        if stored is None:  # it takes the place of one with the same bytes that is no longer there
            gone = (other.id for other in self._same_bytes(facts) if other.id != facts.id and is_gone(other.path))
            if (left := next((id for id in gone if id not in self.moved), None)) is not None:
                self.moved[left] = facts.id
        job = Job(facts, {name: value for name, value in self._identities.items() if name in missing})
        key = text_key(facts.content_hash)  # an int takes a third of the memory of the text: there may be a million
        begun = self._begun.get(key, frozenset())
        stored_elsewhere = self._writer.store.results_of_content(
            facts.content_hash, job.identities, failed_too=not self._retry_failed
        ).keys()
        # What another file has begun counts as found: should it fail, this one fails with its reason.
        if missing <= begun | stored_elsewhere:
            (self.copies if missing <= stored_elsewhere else self.duplicates).append(job)
            return job, Outcome(status=Status.WAITING)
        begun = frozenset(begun | missing)
        # The one set of all experts for nearly every content: there may be a million contents.
        self._begun[key] = self._every if begun == self._every else begun
        return job, None

    def vanished(self, folders: Mapping[str, Sequence[str]]) -> Vanished:
        """What the store holds of files that are no longer there, by what this run has seen.

        Args:
            folders: that were searched, each with what of it could not be listed.
        """
        return find_vanished(
            self._writer.store, self._path_of_id.keys(), folders, moved=self.moved, second_ids=self.second_ids
        )

    def _with_own_id(self, facts: VideoFacts) -> tuple[VideoFacts, VideoFacts | None]:
        """A file under its own id, and what the store knows of that id: the one that it has already, else the
        shortest that no other file has.

        Another file is one of this run, or one of the store that lies elsewhere. An id goes over to a new file when
        the old one is gone, and not when its whole folder is: that may be a drive that is not plugged in.
        """
        for id in chain(self._known_ids(facts), longer_ids(facts.id, facts.path)):
            if self._path_of_id.get(id, facts.path) != facts.path:
                continue
            stored = self._writer.store.facts_of(id)
            if stored is not None and stored.path != facts.path:
                if not is_gone(stored.path):
                    free = same_place(stored.path, facts.path)
                else:
                    free = stored.content_hash == facts.content_hash or Path(root_of(stored)).is_dir()
                if not free:
                    continue
            self._path_of_id[id] = facts.path
            return replace(facts, id=id), stored
        raise AssertionError("longer_ids never ends")

    def _known_ids(self, facts: VideoFacts) -> list[str]:
        """The id that a file has in the store, if any; of several, as an earlier hcq gave them, the best."""
        known = [*map(self._writer.store.facts, self._writer.store.rows_with("path", facts.path))]
        if not known:  # it may have been reached through a link then
            known = [other for other in self._same_bytes(facts) if same_place(other.path, facts.path)]
        ids = [other.id for other in known]
        kept = [facts.id] if facts.id in ids else ids[:1]
        self.second_ids.update(id for id in ids if id not in kept)
        return kept

    def _same_bytes(self, facts: VideoFacts) -> list[VideoFacts]:
        """Other files of the store with the bytes of this one, at most `MOST_COPIES`."""
        store = self._writer.store
        rows = islice(store.rows_with("content", facts.content_hash), MOST_COPIES)
        return [other for other in map(store.facts, rows) if other.path != facts.path]

    def _comes_back(self, id: str, path: str) -> bool:
        """Whether a file that was taken out is named itself: then it is in again."""
        if path in self._named:
            self.restored.add(id)
        return id in self.restored

    def _stays_removed(self, facts: VideoFacts) -> bool:
        """Whether a new file with the bytes of one that was taken out is that one, and lies elsewhere since."""
        id = self._removed_contents[facts.content_hash]
        if not is_gone(self._removed[id].path) or self._comes_back(id, facts.path):
            return False
        self.restored.add(id)
        self.removed_anew[facts.id] = RemovedVideo(facts.path, facts.content_hash)
        return True

    def _count(self, facts: VideoFacts, by: int) -> None:
        """Count a file that is to be given features as new or changed, or no longer, when that came to nothing."""
        stored = self._writer.store.facts_of(facts.id)
        if stored is None:
            self.new += by
        elif stored.content_hash != facts.content_hash:
            self.changed += by
        if by < 0:
            self.moved = {old: new for old, new in self.moved.items() if new != facts.id}

    def copy(self, *, duplicates: bool = False) -> Iterator[tuple[Job, Outcome]]:
        """Give files that wait what others with their bytes have in the store, and all files what experts that are
        not asked for have found in their bytes: nobody would look for that again.

        Now and then, before what those have may be replaced: a file that was renamed may have left its name to a new
        one.

        Args:
            duplicates: those of files of this run, too; when all else is done and in shards.
        """
        if isinstance(self._writer, SharedWriter):  # where others write too, nothing can be copied
            return
        jobs, self.copies = self.copies, []
        if duplicates:
            jobs, self.duplicates = jobs + self.duplicates, []
        heirs, self.heirs = self.heirs, []
        wanted = [(job.facts, job.identities) for job in jobs]
        wanted += [(facts, self._writer.held(facts.content_hash, self._every)) for facts in heirs]
        # All at once: two files that have changed names need what each has until now.
        copied = self._writer.copy_results(wanted)
        for job, found in zip(jobs, copied[: len(jobs)], strict=True):
            if found:
                self._writer.failures.drop(job.facts.path)
                yield job, Outcome(status=Status.COPIED)
                continue
            error = self._errors.get(text_key(job.facts.content_hash))
            self._count(job.facts, -1)
            if error is not None:
                self._remember_failure(job, error)
            yield job, Outcome(error=error or "another file with the same bytes gave nothing")

    def _remember_failure(self, job: Job, error: str) -> None:
        self._errors[text_key(job.facts.content_hash)] = error
        self._writer.failures.put(job.facts, error)


def identities_of(experts: Sequence[Expert], options: ExtractionOptions) -> dict[str, str]:
    """What the features of each expert depend on, by its name."""
    return {each.name: identity(each, {"max_seconds": options.max_seconds}) for each in experts}


def roots_of(store: FeatureStore) -> list[str]:
    """The folders that ids with folders in them count from: those extracted, as far as a store of an earlier
    hcq, which does not note them, tells."""
    known = (store.facts(row) for row, id in enumerate(store.ids) if "/" in id)
    return list(dict.fromkeys(root_of(facts) for facts in known if facts.path.endswith(f"/{facts.id}")))


def root_of(facts: VideoFacts) -> str:
    """The folder that the id of a video of the store counts from."""
    root = facts.path.removesuffix(f"/{facts.id}")
    return root if root != facts.path else str(Path(facts.path).parent)
