"""Files with the same bytes: what was found in one of them holds for all, and is copied instead of decoded again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from experts.base import State
from hcq_cli.features.building import Row
from hcq_cli.features.catalog import Catalog
from hcq_cli.features.merging import piece_of
from hcq_cli.features.records import VideoFacts, state_number


def results_of(
    catalog: Catalog, content_hash: str, identities: Mapping[str, str], failed_too: bool = True
) -> dict[str, int]:
    """Where there are results for a content.

    Args:
        catalog: of the store.
        content_hash: of the file.
        identities: what the features of each expert wanted shall depend on.
        failed_too: whether it is a result, too, that the expert broke.

    Returns:
        by the name of each of these experts for which there is a result, a row that has it.
    """
    found: dict[str, int] = {}
    for row in catalog.rows_of_content(content_hash):
        for expert, wanted in identities.items():
            latest = catalog.latest(expert)
            if latest.slot[row] < 0 or latest.kinds[latest.kind[row]].identity != wanted:
                continue
            if failed_too or latest.state[row] != state_number(State.FAILED):
                found.setdefault(expert, row)
    return found


def twin_row(catalog: Catalog, facts: VideoFacts, results: Mapping[str, int]) -> Row:
    """A row for a file whose features lie under other ids.

    Args:
        catalog: of the store.
        facts: of the file: id, path, content, size and time; the rest is taken over.
        results: from `results_of`; at least one.
    """
    source = catalog.facts(next(iter(results.values())))
    known = replace(facts, duration_s=source.duration_s, decoder=source.decoder, warnings=source.warnings)
    places = (catalog.part(expert, catalog.latest(expert), row) for expert, row in sorted(results.items()))
    return Row(known, tuple(piece_of(shard, part, at) for shard, at, part in places))
