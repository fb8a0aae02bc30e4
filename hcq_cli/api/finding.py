"""From a folder to the answer in one go: `hcq find`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike, fspath
from typing import Any

from hcq_cli.api.extraction import extract
from hcq_cli.api.fitting import CODE_BYTES, FitResult, fit
from hcq_cli.api.progress import SILENT, Progress
from hcq_cli.api.updating import Updated, update
from hcq_cli.errors import NotFoundError
from hcq_cli.workspace import Workspace

GROWN = 2
"""A collection that is more than so many times what its model was fitted to gets a new one."""


@dataclass(frozen=True)
class Prepared:
    """A folder that can be searched.

    Args:
        updated: what was done to features, codes and index.
        fitted: the model that was made; None where there was one that would do.
    """

    updated: Updated
    fitted: FitResult | None


def prepare(
    workspace: Workspace,
    folder: str | PathLike[str],
    *,
    concepts: Sequence[str] = (),
    dual: Sequence[str] = (),
    preset: str | None = None,
    text_encoder: str = "minilm",
    code_bytes: int | None = None,
    workers: int | None = None,
    device: str = "auto",
    progress: Progress = SILENT,
) -> Prepared:
    """Bring a folder to where it can be searched; only what is new is looked at, and only what is needed is done.

    Without a model one is fitted, of the sources given; so it is where the sources are others than those of the
    model that is there, and where the collection has outgrown it. Each step can be interrupted and is gone on with.

    Args:
        workspace: where everything is kept.
        folder: of videos.
        concepts, dual, preset, text_encoder, code_bytes: what to make a model of, as `fit` takes them; none of them
            for the model that is there.
        workers, device: as `extract` takes them.
        progress: told of every step.

    Raises:
        NotFoundError: there are no videos; or no model, and nothing to make one of; or a network is missing.
        LockedError: another process writes to the workspace.
        HcqError: as `extract`, `fit` and `update`.
    """
    from hcq_cli.fitting.dual import preset_sources
    from hcq_cli.fitting.sources import absolute, expert_asks
    from hcq_cli.model.text_source import find_text_encoder

    named, joint = preset_sources(preset)
    asked: dict[str, Any] = {
        "concepts": [absolute(source) for source in [*concepts, *named]],
        "dual": [absolute(source) for source in [*dual, *joint]],
    }
    made_of, fitted_to = _model(workspace)
    if made_of is None and not any(asked.values()):
        raise NotFoundError(
            f"{workspace.model}: no model yet, and no network named to make one of",
            f'hcq models fetch light, then: hcq find {fspath(folder)} "…" --preset light; or --concepts onnx:FILE',
        )
    how: dict[str, Any] = {"workers": workers, "device": device, "progress": progress}
    model: dict[str, Any] = {"text_encoder": text_encoder, "code_bytes": code_bytes or CODE_BYTES}
    if any(asked.values()) and made_of != asked:
        experts = expert_asks(asked["concepts"], asked["dual"])
        if asked["concepts"]:
            find_text_encoder(text_encoder, option="--text-encoder ", otherwise="--text-encoder minilm")
        report = extract(workspace, [folder], experts=experts, **how)
        fitted = fit(workspace, **asked, **model, progress=progress)
        return Prepared(replace(update(workspace, [folder], **how), extracted=report), fitted)
    done = update(workspace, [folder], **how)
    videos = done.extracted.videos
    if fitted_to is None or videos <= GROWN * fitted_to or made_of is None:
        return Prepared(done, None)
    progress.note(f"the collection has grown from {fitted_to:,} videos to {videos:,}: its model is fitted anew")
    fitted = fit(workspace, **made_of, **model, progress=progress)
    return Prepared(replace(update(workspace, [folder], **how), extracted=done.extracted), fitted)


def _model(workspace: Workspace) -> tuple[Mapping[str, Any] | None, int | None]:
    """What the workspace's model was made of, and how many videos it was fitted to; None for what is not known."""
    from hcq_cli.model.checkpoint import read_header

    try:
        header = read_header(workspace.model)
    except NotFoundError:
        return None, None
    if header.config.kind != "fitted":
        return {}, None
    about = header.about
    made_of = {name: list(about.get(name, [])) for name in ("concepts", "dual")}
    return made_of, int(about.get("fitted", {}).get("videos", 0)) or None
