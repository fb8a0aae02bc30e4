"""Features -> uint8 codes: `hcq encode`."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from hcq_cli.api.progress import SILENT, Progress
from hcq_cli.api.training import find_checkpoint
from hcq_cli.collection import read_collection
from hcq_cli.errors import UsageError
from hcq_cli.workspace import Workspace

if TYPE_CHECKING:
    from hcq_cli.model.encoding import EncodeResult


def encode(
    workspace: Workspace,
    *,
    features: Path | None = None,
    checkpoint: Path | None = None,
    segment_s: float | None = None,
    output: Path | None = None,
    device: str = "cpu",
    progress: Progress = SILENT,
) -> EncodeResult:
    """Turn every video's features into its codes, one byte a sub-quantizer; videos that were removed get none.

    Args:
        workspace: whose features and checkpoint are used, and where the codes go.
        features, checkpoint, output: other places than the workspace's.
        segment_s: cut longer videos in segments of at most so many seconds: a hit then says where.
        device: cpu or cuda.
        progress: told of every batch.

    Raises:
        NotFoundError: there is no checkpoint, or no features.
        DamagedError: one of them is damaged.
        HcqError: the store has no expert that the model knows.
    """
    from hcq_cli.features.store import FeatureStore
    from hcq_cli.model.checkpoint import load

    store = FeatureStore.open(features or workspace.features)
    removed = read_collection(store.folder).removed
    model = load(find_checkpoint(workspace, checkpoint), device)

    from hcq_cli.model.drift import drift_warning
    from hcq_cli.model.encoding import encode_store

    with progress.progress("encoding", total=len(store), unit="videos") as bar:
        done = encode_store(
            model, store, output or workspace.codes, bar.advance, segment_s=segment_s, without=removed
        )
    if drift := drift_warning(model, store):
        done.warnings.append(drift)
    for warning in done.warnings:
        progress.warn(warning)
    return done


def encode_texts(
    workspace: Workspace,
    texts: str | PathLike[str],
    *,
    checkpoint: Path | None = None,
    output: Path | None = None,
    device: str = "cpu",
    progress: Progress = SILENT,
) -> EncodeResult:
    """Turn captions into codes, so that a video finds the sentences that describe it.

    Args:
        workspace: whose checkpoint is used, and where the codes go.
        texts: a caption file, or a .txt with a sentence a line.
        checkpoint, output: other places than the workspace's.
        device: cpu or cuda.
        progress: told of every batch.

    Raises:
        NotFoundError: there is no checkpoint, or no such file.
        UsageError: the file holds no caption.
        DamagedError: a file is damaged.
    """
    from hcq_cli.model.checkpoint import load

    ids, lines = _sentences(Path(texts))
    model = load(find_checkpoint(workspace, checkpoint), device)

    from hcq_cli.model import encoding

    with progress.progress("encoding", total=len(lines), unit="captions") as bar:
        return encoding.encode_texts(model, ids, lines, output or workspace.texts, bar.advance)


def _sentences(path: Path) -> tuple[list[str], list[str]]:
    """Ids and captions of a file; captions of a video are numbered after its name."""
    from hcq_cli.datasets.captions import read_captions

    if path.suffix == ".txt":
        try:
            lines = [" ".join(line.split()) for line in path.read_text("utf-8", "replace").splitlines()]
        except OSError as error:
            raise UsageError(f"{path}: cannot be read ({error.strerror})", "give a file of captions") from error
        found = [(f"{path.name}#{at}", line) for at, line in enumerate(lines, 1) if line]
    else:
        videos = read_captions(path).videos
        found = [(f"{v.video}#{at}", line) for v in videos for at, line in enumerate(v.captions, 1)]
    if not found:
        raise UsageError(f"{path}: holds no caption", "hcq captions check FILE")
    return [name for name, _ in found], [line for _, line in found]
