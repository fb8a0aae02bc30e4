"""Brings the text side of a model into an index: keeps the one that is there, or exports it from the checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np

from hcq_cli.codes.codefile import CodeHeader
from hcq_cli.errors import HcqError
from hcq_cli.model.exported_tower import ExportedTower
from hcq_cli.scan.kernels import scan
from hcq_cli.scan.table import tables
from hcq_cli.search.collection import SearchableCodeFile, SearchableCodes
from hcq_cli.search.index import Content, TextEncoderEntry, generations
from hcq_cli.search.index_writer import TextEncoderExporter
from hcq_cli.search.text_encoder import find_checkpoint

MOST_SENTENCES = 200
"""Captions that int8 weights are measured on."""


def text_encoder_exporter(
    header: CodeHeader,
    places: Sequence[Path],
    *,
    precision: str = "float32",
    codes: Path | None = None,
    captions: Path | None = None,
    warn: Callable[[str], None] = lambda sentence: None,
) -> TextEncoderExporter:
    """What `indexing.build` and `add` take.

    Args:
        header: of the codes that are indexed.
        places: where the checkpoint may lie.
        precision: of the weights: float32, int8; or none, for no text side at all.
        codes: of the collection; int8 weights are measured on them.
        captions: where the sentences for that come from; default: what the checkpoint was trained on.
        warn: told why there will be no text side, a sentence.
    """

    def make(folder: Path, generation: int) -> TextEncoderEntry | None:
        if precision == "none" or header.kind != "videos":
            return None
        known = _known(folder)
        if known is not None and known.precision == precision and _belongs(folder / known.file, header):
            return known
        checkpoint = find_checkpoint(places, header.model_hash)
        if checkpoint is None:
            warn(
                f"no checkpoint of model {header.model_hash[:12]} was found, so the index holds no text side: "
                "queries will need --ckpt CHECKPOINT"
            )
            return None
        try:
            return _export(checkpoint, folder / f"tower-{generation:08d}.hcq", precision, codes, captions)
        except HcqError as error:
            warn(f"{error.message}: queries will load the whole checkpoint {checkpoint}")
            return None

    return make


def _known(folder: Path) -> TextEncoderEntry | None:
    """The text side of the newest generation."""
    with suppress(HcqError):
        manifest = generations(folder).read()
        if manifest.generation:
            return Content.from_json(manifest.body, folder).text_encoder
    return None


def _belongs(path: Path, header: CodeHeader) -> bool:
    """Whether a text side is whole and of this model."""
    try:
        tower = ExportedTower(path)
        tower.verify()
    except HcqError:
        return False
    return tower.hash == header.model_hash


def _export(
    checkpoint: Path, path: Path, precision: str, codes: Path | None, captions: Path | None
) -> TextEncoderEntry:
    from hcq_cli.model.checkpoint import load, read_header
    from hcq_cli.model.export import export_text_side

    sentences: list[str] = []
    hits = None
    if precision == "int8" and codes is not None:
        trained_on = str(read_header(checkpoint).about.get("captions", ""))
        sentences = _sentences(captions or Path(trained_on or "."))
        hits = partial(hits_kept, SearchableCodeFile(codes))
    checked = export_text_side(load(checkpoint), path, precision, sentences, hits)
    return TextEncoderEntry(path.name, precision, checked.to_json())


def hits_kept(collection: SearchableCodes, exact: np.ndarray, found: np.ndarray) -> tuple[float, float] | None:
    """How the ten best videos fare when queries are encoded otherwise.

    Args:
        collection: what is searched.
        exact, found: float32 [Q, L+1, D], the queries' vectors by the network and by its export.

    Returns:
        The share of `exact`'s ten best that `found` finds too, and the largest difference in the score of one of
        them; None where nothing is to be found.
    """
    by_network, by_file = (tables(vectors, collection.codebooks, collection.scale) for vectors in (exact, found))
    best, mine = (scan(collection.sources(), table, 10) for table in (by_network, by_file))
    if not best.rows.size:
        return None
    shared = [len(np.intersect1d(*pair)) for pair in zip(best.rows, mine.rows, strict=True)]
    every = np.arange(len(collection.codebooks))
    again = [
        [table[every, collection.codes(int(row))].sum(dtype=np.float64) for row in rows]
        for table, rows in zip(by_file, best.rows, strict=True)
    ]
    deviation = float(np.abs(best.scores - np.array(again)).max())
    return float(np.mean(shared)) / best.rows.shape[1], deviation


def _sentences(captions: Path) -> list[str]:
    """Captions spread over a file; none where it cannot be read."""
    from hcq_cli.datasets.captions import read_captions

    found: list[str] = []
    with suppress(HcqError, OSError):
        if captions.is_file():
            found = [line for video in read_captions(captions).videos for line in video.captions]
    return found[:: -(-len(found) // MOST_SENTENCES) or 1]
