"""Videos without captions -> a checkpoint: `hcq fit`."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from hcq_cli.api.progress import SILENT, Progress
from hcq_cli.errors import UsageError
from hcq_cli.workspace import Workspace

if TYPE_CHECKING:
    from hcq_cli.features.store import FeatureStore
    from hcq_cli.fitting.fitting import Fitted
    from hcq_cli.fitting.sources import Source
    from hcq_cli.model.exported_text_encoder import ExportedTextEncoder

CODE_BYTES = 64
"""S by default: a sentence vector and some classes hold less than what training learns."""


@dataclass(frozen=True)
class FitResult:
    """A fitted model.

    Args:
        checkpoint: its folder.
        model: its hash.
        seconds: it took.
        experts: it is made of, and how much each counts.
        videos: it was fitted to.
        error: share of a video's vector that its codes do not give back, the mean.
        bytes_per_video: S.
        warnings: what is doubtful, a sentence each.
    """

    checkpoint: Path
    model: str
    seconds: float
    experts: dict[str, float]
    videos: int
    error: float
    bytes_per_video: int
    warnings: list[str]

    @property
    def metrics(self) -> dict[str, Any]:
        """What was measured."""
        return {"videos": self.videos, "quantization_error": round(self.error, 4)}


def fit(
    workspace: Workspace,
    *,
    concepts: Sequence[str] = (),
    dual: Sequence[str] = (),
    preset: str | None = None,
    weights: Sequence[str] = (),
    usual_weights: Mapping[str, float] = MappingProxyType({}),
    text_encoder: str = "minilm",
    code_bytes: int = CODE_BYTES,
    features: Path | None = None,
    output: Path | None = None,
    on: str | None = None,
    progress: Progress = SILENT,
) -> FitResult:
    """Make a checkpoint of pretrained networks and the workspace's videos, without captions.

    Args:
        workspace: whose features are fitted to, and where the checkpoint goes.
        concepts: classifiers whose classes have names, `onnx:FILE`, a folder or an id each; they have looked at the
            videos before.
        dual: dual encoders, a folder, an id or `onnx:FOLDER` each; they have looked at the videos before.
        preset: `light`, `laptop` or `gpu`: further sources, that suit such a machine.
        weights: `EXPERT=NUMBER` each, how much an expert counts.
        usual_weights: of experts where `weights` says nothing, as an earlier model had them.
        text_encoder: a sentence encoder: minilm, a folder, or the id of one that was fetched.
        code_bytes: S, bytes a video.
        features, output: other places than the workspace's.
        on: an engine, as other verbs take it: fitting has no use for one, and says so.

    Raises:
        NotFoundError: there are no features of a source, its classes have no names, or there is no text encoder.
        UsageError: there is no source, no such preset or engine, or a number is none.
        LockedError: another process writes the checkpoint.
    """
    from hcq_cli.engines.ray_cluster import without_engine
    from hcq_cli.features.store import FeatureStore
    from hcq_cli.fitting.sources import absolute_encoder, weights_of
    from hcq_cli.model.config import MAX_CODEWORDS
    from hcq_cli.model.text_source import find_text_encoder

    started = time.monotonic()
    without_engine(on, "fitting runs", progress.note)
    if not 1 <= code_bytes <= 4096:
        raise UsageError(f"--bytes {code_bytes}: a code has 1 to 4096 bytes", f"--bytes {CODE_BYTES}")
    concepts, dual = asked_sources(concepts, dual, preset)
    store = FeatureStore.open(features or workspace.features)
    text_encoder = absolute_encoder(text_encoder)
    sources, joint = _sources(store, concepts, dual, text_encoder)
    counted = weights_of([*sources, *joint], weights, usual_weights)
    if sources:
        find_text_encoder(text_encoder, option="--text-encoder ", otherwise="--text-encoder minilm")
    progress.note("loading torch…")

    place, warnings = output or workspace.model, list(store.warnings)
    about = {"concepts": concepts, "dual": dual, "text_encoder": text_encoder}
    done = _run(store, sources, joint, place, weights=counted, code_bytes=code_bytes, about=about, progress=progress)
    if done.videos < MAX_CODEWORDS:
        progress.note(f"fewer videos ({done.videos}) than codewords: each has its own, nothing is lost")
    for warning in warnings:
        progress.warn(warning)
    return FitResult(
        checkpoint=place,
        model=done.hash,
        seconds=time.monotonic() - started,
        experts=counted,
        videos=done.videos,
        error=done.error,
        bytes_per_video=code_bytes,
        warnings=warnings,
    )


def _run(
    store: FeatureStore,
    sources: Sequence[Source],
    joint: Sequence[Source],
    place: Path,
    *,
    weights: Mapping[str, float],
    code_bytes: int,
    about: Mapping[str, Any],
    progress: Progress,
) -> Fitted:
    """Fit a model to classifiers (`sources`) and dual encoders (`joint`), into the checkpoint folder `place`."""
    from hcq_cli.fitting import fitting
    from hcq_cli.model.config import TextConfig
    from hcq_cli.model.video_side import export_video_side

    encoder = about["text_encoder"] if sources else fitting.NO_ENCODER
    with (
        TemporaryDirectory(prefix="hcq-towers-") as folder,
        progress.progress("fitting", total=2 * min(len(store), fitting.MOST_VIDEOS), unit="videos") as bar,
    ):
        towers, logits = _text_encoders(joint, Path(folder))
        done = fitting.fit(
            store,
            [*sources, *joint],
            place,
            weights=weights,
            encoder=TextConfig(encoder=encoder, max_tokens=64),
            code_bytes=code_bytes,
            about={**about, "logits": logits},
            towers=towers,
            done=bar.advance,
        )
    export_video_side(place)
    return done


def asked_sources(concepts: Sequence[str], dual: Sequence[str], preset: str | None) -> tuple[list[str], list[str]]:
    """The classifiers and the dual encoders that are named, and a preset's, as they are called from any folder.

    Raises:
        UsageError: there is no such preset.
    """
    from hcq_cli.fitting.dual import preset_sources
    from hcq_cli.fitting.sources import absolute

    named, joint = preset_sources(preset)
    return [absolute(each) for each in (*concepts, *named)], [absolute(each) for each in (*dual, *joint)]


def _sources(
    store: FeatureStore, concepts: Sequence[str], dual: Sequence[str], text_encoder: str
) -> tuple[list[Source], list[Source]]:
    """The sources whose words the sentence encoder reads, and the dual encoders, which read for themselves."""
    from hcq_cli.fitting.dual import dual_source
    from hcq_cli.fitting.sources import classifier, words

    joint = [dual_source(store, given) for given in dual]
    sources = [classifier(store, source) for source in concepts]
    if text_encoder == "minilm":  # the words that were said and shown are its vectors
        sources += words(store)
    if not sources and not joint:
        raise UsageError("no source given", "hcq fit --concepts onnx:FILE, or --dual FOLDER")
    return sources, joint


def _text_encoders(
    joint: Sequence[Source], folder: Path
) -> tuple[dict[str, ExportedTextEncoder], dict[str, dict[str, float | None]]]:
    """The text encoders of dual encoders, written into `folder`, and their logit scales and biases."""
    from hcq_cli.fitting.dual import write_text_encoders
    from hcq_cli.model.exported_text_encoder import ExportedTextEncoder

    written = {source.expert: text for source, text in zip(joint, write_text_encoders(joint, folder), strict=True)}
    # What a dual encoder makes probabilities of its cosines with: not needed to search, and not to be had again where
    # the network is gone.
    logits = {name: {"scale": text.scale, "bias": text.bias} for name, text in written.items()}
    return {name: ExportedTextEncoder(text.path, lasting=True) for name, text in written.items()}, logits
