"""A video as a query: from a video file to its vectors, by the very experts that the model was trained on.

The file is decoded in a child process with a deadline, as by `hcq extract`; its features go to a store that is thrown
away. No torch is imported, unless the experts need it.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hcq_cli.errors import HcqError, NotFoundError, UsageError

if TYPE_CHECKING:
    from hcq_cli.features.records import Ragged
    from hcq_cli.model.config import ExpertConfig


@dataclass(frozen=True)
class VideoQuery:
    """A video as a query.

    Args:
        levels: float32 [1, L+1, D], ready for the table.
        extract_ms: to decode it and run the experts, milliseconds.
        encode_ms: to encode the features with a model that is loaded.
        warnings: what went not quite right, a sentence each.
    """

    levels: np.ndarray
    extract_ms: float
    encode_ms: float
    warnings: list[str]


@dataclass(frozen=True)
class MatchedExperts:
    """Experts whose features are those that a model was trained on, and how they were made to look at a video.

    Args:
        names: as `experts.registry.load` takes them: a name, or `name=SOURCE`.
        sample_fps, max_seconds: as `hcq extract` takes them.
    """

    names: list[str]
    sample_fps: float | None
    max_seconds: float | None


def match_experts(experts: Mapping[str, ExpertConfig], sources: Sequence[str] = ()) -> MatchedExperts:
    """Find the experts whose features are those that a model was trained on.

    Args:
        experts: of the model.
        sources: of experts, `name=SOURCE`, for experts that are files of the user's, which an identity does not name.

    Raises:
        NotFoundError: an expert, or its weights, is not on this machine.
        UsageError: what is installed gives features of another version, or `sources` names what the model does not
            have.
    """
    from experts.registry import split_source

    given = {split_source(source)[0]: source for source in sources}
    if unknown := set(given) - set(experts):
        raise UsageError(f"the model has no expert {sorted(unknown)[0]!r}", f"it has {', '.join(experts)}")
    identities = {name: expert.identity for name, expert in experts.items()}
    rates = {rate for identity in identities.values() if (rate := _number(identity, "frames_per_second")) is not None}
    limits = (_number(identity, "max_seconds") for identity in identities.values())
    limit = next((seconds for seconds in limits if seconds is not None), None)
    asked = [[given[name]] if name in given else _candidates(name, identity) for name, identity in identities.items()]
    mismatch = ""
    # An identity names the rate that an expert ran at, but not whether that was asked for or is its own choice, nor
    # whether its weights are those it takes by itself: so all combinations are tried until the identities agree.
    for rate, names in product([None, *sorted(rates)], product(*asked)):
        found = _identities(names, rate, limit)
        differing = [name for name, wanted in identities.items() if wanted and found[name] != wanted]
        if not differing:
            return MatchedExperts(list(names), rate, limit)
        mismatch = mismatch or differing[0]
    raise UsageError(
        f"the model was trained on {mismatch} features that no {mismatch} expert here gives ({identities[mismatch]})",
        f"name its source: hcq query --video FILE --experts {mismatch}=SOURCE; or install that hcq",
    )


def _number(identity: str, setting: str) -> float | None:
    """A setting that an identity names, for example `max_seconds=30`."""
    found = re.search(rf"{setting}=([\d.]+)", identity)
    return float(found[1]) if found else None


def _candidates(name: str, identity: str) -> list[str]:
    """What an expert of this identity may be asked for by: itself, or the network that its weights name."""
    weights = (identity.split("|") + [""] * 3)[2]
    # Several networks are joined by +, as in what they are asked for by.
    source = "+".join(part.partition("@")[0] for part in weights.split("+")) if "@" in weights else ""
    return [f"{name}={source}"] if source else [name]


def _identities(names: Sequence[str], sample_fps: float | None, max_seconds: float | None) -> dict[str, str]:
    from hcq_cli.extraction.options import load_experts
    from hcq_cli.features.records import identity

    return {expert.name: identity(expert, {"max_seconds": max_seconds}) for expert in load_experts(names, sample_fps)}


def _noted_sources(experts: Mapping[str, ExpertConfig], about: Mapping[str, Any], given: Sequence[str]) -> list[str]:
    """What a fitted model's experts are to be asked for by, `name=SOURCE`, where it was made of files or folders.

    An identity knows such a source by its digest alone; where it lies the checkpoint notes, but not whose it is.

    Args:
        experts: of the model.
        about: how it was made.
        given: sources that a person names, which are not looked for.

    Raises:
        NotFoundError: one is not there any more, or is another file now.
    """
    from experts.registry import split_source

    named, found = {split_source(source)[0] for source in given}, []
    for name, expert in experts.items():
        weights = (expert.identity.split("|") + [""] * 3)[2]
        noted = list(about.get("dual" if expert.reads == "joint" else "concepts", ()))
        if name in named or not noted or expert.reads == "sentences" or not weights.startswith("sha256:"):
            continue
        source = next((source for source in noted if _weights(name, source) == weights), None)
        if source is None:
            raise NotFoundError(
                f"what gave the model its {name} features is not there any more, or has changed ({', '.join(noted)})",
                f"name where it lies: hcq query --video FILE --experts {name}=SOURCE",
            )
        found.append(f"{name}={source}")
    return found


def _weights(name: str, source: str) -> str:
    """Commit or digest of what an expert of this source runs; empty where it cannot be one."""
    from hcq_cli.extraction.options import load_experts

    try:
        return load_experts([f"{name}={source}"])[0].weights
    except HcqError:  # it is gone, or is the source of another expert
        return ""


def encode_video(checkpoint: Path, path: Path, sources: Sequence[str] = ()) -> VideoQuery:
    """Decode a video, run the model's experts on it and encode what they say.

    Args:
        checkpoint: of the model.
        sources: see `match_experts`.

    Raises:
        NotFoundError: no such file, or an expert is not on this machine.
        UsageError: the experts here are not those of the model.
        HcqError: the file gives nothing, or nothing that the model knows.
    """
    from hcq_cli.datasets.batches import collate
    from hcq_cli.model.checkpoint import read_header
    from hcq_cli.model.video_side import open_video_encoder

    video, header = _video_file(path), read_header(checkpoint)
    config = header.config
    matched = match_experts(config.experts, [*_noted_sources(config.experts, header.about, sources), *sources])
    started = time.perf_counter()
    tokens, warnings = _extract(video, matched)
    extracted = time.perf_counter()
    if not any(len(ragged.times) for ragged in tokens.values()):
        raise HcqError(f"{path}: there is nothing in it that the model's experts see or hear", "hcq extract FILE")
    model = open_video_encoder(checkpoint)  # last, when nothing else can fail any more: it may have to be exported
    loaded = time.perf_counter()
    levels = model.encode_video_queries(collate(tokens, config.video.max_tokens))
    encode_ms = (time.perf_counter() - loaded) * 1000
    return VideoQuery(levels, (extracted - started) * 1000, encode_ms, warnings)


def extract_tokens(path: Path, matched: MatchedExperts) -> dict[str, Ragged]:
    """The tokens of a video or picture, by expert. Errors are those of `encode_video`."""
    return _extract(_video_file(path), matched)[0]


def _video_file(path: Path) -> dict[str, str]:
    """A file as `Inputs` has it: its path by its id."""
    from hcq_cli.media.inputs import find_inputs

    if path.is_dir():
        raise UsageError(f"{path}: is a folder", "give one video: hcq query --video FILE")
    found = find_inputs([str(path)])
    if not found.videos:
        raise NotFoundError(f"{path}: {found.unusable[0].error}", "hcq query --video FILE")
    return found.videos


def _extract(video: dict[str, str], matched: MatchedExperts) -> tuple[dict[str, Ragged], list[str]]:
    """The tokens of a video, by expert, and what went not quite right."""
    from hcq_cli.extraction.extract import extract
    from hcq_cli.extraction.options import ExtractionOptions
    from hcq_cli.features.store import FeatureStore
    from hcq_cli.media.inputs import Inputs

    # Through a store like any other, so that its features are those that training read, to the last bit.
    with tempfile.TemporaryDirectory(prefix="hcq-query-") as folder:
        options = ExtractionOptions(
            Path(folder),
            workers=1,
            sample_fps=matched.sample_fps,
            max_seconds=matched.max_seconds,
        )
        report = extract(Inputs(video), matched.names, options)
        if report.failed:
            raise HcqError(f"{report.failed[0].path}: {report.failed[0].error}", "hcq doctor, or give another video")
        tokens = FeatureStore.open(Path(folder)).read([0])
    return tokens, [str(warning) for warning in report.warnings]
