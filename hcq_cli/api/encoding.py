"""Features -> uint8 codes: `hcq encode`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hcq_cli.api.checkpoints import find_checkpoint
from hcq_cli.api.progress import SILENT, Progress
from hcq_cli.collection import read_collection
from hcq_cli.errors import DamagedError, UsageError
from hcq_cli.workspace import Workspace

if TYPE_CHECKING:
    from hcq_cli.datasets.segments import Cutting
    from hcq_cli.features.store import FeatureStore
    from hcq_cli.model.encoding import EncodeResult
    from hcq_cli.model.video_model import VideoModel


def encode(
    workspace: Workspace,
    *,
    features: Path | FeatureStore | None = None,
    checkpoint: Path | None = None,
    segments: bool = True,
    segment_s: float | None = None,
    output: Path | None = None,
    device: str = "cpu",
    shard: str | None = None,
    on: str | None = None,
    progress: Progress = SILENT,
) -> EncodeResult:
    """Turn every video's features into its codes, one byte a sub-quantizer; videos that were removed get none.

    Where there is a code file of the same model and cutting already, only what has changed since is encoded, and the
    file is the same as if all were.

    Of a video longer than a window and a half its time segments get codes, too, so that a hit says where: its shots,
    and of long ones, or where nobody knows them, windows of ten seconds, each half over the next.

    Args:
        workspace: whose features and checkpoint are used, and where the codes go.
        features, checkpoint, output: other places than the workspace's; `features` may be a store that is open.
        segments: whether to cut at all.
        segment_s: cut into windows of so many seconds, wherever shots may end.
        device: cpu or cuda.
        shard: "2/3" for the second of three runs that make parts of the codes at the same time; afterwards the same
            without it puts them together.
        on: "ray", "ray:HOST:PORT" or "ray:local" for workers on a Ray cluster; None for this machine.

    Raises:
        NotFoundError: there is no checkpoint, or no features.
        DamagedError: one of them is damaged.
        UsageError: a length is given for segments that are not wanted, or a share on an engine.
        HcqError: the store has no expert that the model knows, or there is no such cluster.
    """
    from hcq_cli.shares import Share

    cutting = as_asked(segments, segment_s)
    share = Share.parse(shard, on) if shard is not None else None

    from hcq_cli.features.store import FeatureStore
    from hcq_cli.model.checkpoint import load
    from hcq_cli.model.video_side import open_video_encoder

    store = features if isinstance(features, FeatureStore) else FeatureStore.open(features or workspace.features)
    removed = read_collection(store.folder).removed
    place = find_checkpoint(workspace, checkpoint)
    model: VideoModel = open_video_encoder(place, progress.note) if device == "cpu" else load(place, device)

    from hcq_cli.model import encoding_parts
    from hcq_cli.model.encoding import encode_batches, header
    from hcq_cli.model.video_batches import VideoBatches, known_batches

    path = output or workspace.codes
    batches = VideoBatches(model, store, cutting, removed)
    # On Ray each counts twice: when its part is there, and when it is put together with the others.
    total = batches.videos * (1 if on is None else 2)
    with progress.progress("encoding", total=total, unit="videos") as bar:
        about = header(model, "videos")
        known = known_batches([path, *encoding_parts.parts_of(path)], about)
        if share is not None:
            done = encoding_parts.encode_share(batches, path, share, known, bar.advance)
        else:
            if on is not None:
                from hcq_cli.engines.ray_building import make_parts

                missing = encoding_parts.missing_parts(batches, known)
                how: dict[str, Any] = {"checkpoint": place, "path": path, "device": device}
                make_parts(on, batches, missing, **how, done=bar.advance, warn=progress.warn)
                known |= known_batches([encoding_parts.part_path(batches, part, path) for part in missing], about)
            drift, unlike = _drift(place, model, store, removed)
            done = encode_batches(batches, path, bar.advance, known=known, drift=drift)
            encoding_parts.remove_parts(path)
            done.warnings.extend(unlike)
    for warning in done.warnings:
        progress.warn(warning)
    return done


def _drift(
    checkpoint: Path, model: VideoModel, store: FeatureStore, removed: Collection[str]
) -> tuple[float | None, list[str]]:
    """How far the collection has drifted from what its model was made of (None: nobody knows), and what to say."""
    from hcq_cli.model.checkpoint import read_header
    from hcq_cli.model.drift import REFIT, drift

    fitted = read_header(checkpoint).about.get("fitted")
    loss = fitted.get("loss") if isinstance(fitted, dict) else None
    if fitted and not isinstance(loss, float):  # an earlier hcq did not measure it
        return None, []
    drifted = drift(model, store, loss, removed)
    if fitted or drifted is None or drifted < REFIT:
        return drifted, []
    unlike = (
        "the model was trained on other videos than these: it lays them near together, and can hardly tell them apart"
    )
    return drifted, [f"{unlike}; train on captions of these, or: hcq fit"]


def as_asked(segments: bool, segment_s: float | None) -> Cutting:
    """How videos are cut where a person asks for it so. Raises UsageError, see `encode`."""
    from hcq_cli.datasets.segments import WHOLE, Cutting

    if segment_s is None:
        return Cutting() if segments else WHOLE
    if not segments:
        raise UsageError("--segment-s and --no-segments exclude each other", "hcq encode --no-segments")
    return Cutting(segment_s, shots=False)


def as_cut(source: Mapping[str, Any]) -> tuple[bool, float | None]:
    """How the videos of a code file are cut, as `encode` takes it: `segments` and `segment_s`.

    Args:
        source: `CodeFile.source`; what does not make sense in it is taken for the default.
    """
    # An earlier hcq noted a length alone, and made no segments where none was asked for.
    cutting = source.get("cutting", {"window_s": source.get("segment_s"), "shots": not source.get("segment_s")})
    if not isinstance(cutting, dict):
        return True, None
    window_s, shots = cutting.get("window_s"), cutting.get("shots")
    if shots:
        return True, None
    return (True, float(window_s)) if isinstance(window_s, int | float) and window_s > 0 else (False, None)


def encode_texts(
    workspace: Workspace,
    texts: str | PathLike[str],
    *,
    checkpoint: Path | None = None,
    output: Path | None = None,
    device: str = "cpu",
    on: str | None = None,
    progress: Progress = SILENT,
) -> EncodeResult:
    """Turn captions into codes, so that a video finds the sentences that describe it.

    Args:
        workspace: whose checkpoint is used, and where the codes go.
        texts: a caption file, or a .txt with a sentence a line.
        checkpoint, output: other places than the workspace's.
        device: cpu or cuda.
        on: an engine, as `encode` takes it: captions have no use for one.

    Raises:
        NotFoundError: there is no checkpoint, or no such file.
        UsageError: the file holds no caption, or there is no such engine.
        DamagedError: a file is damaged.
    """
    from hcq_cli.engines.ray_cluster import without_engine
    from hcq_cli.model.checkpoint import load

    without_engine(on, "captions are encoded", progress.note)
    ids, lines = _sentences(Path(texts), progress)
    model = load(find_checkpoint(workspace, checkpoint), device)

    from hcq_cli.model import encoding

    with progress.progress("encoding", total=len(lines), unit="captions") as bar:
        return encoding.encode_texts(model, ids, lines, output or workspace.texts, bar.advance)


def _sentences(path: Path, progress: Progress) -> tuple[list[str], list[str]]:
    """Ids and captions of a file; captions of a video are numbered after its name."""
    from hcq_cli.datasets.captions import read_captions

    if path.suffix == ".txt":
        try:
            lines = [" ".join(line.split()) for line in path.read_text("utf-8-sig").splitlines()]
        except OSError as error:
            raise UsageError(f"{path}: cannot be read ({error.strerror})", "give a file of captions") from error
        except UnicodeDecodeError as error:
            raise DamagedError(f"{path}: is not UTF-8 (byte {error.start + 1})", "save it as UTF-8") from error
        found = [(f"{path.name}#{at}", line) for at, line in enumerate(lines, 1) if line]
    else:
        read = read_captions(path)
        if read.left_out:
            progress.warn(read.left_out)
        found = [(f"{v.video}#{at}", line) for v in read.videos for at, line in enumerate(v.captions, 1)]
    if not found:
        raise UsageError(f"{path}: holds no caption", "hcq captions check FILE")
    return [name for name, _ in found], [line for _, line in found]
