"""The duplicates of a collection: copies in groups, and pairs that share a part.

What counts, and why:

    copy   the stretch that both share is most (COPY_SHARE) of either video
    part   it is shorter, but lasts at least LEAST_PART_S without what many videos have in common, and shows several
           pictures: an intro, black or a still picture join nobody

Either is decided by what is seen. What is heard finds copies whose picture was changed much: then the
pictures along the line must be somewhat alike, so that a song joins nobody. Files of the same bytes are copies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from hcq_cli.duplicates.alignment import COPY_SHARE, LEAST_PART_S, Shared, align, likeness_along
from hcq_cli.duplicates.candidates import candidates
from hcq_cli.duplicates.fingerprints import Fingerprints, fingerprints
from hcq_cli.errors import NotFoundError
from hcq_cli.features.store import FeatureStore
from hcq_cli.files import write_json
from hcq_cli.headers import decode_file

FORMAT, VERSION = "hcq-duplicates", 1
SEEN, HEARD = "appearance", "audio"
LEAST_PICTURES = 3
LEAST_SCORE = 0.65
"""The mean cosine of what two videos share: re-encoded 0.95, cropped by a tenth 0.85, strangers below 0.6."""
LEAST_MOVES, MOVES_OF_ONE = 0.2, 1.25
"""How what changes must go together in copies (`alignment._moves`), by what is seen: so much, and more the fewer
tokens tell it, this divided by their number. Of 2 s at least 0.51: people in one studio reach 0.47."""
ALIKE = 0.25
"""How alike pictures must be along a line that was found by what is heard."""
STEP_S = {SEEN: 0.5, HEARD: 1.0}


@dataclass(frozen=True)
class Member:
    """A video of a group.

    Args:
        id: of the video.
        path: where its file was.
        start_s, end_s: the stretch that it shares, seconds; None of copies.
    """

    id: str
    path: str
    start_s: float | None = None
    end_s: float | None = None


@dataclass(frozen=True)
class DuplicateGroup:
    """Videos that belong together.

    Args:
        kind: "copy", or "part" of two videos that share a stretch.
        members: in the order of their ids.
        score: how alike they are, at most 1; of copies that of the least alike pair that was compared.
    """

    kind: str
    members: tuple[Member, ...]
    score: float


@dataclass(frozen=True)
class Duplicates:
    """The duplicates of a collection.

    Args:
        groups: copies, then parts, each with the most alike first.
        videos: that were looked at.
        compared: pairs that were aligned.
    """

    groups: tuple[DuplicateGroup, ...]
    videos: int
    compared: int


def find_duplicates(
    store: FeatureStore,
    without: Sequence[str] = (),
    threshold: float = LEAST_SCORE,
    progress: Callable[[int], None] = lambda _: None,
) -> Duplicates:
    """The duplicates among the videos of a store; nothing is changed anywhere.

    Args:
        store: with tokens of `appearance`.
        without: ids of videos that are left out.
        threshold: the least score.
        progress: told how many videos have been read.

    Raises:
        NotFoundError: the store has no such tokens.
    """
    if SEEN not in store.experts:
        raise NotFoundError(
            f"{store.folder}: holds no {SEEN}, by which copies are told",
            f"hcq extract VIDEOS --experts {SEEN},{HEARD}",
        )
    left_out = set(without)
    rows = np.array([row for row, id in enumerate(store.ids) if id not in left_out], np.int64)
    prints = {SEEN: fingerprints(store, rows, SEEN, progress)}
    if HEARD in store.experts:
        prints[HEARD] = fingerprints(store, rows, HEARD)
    facts = [store.facts(int(row)) for row in rows]
    pairs = _compare(prints, np.array([fact.duration_s for fact in facts]), threshold)
    shared = {pair: found for pair, found in pairs.items() if found is not None}
    copies = {pair: one.score for pair, (kind, one) in shared.items() if kind == "copy"}
    by_content: dict[str, int] = {}
    for number, fact in enumerate(facts):
        first = by_content.setdefault(fact.content_hash, number)
        if first != number:
            copies[first, number] = 1.0
    names = [(fact.id, fact.path) for fact in facts]
    groups = _copies(copies, names)
    groups += sorted(
        (
            DuplicateGroup("part", (Member(*names[a], *one.first), Member(*names[b], *one.second)), one.score)
            for (a, b), (kind, one) in shared.items()
            if kind == "part"
        ),
        key=lambda group: -group.score,
    )
    return Duplicates(tuple(groups), len(rows), len(pairs))


Pair = tuple[int, int]


def _compare(
    prints: dict[str, Fingerprints], durations_s: np.ndarray, threshold: float
) -> dict[Pair, tuple[str, Shared] | None]:
    """What each pair of candidates shares, and whether that makes a copy or a part."""
    found: dict[Pair, tuple[str, Shared] | None] = {}
    for expert, here in prints.items():
        pairs, common = candidates(here)
        for a, b in pairs.tolist():
            known, part = found.setdefault((a, b), None), slice(here.offsets[a], here.offsets[a + 1])
            for second in here.both_ways(b):
                if known is not None and known[0] == "copy":
                    break
                shared = align(here.of(a), second, common[part], STEP_S[expert])
                if shared is not None and expert == HEARD:
                    shared = _looked_at(shared, prints[SEEN], (a, b))
                if shared is None or shared.score < threshold or (expert == SEEN and not _moves_alike(shared)):
                    continue
                kind = _kind(shared, durations_s[a], durations_s[b])
                if kind and (known is None or kind == "copy"):
                    known = found[a, b] = kind, shared
    return found


def _moves_alike(shared: Shared) -> bool:
    """Whether what changes in one video changes in the other, more than by chance: of few tokens some always do."""
    tokens = (shared.first[1] - shared.first[0]) / STEP_S[SEEN]
    return shared.moves >= LEAST_MOVES + MOVES_OF_ONE / tokens


def _looked_at(shared: Shared, seen: Fingerprints, pair: Pair) -> Shared | None:
    """What sounds alike, with a score of what is seen, too; None where that is not alike."""
    alike = max(likeness_along(seen.of(pair[0]), second, shared) for second in seen.both_ways(pair[1]))
    return replace(shared, score=(2 * shared.score + alike) / 3) if alike >= ALIKE else None


def _kind(shared: Shared, first_s: float, second_s: float) -> str:
    """ "copy", "part", or nothing."""
    lengths = [end - start for start, end in (shared.first, shared.second)]
    if min(lengths[0] / max(first_s, 0.5), lengths[1] / max(second_s, 0.5)) >= COPY_SHARE:
        return "copy"
    return "part" if shared.telling_s >= LEAST_PART_S and shared.pictures >= LEAST_PICTURES else ""


def _copies(scores: dict[Pair, float], names: Sequence[tuple[str, str]]) -> list[DuplicateGroup]:
    """Pairs of copies put together in groups, the most alike first."""
    leader = list(range(len(names)))

    def lead(number: int) -> int:
        while leader[number] != number:
            leader[number] = leader[leader[number]]
            number = leader[number]
        return number

    for a, b in scores:
        leader[lead(b)] = lead(a)
    members: dict[int, list[Member]] = {}
    least: dict[int, float] = {}
    for (a, _), score in scores.items():
        least[lead(a)] = min(score, least.get(lead(a), 1.0))
    for number in range(len(names)):
        if lead(number) in least:
            members.setdefault(lead(number), []).append(Member(*names[number]))
    groups = [
        DuplicateGroup("copy", tuple(sorted(found, key=lambda member: member.id)), least[at])
        for at, found in members.items()
    ]
    return sorted(groups, key=lambda group: -group.score)


def write_duplicates(path: Path, found: Duplicates) -> None:
    """Keep what was found, in place of what was found before. Raises OSError where it cannot be written."""
    write_json(path, {"format": FORMAT, "version": VERSION, **asdict(found)})


def read_duplicates(path: Path) -> Duplicates:
    """What was found last.

    Raises:
        NotFoundError: nothing was looked for yet.
        DamagedError: the file is damaged, foreign, or of a newer hcq.
    """
    absent = "duplicates were not looked for yet"
    return decode_file(Duplicates, path, "hcq dedupe", format_name=FORMAT, version=VERSION, absent=absent)
