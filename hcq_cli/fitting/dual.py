"""Dual encoders among the sources of a model without captions: what they looked at, and their text encoders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from experts.neural.dual import onnx_folder
from experts.neural.hub import cached_snapshot, parse_hub_id
from experts.neural.pipeline import Pipeline, locate_network
from hcq_cli.errors import DamagedError, HcqError, NotFoundError, UsageError, near
from hcq_cli.extraction.options import weights_errors
from hcq_cli.fitting.sources import Source

if TYPE_CHECKING:
    from hcq_cli.features.store import FeatureStore
    from hcq_cli.fitting.dual_text import DualText

PICTURES, SOUND = 2.0, 0.5
"""How much a dual encoder counts beside classifiers, whose classes say less; people ask for sound less often."""


def dual_source(store: FeatureStore, given: str) -> Source:
    """A dual encoder and the features that it wrote.

    Args:
        store: of the features.
        given: a folder, an id, or `onnx:FOLDER`.

    Raises:
        NotFoundError: it is not on this machine, is no dual encoder, or has not looked at the videos; the hint says
            what to run.
        DamagedError: its folder asks for code or for another file.
    """
    from experts.registry import load

    with weights_errors():
        expert = load([f"dual={given}"])[0]
        weights = expert.weights
    # By its weights, under whatever name: `appearance=CLIP` and `audio=CLAP` write the same vectors.
    found = [info for info in store.experts.values() if weights in info.identity]
    if not found:
        name = "dual" if "dual" not in store.experts else f"dual-{len(store.experts)}"
        hint = f"hcq extract VIDEOS --experts {name}={given}"
        raise NotFoundError(f"{given} has not looked at the videos of {store.folder}", hint)
    info = min(found, key=lambda each: not each.name.startswith("dual"))
    counts = PICTURES if expert.sampling.frames_per_second else SOUND
    return Source(info.name, info, "joint", [], weight=counts, given=given)


def preset_sources(preset: str | None) -> tuple[list[str], list[str]]:
    """The classifiers and the dual encoders of a preset; none without one.

    Raises:
        UsageError: there is no such preset.
        NotFoundError: not all of its networks are on this machine; the hint fetches them.
        DamagedError: the list of what was fetched cannot be read.
    """
    from experts.neural.hub import ABOUT_MB, WITHOUT_CAPTIONS

    if preset is None:
        return [], []
    if preset not in WITHOUT_CAPTIONS:
        meant = near(preset, WITHOUT_CAPTIONS)
        hint = f"did you mean {meant}? --preset {meant}" if meant else f"--preset {'|'.join(WITHOUT_CAPTIONS)}"
        raise UsageError(f"there is no preset {preset!r} to fit", hint)
    sources = WITHOUT_CAPTIONS[preset].items()
    if missing := [source for _, source in sources if not _is_here(source)]:
        each = ", ".join(f"{source} (about {ABOUT_MB[source] / 1000:.2g} GB)" for source in missing)
        raise NotFoundError(f"of the preset {preset} not on this machine: {each}", f"hcq models fetch {preset}")
    joint = [source for name, source in sources if name.startswith("dual")]
    return [source for name, source in sources if not name.startswith("dual")], joint


def _is_here(source: str) -> bool:
    hub = parse_hub_id(source)
    try:
        return hub is None or cached_snapshot(hub)[0].is_dir()
    except ValueError as error:
        raise DamagedError(str(error), "hcq models fetch") from error


def write_text_encoders(sources: Sequence[Source], folder: Path) -> list[DualText]:
    """Write the text encoders of dual encoders into a folder.

    Raises:
        NotFoundError, DamagedError: as `dual_source`.
        HcqError: it cannot be exported, or its texts are not as wide as what it looked at.
    """
    from hcq_cli.model.checkpoint import tower_file

    found = []
    for source in sources:
        with weights_errors():
            text = write_dual_text(source.given, folder / tower_file(source.expert))
        _check_width(source.given, text.width, source.info.dim)
        found.append(text)
    return found


def check_texts(sources: Sequence[str]) -> None:
    """See that what a person exported reads texts for what it sees or hears: before anything long begins.

    Args:
        sources: dual encoders; both sides of those that are no `onnx:FOLDER` are one network.

    Raises:
        NotFoundError, DamagedError, HcqError: as `write_text_encoders`.
    """
    from experts.registry import load

    for given in sources:
        if folder := onnx_folder(given):
            from hcq_cli.fitting.dual_onnx import onnx_text_width

            with weights_errors():
                _check_width(given, onnx_text_width(given, folder), load([f"dual={given}"])[0].dim)


def _check_width(given: str, texts: int, videos: int) -> None:
    if texts != videos:
        widths = f"vectors of width {texts}, what it sees or hears of {videos}"
        raise HcqError(f"{given}: its texts are {widths}", "give both sides of one network")


def write_dual_text(given: str, path: Path) -> DualText:
    """Write the text encoder of a dual encoder.

    Args:
        given: a folder, an id, or `onnx:FOLDER`, as the expert `dual` takes it.
        path: of the file; its name must stay, since the graph holds it.

    Raises:
        WeightsError: the network is not there, or cannot be read.
        HcqError: it cannot be exported, or the export does not do what the network does.
    """
    from hcq_cli.fitting.dual_onnx import write_onnx_text
    from hcq_cli.fitting.dual_pipeline import write_pipeline_text
    from hcq_cli.fitting.dual_text import write_network_text

    if folder := onnx_folder(given):
        return write_onnx_text(given, folder, path)
    found = locate_network(given)
    return write_pipeline_text(found, path) if isinstance(found, Pipeline) else write_network_text(found, path)
