"""The video side of a checkpoint: its export where there is one, else one is made."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from hcq_cli.errors import HcqError
from hcq_cli.model.checkpoint import VIDEO_FILE, read_header
from hcq_cli.model.exported_video_encoder import ExportedVideoEncoder
from hcq_cli.model.trained_model import no_codes
from hcq_cli.model.video_model import VideoModel


def open_video_encoder(
    folder: Path, note: Callable[[str], None] = lambda sentence: None, *, threads: int | None = None
) -> VideoModel:
    """The video side of a checkpoint, without torch wherever it was opened before.

    The first time it is exported, and put beside the checkpoint's files, if they lie where one may write. A network
    that cannot be exported is run by torch.

    Args:
        folder: of the checkpoint.
        note: told when torch is loaded, and why.
        threads: cores to use where there is an export; None for all.

    Raises:
        NotFoundError, DamagedError: as `checkpoint.load`.
        HcqError: it has no codes.
    """
    header = read_header(folder)
    if not header.config.known_kind.has_codes:
        raise no_codes(header.config)
    try:
        return ExportedVideoEncoder(folder / VIDEO_FILE, header, folder, threads)
    except (HcqError, OSError):  # there is none, or none that is of use
        note("loading torch, to export the model's video side: once")

    from hcq_cli.model.checkpoint import load
    from hcq_cli.model.video_export import export_video_encoder

    model = load(folder)
    try:
        return export_video_encoder(model, folder)
    except HcqError as error:
        note(f"{error.message}: torch is used instead")
        return model


def export_video_side(folder: Path) -> None:
    """Export the video side of a checkpoint that was just made, where torch is loaded anyway.

    A convenience: where there is none afterwards, whoever encodes first makes it. So nothing that goes wrong is an
    error, and a model without codes has none.
    """
    with suppress(HcqError, OSError):
        open_video_encoder(folder)
