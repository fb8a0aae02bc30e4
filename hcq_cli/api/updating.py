"""A collection brought up to date in one go: `hcq update`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from hcq_cli.api.encoding import as_asked, as_cut, encode
from hcq_cli.api.extraction import ExtractionSettings, extract, known_roots
from hcq_cli.api.index_sources import table_has_changed, words_of_collection
from hcq_cli.api.indexing import add_to_index, build_index
from hcq_cli.api.progress import SILENT, Progress
from hcq_cli.collection import LastExtraction, path_below, read_collection
from hcq_cli.errors import NotFoundError
from hcq_cli.workspace import Workspace

if TYPE_CHECKING:
    from hcq_cli.codes.codefile import CodeFile
    from hcq_cli.extraction.report import ExtractReport
    from hcq_cli.features.store import FeatureStore
    from hcq_cli.model.encoding import EncodeResult
    from hcq_cli.search.index import Index
    from hcq_cli.search.index_writer import IndexChange


@dataclass(frozen=True)
class Updated:
    """What was done at each step.

    Args:
        extracted: report of the extraction: what is new, changed, renamed, gone, failed.
        encoded: of the codes made anew; None where they were current, or there is no model.
        indexed: of the index made anew; None where it was current, or there are no codes.
        next: the command that is to be run before the rest can be done; empty where all is done.
    """

    extracted: ExtractReport
    encoded: EncodeResult | None
    indexed: IndexChange | None
    next: str = ""


def update(
    workspace: Workspace,
    folders: Iterable[str | PathLike[str]] = (),
    *,
    experts: str | Sequence[str] | None = None,
    preset: str | None = None,
    everything: bool | None = None,
    exclude: Sequence[str] | None = None,
    segments: bool | None = None,
    segment_s: float | None = None,
    progress: Progress = SILENT,
    **settings: Unpack[ExtractionSettings],
) -> Updated:
    """Bring features, codes and index up to date with the files; only what is needed is done.

    Without a model only features are brought up to date, and `next` says what makes one: call it again then.

    Args:
        folders: to look at; default: all that were extracted before, and the files that were beside them.
        experts, preset: as `extract` takes them; default: those that folders were last extracted with, and those that
            the model knows videos by.
        everything, exclude: as `extract` takes them; default: as last time.
        segments, segment_s: as `encode` takes them; default: as the codes are cut now.
        settings: see `ExtractionSettings`; the store is the workspace's.

    Raises:
        NotFoundError: nothing was extracted yet, or none of it can be reached.
        LockedError: another process writes to the workspace.
        HcqError: as `extract`, `encode` and `build_index`.
    """
    collection = read_collection(workspace.features)
    asked = _asked(workspace, collection.asked)
    if experts is None and preset is None:
        experts = _with_those_of_model(workspace, asked)
        _need_networks(experts or [], experts or [])
    settings["store"] = workspace.features
    settings["sample_fps"] = settings.get("sample_fps") or asked.sample_fps
    settings["max_seconds"] = settings.get("max_seconds") or asked.max_seconds
    asked_for = [fspath(folder) for folder in folders]
    files: list[str] = []
    if not asked_for:
        asked_for, files = _extracted_before(workspace, progress)
    report = extract(
        workspace,
        asked_for,
        listed=files,
        experts=experts,
        preset=preset or "classic",
        everything=asked.everything if everything is None else everything,
        exclude=asked.exclude if exclude is None else exclude,
        progress=progress,
        **settings,
    )
    return update_codes(workspace, report, segments=segments, segment_s=segment_s, progress=progress)


def update_codes(
    workspace: Workspace,
    extracted: ExtractReport,
    *,
    segments: bool | None = None,
    segment_s: float | None = None,
    progress: Progress = SILENT,
) -> Updated:
    """Bring codes and index up to date with the features as they are now: the rest of `update` after an extraction.

    Args:
        extracted: report of that extraction.
        segments, segment_s, progress: as `update` takes them.

    Raises:
        HcqError: as `encode` and `build_index`.
    """
    from hcq_cli.features.store import FeatureStore
    from hcq_cli.model.checkpoint import model_hash

    try:
        model = model_hash(workspace.model)
    except NotFoundError:
        return Updated(extracted, None, None, workspace.step_towards(workspace.model))
    store = FeatureStore.open(workspace.features)  # once: codes and index are made of the same features
    codes, encoded = _bring_codes(workspace, store, model, segments, segment_s, progress=progress)
    return Updated(extracted, encoded, _bring_index(workspace, codes, store, progress))


def _asked(workspace: Workspace, asked: LastExtraction) -> LastExtraction:
    """How folders were last extracted; of a store that does not say so, by the experts that it has."""
    if asked.experts is not None:
        return asked
    from experts.registry import presets
    from hcq_cli.features.store import FeatureStore

    held = FeatureStore.snapshot(workspace.features).experts
    return replace(asked, experts=[name for name in presets["classic"] if name in held] or None)


def _with_those_of_model(workspace: Workspace, asked: LastExtraction) -> list[str] | None:
    """The experts that folders were last extracted with, and, as each was asked for when it last was, those of the
    model: by what others find alone it would not find a new video."""
    from hcq_cli.fitting.sources import expert_asks
    from hcq_cli.model.checkpoint import read_header

    last = asked.experts
    try:
        model = read_header(workspace.model)
    except NotFoundError:
        return last
    lacking = model.config.experts.keys() - {name.partition("=")[0] for name in last or model.config.experts}
    known = asked.every_expert
    if model.config.kind == "fitted" and not lacking <= known.keys():  # a store of an earlier hcq
        concepts, dual = model.about.get("concepts", []), model.about.get("dual", [])
        _need_networks([*concepts, *dual], [*(last or []), *(f"{name}=onnx:FILE" for name in sorted(lacking))])
        known = {ask.partition("=")[0]: ask for ask in expert_asks(concepts, dual)} | known
    return [*last, *(known[name] for name in sorted(lacking & known.keys()))] if last else last


def _need_networks(asks: Sequence[str], experts: Sequence[str]) -> None:
    """Raise NotFoundError where a file or folder of a network among `asks` is gone; `experts` are all that look."""
    from experts.registry import WITH_SOURCE

    for ask in asks:
        name, named, source = ask.partition("=")
        if named and name.partition("-")[0] not in WITH_SOURCE:
            continue  # an expert of another package: what its source means it knows alone
        source = source or ask
        # Faces and speech take two networks, joined by a plus, which may also stand in the name of one.
        one = source.startswith("onnx:") or Path(source).exists()
        for part in [source.removeprefix("onnx:")] if one else source.split("+"):
            if Path(part).is_absolute() and not Path(part).exists():
                raise NotFoundError(
                    f"{part}: is gone, and new videos are looked at with it",
                    f"put it back, or say where it lies now: hcq update --experts {','.join(experts)}",
                )


def _extracted_before(workspace: Workspace, progress: Progress) -> tuple[list[str], list[str]]:
    """The folders of a collection, and the files that lie in none of them; of those that are not there it is said."""
    from hcq_cli.features.store import FeatureStore

    roots = known_roots(workspace.features)
    paths = FeatureStore.snapshot(workspace.features).paths()
    beside = [path for path in paths if all(path_below(path, root) is None for root in roots)]
    beside = [path for path in beside if not path.endswith(".h5")]  # of hcq import, with no video
    if not roots and not beside:
        raise NotFoundError("nothing has been extracted yet", "hcq update FOLDER")
    folders = [root for root in roots if Path(root).is_dir()]
    files = [path for path in beside if Path(path).is_file()]
    for root in sorted(set(roots) - set(folders)):
        progress.warn(f"{root}: is not there (a drive that is not plugged in?); its videos stay as they are")
    if gone := sorted(set(beside) - set(files)):
        progress.warn(
            f"{gone[0]}{f' and {len(gone) - 1} more' if len(gone) > 1 else ''}: not there; extracted by name and not "
            "with a folder, they stay until hcq features remove takes them out"
        )
    if not folders and not files:
        raise NotFoundError(
            f"none of the collection's {'folders' if roots else 'files'} is there",
            "plug in their drive, or hcq update FOLDER",
        )
    return folders, files


def _bring_codes(
    workspace: Workspace,
    store: FeatureStore,
    model: str,
    segments: bool | None,
    segment_s: float | None,
    progress: Progress,
) -> tuple[CodeFile, EncodeResult | None]:
    """The codes of `store` by the model with this hash, and what was done for that."""
    from hcq_cli.codes.codefile import open_codes, source_of

    with suppress(NotFoundError):
        codes = open_codes(workspace.codes)
        if segments is None and segment_s is None:
            segments, segment_s = as_cut(codes.source)
        cutting = as_asked(segments is not False, segment_s)
        wanted = source_of(store.digest, asdict(cutting), read_collection(workspace.features).removed)
        if (codes.header.model_hash, codes.source) == (model, wanted):
            return codes, None
    encoded = encode(
        workspace, features=store, segments=segments is not False, segment_s=segment_s, progress=progress
    )
    return open_codes(encoded.codes), encoded


def _bring_index(
    workspace: Workspace, codes: CodeFile, store: FeatureStore, progress: Progress
) -> IndexChange | None:
    """Make the index anew, unless it was made of these codes; codes of other files that are in it stay in it."""
    from hcq_cli.codes.codefile import relative_to
    from hcq_cli.search.index import Index

    try:
        index = Index.open(workspace.index)
    except NotFoundError:
        return build_index(workspace, features=store, progress=progress)
    sources, own = index.manifest.sources, relative_to(str(codes.path), workspace.index)
    same = sources.get(own) == codes.digest and index.header.model_hash == codes.header.model_hash
    if same and not table_has_changed(index) and not _words_changed(workspace, index, own, codes, store):
        return None
    others = [workspace.index / name for name in sources if name != own]
    if all(path.is_file() for path in others):
        text_side = index.manifest.text_encoder.precision if index.manifest.text_encoder else "float32"
        every = [workspace.codes, *others] if others else []
        words = bool(index.manifest.words_of) or not index.manifest.digests
        return build_index(workspace, every, text_side=text_side, words=words, features=store, progress=progress)
    progress.warn(
        f"{workspace.index}: also holds codes of files that are no longer there, so it is added to, and what is gone "
        "from the collection stays in it: hcq index build"
    )
    return add_to_index(workspace, features=store, progress=progress)


def _words_changed(workspace: Workspace, index: Index, own: str, codes: CodeFile, store: FeatureStore) -> bool:
    """Whether transcripts, captions or subtitles beside the videos are others than when the index was made.

    An index without words was made so on purpose, or by an earlier hcq; the next one has them.
    """
    read = index.manifest.words_of.get(own)
    if read is None:
        return False
    words = words_of_collection(workspace, codes, store)
    return words is not None and words.digest_of(codes) != read
