"""What a model without captions is made of: classifiers that have looked at the videos, and what their classes are
called; the words that were said and shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from experts.neural.weights import Weights, locate, onnx_file
from hcq_cli.errors import HcqError, NotFoundError, UsageError
from hcq_cli.extraction.options import weights_errors

if TYPE_CHECKING:
    from hcq_cli.features.records import ExpertInfo
    from hcq_cli.features.store import FeatureStore

WORDS = ("speech", "ocr")
"""Experts whose tokens are sentence vectors of MiniLM."""
WEIGHTS = {"objects": 1.0, "sounds": 0.5, "speech": 0.5, "ocr": 0.5}
"""Of an expert in a video's vector; pictures tell more of what people ask for than sound and words do."""
CLASSIFIERS = ("objects", "sounds")
"""Experts whose tokens are a number a class."""
LOOKED_AT = 64
"""Videos whose features are looked at to see whether a classifier gives probabilities."""


@dataclass(frozen=True)
class Source:
    """One expert of the model.

    Args:
        expert: as the store names its features.
        info: of these features.
        kind: what they are: "probabilities", or "softmax" or "sigmoid" for what makes probabilities of them; or
            "sentences", vectors of the text encoder; or "joint", vectors in the space of a dual encoder.
        names: of a classifier's classes, of synonyms all; else empty.
        weight: how much it counts where nothing is said; 0 for what is usual for such an expert.
        given: the source of a dual encoder as a person gave it, from which its texts are read; else empty.
    """

    expert: str
    info: ExpertInfo
    kind: str
    names: list[list[str]]
    weight: float = 0.0
    given: str = ""


def classifier(store: FeatureStore, source: str) -> Source:
    """A classifier whose classes have names, and the features that it wrote.

    Args:
        store: of the features.
        source: `onnx:FILE`, a folder or an id.

    Raises:
        NotFoundError: there is no such file, its classes have no names, or it has not looked at the videos; the hint
            says what to run.
    """
    with weights_errors():
        path = onnx_file(source)
        return _of_graph(store, source, path) if path else _of_network(store, source, locate(source))


def _of_graph(store: FeatureStore, source: str, path: Path) -> Source:
    """An ONNX file with its labels file."""
    from experts.neural.classes import class_names, expert_of
    from experts.neural.onnx_network import onnx_identity

    # The appearance or audio expert of the same file gives the same numbers under another name.
    names = (*CLASSIFIERS, "appearance", "audio")
    found = _seen_by(store, onnx_identity(path), source, lambda: expert_of(path), names)
    return Source(found.name, found, _probabilities(path, store, found.name), class_names(path, found.dim))


def _of_network(store: FeatureStore, source: str, weights: Weights) -> Source:
    """A network of transformers, whose configuration names its classes."""
    from experts.neural.classes import expert_of_hub, hub_class_names, probabilities_of_hub

    found = _seen_by(store, weights.identity, source, lambda: expert_of_hub(weights))
    return Source(found.name, found, probabilities_of_hub(weights), hub_class_names(weights))


def _seen_by(
    store: FeatureStore, weights: str, source: str, expert: Callable[[], str], names: Sequence[str] = CLASSIFIERS
) -> ExpertInfo:
    """The features that a classifier wrote. Raises NotFoundError."""
    # By the network and the expert: an appearance expert of the same network writes other vectors.
    for info in store.experts.values():
        if weights in info.identity and family(info.name) in names:
            return info
    hint = f"hcq extract VIDEOS --experts {expert()}={source}"
    raise NotFoundError(f"{source} has not looked at the videos of {store.folder}", hint)


def family(expert: str) -> str:
    """`objects` of `objects-2`: what an expert is of which there are several."""
    return expert.partition("-")[0]


def absolute(source: str) -> str:
    """A source that means the same whatever the current folder is."""
    kind, colon, place = source.partition(":")
    if kind == "onnx" and colon:
        return f"onnx:{Path(place).expanduser().absolute()}"
    path = Path(source).expanduser()
    return str(path.absolute()) if path.is_dir() else source


def absolute_encoder(name: str) -> str:
    """A text encoder that means the same whatever the current folder is."""
    return name if name == "minilm" else absolute(name)


def expert_asks(concepts: Sequence[str], dual: Sequence[str]) -> list[str]:
    """The experts that have to look at videos before a model can be made of sources, as `hcq extract` takes them.

    All that can be wrong with the sources is found here, before anything long begins.

    Args:
        concepts: classifiers, `onnx:FILE`, a folder or an id each.
        dual: dual encoders.

    Raises:
        NotFoundError: a network is not on this machine, or its classes have no names; the hint says what to do.
        DamagedError: a folder asks for code or for another file.
    """
    from experts.neural.classes import class_names, expert_of, expert_of_hub, hub_class_names
    from experts.registry import load

    asks: list[str] = []
    with weights_errors():
        for source in concepts:
            if path := onnx_file(source):
                class_names(path, load([_ask(asks, expert_of(path), source)])[0].dim)
            else:
                weights = locate(source)
                _ask(asks, expert_of_hub(weights), source)
                hub_class_names(weights)
        for source in dual:
            load([_ask(asks, "dual", source)])
    return asks


def _ask(asks: list[str], expert: str, source: str) -> str:
    """Add `NAME=SOURCE`, under a name that is still free."""
    count = sum(family(ask.partition("=")[0]) == expert for ask in asks)
    asks.append(f"{expert}-{count + 1}={source}" if count else f"{expert}={source}")
    return asks[-1]


def words(store: FeatureStore) -> list[Source]:
    """What was said and shown, where the store has it."""
    return [Source(name, info, "sentences", []) for name, info in store.experts.items() if name in WORDS]


def _probabilities(path: Path, store: FeatureStore, expert: str) -> str:
    """What makes probabilities of a classifier's features: its sidecar says it, or the features themselves do."""
    from experts.neural.sidecar import read_sidecar

    told = read_sidecar(path).activation
    if told is not None:
        return "probabilities" if told == "none" else told
    tokens = store.read(np.arange(min(len(store), LOOKED_AT)), [expert])[expert].features
    within = not tokens.size or (float(tokens.min()) >= 0 and float(tokens.max()) <= 1)
    return "probabilities" if within else "softmax"


def weights_of(
    sources: Sequence[Source], asked: Sequence[str], usual: Mapping[str, float] = MappingProxyType({})
) -> dict[str, float]:
    """How much each expert counts.

    Args:
        sources: the experts.
        asked: `EXPERT=NUMBER` each.
        usual: of experts where nothing is asked, in place of `WEIGHTS`; it may know others than these.

    Raises:
        UsageError: one of them names no expert, or no number.
        HcqError: an expert comes twice.
    """
    known = [source.expert for source in sources]
    if twice := sorted({name for name in known if known.count(name) > 1}):
        raise HcqError(f"two sources are the expert {twice[0]}", "give each network once")
    found = {source.expert: source.weight or WEIGHTS.get(family(source.expert), 1.0) for source in sources}
    found |= {name: usual[name] for name in known if name in usual}
    for ask in asked:
        name, _, text = ask.partition("=")
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if name not in found or not 0 < value <= 100:
            raise UsageError(
                f"--weight {ask}: not EXPERT=NUMBER", f"--weight {known[0]}=1, one of {', '.join(known)}"
            )
        found[name] = value
    return found
