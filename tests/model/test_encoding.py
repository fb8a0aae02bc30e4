"""Dense vectors of captioned videos: all of them, and a sample that fits a quantizer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from feature_samples import video
from small_models import EXPERTS, model

from experts.base import Tokens
from hcq_cli.codes.codefile import open_codes
from hcq_cli.datasets.features import MemoryFeatures
from hcq_cli.datasets.segments import Cutting
from hcq_cli.datasets.splits import Split
from hcq_cli.features.records import Ragged
from hcq_cli.features.store import FeatureStore
from hcq_cli.features.writer import FeatureWriter
from hcq_cli.model.encoding import encode_batches, encode_both, training_vectors
from hcq_cli.model.video_batches import VideoBatches

VIDEOS = 12


def dataset() -> tuple[MemoryFeatures, Split]:
    rng = np.random.default_rng(0)
    tokens = {
        name: Ragged(
            rng.normal(size=(2 * VIDEOS, expert.dim)).astype(np.float32),
            np.tile(np.arange(2, dtype=np.float32), VIDEOS),
            np.arange(0, 2 * VIDEOS + 1, 2),
        )
        for name, expert in EXPERTS.items()
    }
    captions = [[f"dog {at}", f"cat {at}"] for at in range(VIDEOS)]
    return MemoryFeatures(tokens, np.arange(VIDEOS)), Split(np.arange(VIDEOS), captions, np.arange(VIDEOS))


def test_vectors_of_videos_and_of_their_captions() -> None:
    trained, (features, part) = model(), dataset()
    finished: list[int] = []
    found = encode_both(trained, features, part, finished.append)
    assert found.videos.shape == (VIDEOS, 4, 32) and found.texts.shape == (2 * VIDEOS, 4, 32)
    assert found.owner.tolist() == [at // 2 for at in range(2 * VIDEOS)] and sum(finished) == VIDEOS
    np.testing.assert_allclose(np.linalg.norm(found.all, axis=-1), 1, atol=1e-5)


def test_a_sample_is_spread_over_the_videos_and_keeps_within_its_limit() -> None:
    trained, (features, part) = model(), dataset()
    whole = encode_both(trained, features, part)
    sample = training_vectors(trained, features, part, limit=10)
    assert 0 < len(sample.all) <= 10
    np.testing.assert_allclose(sample.videos, whole.videos[::4], atol=1e-6)  # 36 vectors, at most 10: every fourth
    np.testing.assert_allclose(sample.texts[:2], whole.texts[:2], atol=1e-6)
    assert len(training_vectors(trained, features, part).all) == len(whole.all)


def test_the_order_in_which_videos_were_extracted_changes_no_byte(tmp_path: Path) -> None:
    """As two workers, or another run, would leave them: the batches are the same, and so is the file."""
    trained, dims = model(), {name: expert.dim for name, expert in EXPERTS.items()}
    ids, written = [f"v{number}.mp4" for number in range(150)], []
    for name, order in (("one", ids), ("other", [*reversed(ids[:70]), *ids[70:]])):
        with FeatureWriter(tmp_path / name) as writer:
            writer.add_videos(video(each, list(dims), each, dims=dims) for each in order)
        path = tmp_path / name / "codes.hcq"
        encode_batches(VideoBatches(trained, FeatureStore.open(tmp_path / name)), path)
        written.append(path.read_bytes())
        found = list(open_codes(path).ids)
        assert found == sorted(found) and len(found) > 100
    assert written[0] == written[1]


def test_a_film_is_encoded_from_the_store_and_not_read_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And its codes are the same."""
    trained, rng, written = model(), np.random.default_rng(0), []
    tokens = {
        name: Tokens(rng.random((400, expert.dim), np.float32), np.arange(400, dtype=np.float32) / 5)
        for name, expert in EXPERTS.items()
    }
    facts = replace(video("film.mp4", list(EXPERTS), dims={n: e.dim for n, e in EXPERTS.items()}), duration_s=80.0)
    with FeatureWriter(tmp_path / "store") as writer:
        writer.add_videos([replace(facts, tokens=tokens)])
    for limit in (1 << 20, 1000):
        monkeypatch.setattr("hcq_cli.model.encoding.FEATURE_BYTES_AT_ONCE", limit)
        encode_batches(
            VideoBatches(trained, FeatureStore.open(tmp_path / "store"), Cutting()), tmp_path / "codes.hcq"
        )
        written.append((tmp_path / "codes.hcq").read_bytes())
        monkeypatch.setattr(FeatureStore, "read", None)
    assert written[0] == written[1] and len(open_codes(tmp_path / "codes.hcq").ids) > 8
