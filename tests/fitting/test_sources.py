"""Which features a classifier has written, and what is said where it has not."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from concept_features import NAMES, classifiers, write_store

from hcq_cli.errors import HcqError, NotFoundError, UsageError
from hcq_cli.fitting.sources import classifier, weights_of, words


def test_a_classifier_is_found_by_what_it_wrote(tmp_path: Path) -> None:
    paths = classifiers(tmp_path)
    store = write_store(tmp_path / "features", paths)
    found = classifier(store, f"onnx:{paths['objects']}")
    assert (found.expert, found.kind, found.names) == ("objects", "probabilities", [n.split(", ") for n in NAMES])
    assert words(store) == []
    logits = write_store(tmp_path / "other", paths, {"a.mp4": [[-3.0, 0.5, 9.0]]}, {})
    assert classifier(logits, f"onnx:{paths['objects']}").kind == "softmax"


def test_one_that_has_not_looked_at_the_videos_says_what_to_run(tmp_path: Path) -> None:
    paths = classifiers(tmp_path)
    store = write_store(tmp_path / "features", paths)
    # Another sidecar makes other features of the same file.
    paths["sounds"].with_suffix(".json").write_text('{"activation": "sigmoid"}')
    with pytest.raises(NotFoundError, match=r"loudness\.onnx has not looked") as caught:
        classifier(store, f"onnx:{paths['sounds']}")
    assert caught.value.hint == f"hcq extract VIDEOS --experts sounds=onnx:{paths['sounds']}"
    paths["objects"].with_suffix(".labels.txt").write_text("dog\n")
    with pytest.raises(NotFoundError, match="names 1 classes"):
        classifier(store, f"onnx:{paths['objects']}")
    with pytest.raises(NotFoundError, match=r"not on this machine"):
        classifier(store, "google/vit")


def test_weights_are_numbers_of_experts() -> None:
    sources = [SimpleNamespace(expert=name, weight=0.0) for name in ("objects", "sounds")]
    assert weights_of(sources, ["sounds=0.25"]) == {"objects": 1.0, "sounds": 0.25}
    before = {"objects": 0.3, "sounds": 0.4, "speech": 2.0}  # of a model that had an expert more
    assert weights_of(sources, ["sounds=0.25"], before) == {"objects": 0.3, "sounds": 0.25}
    for ask in ("faces=1", "sounds=much", "sounds", "sounds=0", "sounds=nan"):
        with pytest.raises(UsageError, match="not EXPERT=NUMBER"):
            weights_of(sources, [ask])
    with pytest.raises(HcqError, match="two sources are the expert objects"):
        weights_of([*sources, sources[0]], [])
