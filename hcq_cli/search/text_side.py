"""The text side of an index: how the text encoder of its model comes into it.

Kept from the index that was there, or exported from the checkpoint (model/export.py), which loads torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np

from hcq_cli.codes.codefile import CodeHeader
from hcq_cli.errors import HcqError
from hcq_cli.headers import decode
from hcq_cli.model.exported_text_encoder import ExportedTextEncoder
from hcq_cli.scan.kernels import scan
from hcq_cli.scan.table import tables
from hcq_cli.search.code_file import CodeFileIndex
from hcq_cli.search.index import Index
from hcq_cli.search.index_draft import TextEncoderExporter
from hcq_cli.search.manifest import REMEDY, IndexManifest, TextEncoderEntry, generations

LARGE_TOWERS_BYTES = 600 << 20
"""From here on the text side of an index is int8 where nothing is said; CLIP's and CLAP's together are smaller."""
MOST_SENTENCES = 200
"""Captions that int8 weights are measured on."""


def text_encoder_exporter(
    header: CodeHeader,
    candidates: Sequence[Path],
    *,
    precision: str = "float32",
    codes: Path | None = None,
    warn: Callable[[str], None] = lambda sentence: None,
) -> TextEncoderExporter:
    """What `index_writer.build` and `add` take to bring the text encoder of a model into an index.

    It keeps the one that is there, where that is of the same model and precision, or exports it from the checkpoint.

    Args:
        header: of the codes that are indexed.
        candidates: where the checkpoint may lie.
        precision: of the weights: float32, int8; auto, for int8 where the text encoders of dual encoders are larger
            than `LARGE_TOWERS_BYTES` and float32 where not, and without a checkpoint for whichever is there; or none,
            for no text encoder at all.
        codes: of the collection; int8 weights are measured on them, by captions that the checkpoint was trained on.
        warn: told why there will be no text encoder, a sentence.
    """

    def bring(folder: Path, suffix: str) -> TextEncoderEntry | None:
        if precision == "none" or header.kind != "videos":
            return None
        # An export takes seconds; codes that are added or indexed again are mostly of the same model.
        known = _entry_of_newest(folder)
        checkpoint = _find_checkpoint(candidates, header.model_hash)
        wanted = precision
        if precision == "auto" and checkpoint is not None:
            wanted = _usual_precision(checkpoint)
        elif precision == "auto" and known is not None:  # nothing says which is usual, and nothing could be exported
            wanted = known.precision
        if known is not None and known.precision == wanted and _belongs(folder / known.file, header):
            return known
        if checkpoint is None:
            warn(
                f"no checkpoint of model {header.model_hash[:12]} was found, so the index holds no text side: "
                "queries will need --ckpt CHECKPOINT"
            )
            return None
        try:
            return _export(checkpoint, folder / f"tower-{suffix}.hcq", wanted, codes)
        except HcqError as error:
            # Worth a warning, not a failure: the index can be searched all the same, only its first query is slower.
            warn(f"{error.message}: queries will load the whole checkpoint {checkpoint}")
            return None

    return bring


def _usual_precision(checkpoint: Path) -> str:
    """int8 where dual encoders' text encoders are large: 256,000 words take a gigabyte in float32."""
    from hcq_cli.model.checkpoint import read_header, tower_file

    header = read_header(checkpoint)
    towers = [header.place / name for name in map(tower_file, header.config.experts) if name in header.files]
    return "int8" if sum(tower.stat().st_size for tower in towers) > LARGE_TOWERS_BYTES else "float32"


def _entry_of_newest(folder: Path) -> TextEncoderEntry | None:
    """The text encoder of the newest generation."""
    with suppress(HcqError):
        manifest = generations(folder).read()
        if manifest.generation:
            return decode(IndexManifest, manifest.body, folder, REMEDY).text_encoder
    return None


def _belongs(path: Path, header: CodeHeader) -> bool:
    """Whether a text encoder is whole and of this model."""
    try:
        encoder = ExportedTextEncoder(path)
        encoder.file.verify()
    except HcqError:
        return False
    return encoder.hash == header.model_hash


def _find_checkpoint(candidates: Sequence[Path], model_hash: str) -> Path | None:
    """The first checkpoint folder that holds the wanted model; unreadable ones are passed over."""
    from hcq_cli.model.checkpoint import read_header

    for folder in dict.fromkeys(candidates):  # each once: its absolute and its relative place are often the same
        with suppress(HcqError, OSError):
            if folder.is_dir() and read_header(folder).hash == model_hash:
                return folder
    return None


def _export(checkpoint: Path, path: Path, precision: str, codes: Path | None) -> TextEncoderEntry:
    from hcq_cli.model.checkpoint import load, read_header
    from hcq_cli.model.export import export_text_encoder

    sentences: list[str] = []
    hits = None
    # float32 gives the network's vectors but for rounding; only int8 is measured on real queries.
    if precision == "int8" and codes is not None:
        trained_on = str(read_header(checkpoint).about.get("captions", ""))
        sentences = _sentences(Path(trained_on or "."))
        hits = partial(hits_kept, CodeFileIndex(codes))
    checked = export_text_encoder(load(checkpoint), path, precision, sentences, hits)
    return TextEncoderEntry(path.name, precision, checked.to_json())


def _sentences(captions: Path) -> list[str]:
    """Captions spread over a file; none where it cannot be read."""
    from hcq_cli.datasets.captions import read_captions

    found: list[str] = []
    with suppress(HcqError, OSError):
        if captions.is_file():
            found = [line for video in read_captions(captions).videos for line in video.captions]
    return found[:: -(-len(found) // MOST_SENTENCES) or 1]


def hits_kept(collection: Index, exact: np.ndarray, found: np.ndarray) -> tuple[float, float] | None:
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
    every = np.arange(len(collection.codebooks))  # table[every, codes]: the S entries that a video's codes name
    # The same ten videos scored with the other vectors, whether or not they are among the ten best by those.
    again = [
        table[every, collection.codes(rows.tolist())].sum(1, dtype=np.float64)
        for table, rows in zip(by_file, best.rows, strict=True)
    ]
    deviation = float(np.abs(best.scores - np.array(again)).max())
    return float(np.mean(shared)) / best.rows.shape[1], deviation
