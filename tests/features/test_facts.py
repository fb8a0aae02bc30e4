"""What a store knows of many videos at once, also of those that an earlier hcq wrote."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from experts.base import State, Tokens
from hcq_cli.features.facts import fact_columns
from hcq_cli.features.folder import write_incoming
from hcq_cli.features.records import VideoFeatures
from hcq_cli.features.store import FeatureStore
from hcq_cli.features.writer import FeatureWriter

GOLDEN = Path(__file__).parent.parent / "golden" / "workspace" / "features"


def video(id: str, states: dict[str, State], **facts: object) -> VideoFeatures:
    tokens = {
        name: Tokens(np.ones((1, 2), np.float32), np.zeros(1, np.float32))
        if state == State.TOKENS
        else Tokens.none(2, state)
        for name, state in states.items()
    }
    named = {"path": f"/v/{id}", "content_hash": id * 8, "size": 1, "mtime_ns": 5 * 10**9, **facts}
    return VideoFeatures(id=id, tokens=tokens, identities=dict.fromkeys(tokens, "1"), **named)  # type: ignore[arg-type]


def test_facts_of_a_store_survive_compaction(tmp_path: Path) -> None:
    with FeatureWriter(tmp_path):
        pass
    seen = {"face": State.NOTHING_FOUND, "audio": State.SILENT, "ocr": State.TOKENS}
    write_incoming(tmp_path, video("a", seen, duration_s=2.5, width=640, height=360, taken_s=3.5))
    write_incoming(tmp_path, video("b", {"audio": State.TOKENS, "face": State.FAILED}, mtime_ns=0))
    write_incoming(tmp_path, video("c", {"audio": State.NO_STREAM, "speech": State.NOTHING_FOUND}))
    for _ in range(2):
        found = fact_columns(FeatureStore.open(tmp_path), ["c", "a", "nobody", "b"])
        nan = np.nan
        np.testing.assert_array_equal(found.duration_s, [nan, 2.5, nan, nan])
        np.testing.assert_array_equal(found.width, [nan, 640, nan, nan])
        np.testing.assert_array_equal(found.height, [nan, 360, nan, nan])
        np.testing.assert_array_equal(found.taken_s, [5, 3.5, nan, nan])
        assert found.by_container.tolist() == [False, True, False, False]
        assert found.has_sound.tolist() == [1, 0, 2, 1]
        assert found.has_faces.tolist() == [2, 0, 2, 2]
        assert found.has_words.tolist() == [0, 1, 2, 2]
        with FeatureWriter(tmp_path) as writer:
            writer.compact()


def test_a_store_of_an_earlier_version_lacks_size_and_date() -> None:
    store = FeatureStore.open(GOLDEN)
    found = fact_columns(store, list(store.ids))
    assert np.isnan(found.width).all() and not found.by_container.any()
    assert (found.duration_s > 0).all() and (found.taken_s > 0).all()
    assert store.facts(0).taken_s is None and store.facts(0).width == 0
