"""From a folder to the answer in one go: `hcq find`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from hcq_cli.api.extraction import extract
from hcq_cli.api.fitting import CODE_BYTES, FitResult, asked_sources, fit
from hcq_cli.api.progress import SILENT, Progress
from hcq_cli.api.updating import Updated, update, update_codes
from hcq_cli.errors import HcqError, NotFoundError, UsageError
from hcq_cli.workspace import Workspace

GROWN = 2
"""A collection that is more than so many times what its model was fitted to gets a new one."""
USUAL = {"text_encoder": "minilm", "code_bytes": CODE_BYTES}
"""What `fit` is asked for where nothing is said."""


@dataclass(frozen=True)
class Prepared:
    """A folder that can be searched.

    Args:
        updated: what was done to features, codes and index.
        fitted: the model that was made; None where there was one that would do.
    """

    updated: Updated
    fitted: FitResult | None


def make_searchable(
    workspace: Workspace,
    folder: str | PathLike[str],
    *,
    concepts: Sequence[str] = (),
    dual: Sequence[str] = (),
    preset: str | None = None,
    text_encoder: str | None = None,
    code_bytes: int | None = None,
    workers: int | None = None,
    device: str = "auto",
    progress: Progress = SILENT,
) -> Prepared:
    """Bring a folder to where it can be searched; only what is new is looked at, and only what is needed is done.

    Without a model one is fitted, of the sources given; so it is where the sources are others than those of the
    model that is there. Where the collection has outgrown it, its experts look at videos otherwise than they did, or
    another text encoder or other bytes are asked for, it is fitted anew and stays what it was in all else. Each step
    can be interrupted and is gone on with.

    Args:
        folder: of videos.
        concepts, dual, preset: sources to make a model of, as `fit` takes them; none for those of the model that is
            there.
        text_encoder, code_bytes: as `fit` takes them; default: the model's, of a new one `fit`'s.
        workers, device: as `extract` takes them.

    Raises:
        NotFoundError: there are no videos; or no model, and nothing to make one of; or a network is missing.
        UsageError: another text encoder or other bytes for a model that was trained.
        LockedError: another process writes to the workspace.
        HcqError: as `extract`, `fit` and `update`.
    """
    from hcq_cli.fitting.dual import check_texts
    from hcq_cli.fitting.sources import absolute_encoder, expert_asks
    from hcq_cli.model.text_source import find_text_encoder

    sources = dict(zip(("concepts", "dual"), asked_sources(concepts, dual, preset), strict=True))
    given: dict[str, Any] = {} if text_encoder is None else {"text_encoder": absolute_encoder(text_encoder)}
    given |= {} if code_bytes is None else {"code_bytes": code_bytes}
    there = _model(workspace)
    if not any(sources.values()):
        _need_model_for(workspace, there, folder, given)
    stays = not any(sources.values()) or (there is not None and sources.items() <= there.made_of.items())
    made_of = {**(there.made_of if there is not None and stays else {**USUAL, **sources}), **given}
    if there is None or made_of != there.made_of:
        asks = [] if stays else expert_asks(made_of["concepts"], made_of["dual"])
        if asks:
            check_texts(made_of["dual"])
        if made_of["concepts"]:
            find_text_encoder(made_of["text_encoder"], option="--text-encoder ", otherwise="--text-encoder minilm")
    how: dict[str, Any] = {"workers": workers, "device": device, "progress": progress}
    weights: Mapping[str, float] = {}
    if there is None or not stays:
        report = extract(workspace, [folder], experts=asks, **how)
        if report.failed and len(report.failed) == report.videos:
            first = report.failed[0]
            reason = f"{Path(first.path).name}: {first.error}"
            raise HcqError(
                f"{fspath(folder)}: nothing can be seen or heard in any of its files ({reason})", "hcq doctor"
            )
    else:
        done = update(workspace, [folder], **how)
        report, weights = done.extracted, there.weights
        if made_of == there.made_of and not _outdated(workspace, there, report.videos, progress):
            return Prepared(done, None)
    fitted = fit(workspace, **made_of, usual_weights=weights, progress=progress)
    return Prepared(update_codes(workspace, report, progress=progress), fitted)


@dataclass(frozen=True)
class _Model:
    """The model of a workspace.

    Args:
        made_of: what `fit` was asked for; empty of a trained one.
        weights: of its experts.
        videos: it was fitted to; 0 where that is not known, or where captions have adapted it, which a model that is
            fitted anew would not know.
        identities: of the features that it was fitted to, by expert.
    """

    made_of: Mapping[str, Any]
    weights: Mapping[str, float]
    videos: int
    identities: Mapping[str, str]


def _model(workspace: Workspace) -> _Model | None:
    """What is known of the workspace's model; None without one."""
    from hcq_cli.fitting.sources import absolute_encoder
    from hcq_cli.model.checkpoint import read_header

    try:
        header = read_header(workspace.model)
    except NotFoundError:
        return None
    if header.config.kind != "fitted":
        return _Model({}, {}, 0, {})
    about, config = header.about, header.config
    made_of: dict[str, Any] = {name: list(about.get(name, [])) for name in ("concepts", "dual")}
    # A model of dual encoders alone has no text encoder of its own, whatever was asked for.
    encoder = config.text.encoder if made_of["concepts"] else USUAL["text_encoder"]
    made_of["text_encoder"] = absolute_encoder(str(about.get("text_encoder", encoder)))
    made_of["code_bytes"] = config.code_bytes
    weights = {name: expert.weight for name, expert in config.experts.items()}
    adapted = about.get("adapted", {}).get("kept", False)
    videos = 0 if adapted else int(about.get("fitted", {}).get("videos", 0))
    return _Model(made_of, weights, videos, {name: expert.identity for name, expert in config.experts.items()})


def _need_model_for(
    workspace: Workspace, there: _Model | None, folder: str | PathLike[str], given: Mapping[str, Any]
) -> None:
    """Raise where no source is named and the model that is there cannot do what is asked."""
    if there is None:
        raise NotFoundError(
            f"{workspace.model}: no model yet, and no network named to make one of",
            f'hcq models fetch light, then: hcq find {fspath(folder)} "…" --preset light; or --concepts onnx:FILE',
        )
    if given and not there.made_of:
        raise UsageError(
            f"{workspace.model} was trained with captions: it keeps its text encoder and its bytes",
            "leave them out, or name what to fit a model of: --preset light",
        )


def _outdated(workspace: Workspace, there: _Model, videos: int, progress: Progress) -> bool:
    """Whether a collection is much larger than what its model was fitted to, or looked at otherwise."""
    from hcq_cli.features.store import FeatureStore

    if not there.videos:
        return False
    if videos > GROWN * there.videos:
        progress.note(
            f"the collection has grown from {there.videos:,} videos to {videos:,}: its model is fitted anew"
        )
        return True
    held = FeatureStore.snapshot(workspace.features).experts
    newer = [name for name, known in there.identities.items() if name in held and held[name].identity != known]
    if newer:
        progress.note(f"{', '.join(newer)}: looks at videos otherwise than it did: the model is fitted anew")
    return bool(newer)
