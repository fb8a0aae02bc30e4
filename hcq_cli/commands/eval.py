"""`hcq eval`: how well the codes retrieve; the dense vectors and post-compression beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hcq_cli.commands.shared import LOOKING, Session, command
from hcq_cli.commands.train import caption_file
from hcq_cli.console import Console
from hcq_cli.errors import HcqError, NotFoundError, UsageError

if TYPE_CHECKING:
    from hcq_cli.baselines.compression import CompressionResult
    from hcq_cli.datasets.collection import Collection
    from hcq_cli.datasets.parts import Part
    from hcq_cli.evaluation.retrieval import RecallPoint, RetrievalResult
    from hcq_cli.features.store import FeatureStore
    from hcq_cli.model.checkpoint import Model
    from hcq_cli.model.vectors import Encoded

EXAMPLES = [
    "hcq eval",
    "hcq eval --ckpt runs/a --split val --json",
    "hcq eval --compress pq,opq --bytes 32,64 --plot recall.png",
]
SPLITS = ("train", "val", "test", "all")

Checkpoint = Annotated[Path | None, typer.Option("--ckpt", metavar="CKPT", help="Default: the workspace's.")]
CaptionsFile = Annotated[
    Path | None, typer.Option("--captions", metavar="FILE", help="Default: those the checkpoint was trained on.")
]
Features = Annotated[Path | None, typer.Option("--features", metavar="DIR", help="Default: the workspace's.")]
Split = Annotated[
    str | None, typer.Option(metavar="|".join(SPLITS), help="Default: test, or all where nothing is marked test.")
]
Compress = Annotated[
    str | None,
    typer.Option(
        "--compress",
        metavar="lsh,itq,pq,opq,lsq",
        help="Compress the dense vectors afterwards by these methods, fitted on the training split, at equal bytes.",
    ),
]
Sizes = Annotated[
    str | None, typer.Option("--bytes", metavar="LIST", help="Bytes a video for --compress. Default: the model's.")
]
Plot = Annotated[Path | None, typer.Option("--plot", metavar="FILE", help="Draw recall against bytes a video.")]
Device = Annotated[str, typer.Option(help="cpu or cuda.")]


def register(app: typer.Typer) -> None:
    """Add `hcq eval` to the command line."""
    command(app, "eval", panel=LOOKING, examples=EXAMPLES)(evaluate)


def evaluate(
    session: Session,
    ckpt: Checkpoint = None,
    captions: CaptionsFile = None,
    features: Features = None,
    split: Split = None,
    compress: Compress = None,
    sizes: Sizes = None,
    plot: Plot = None,
    device: Device = "cpu",
) -> None:
    """Recall of every caption's video and of every video's captions, by table look-up over the uint8 codes.

    Beside it the dense vectors, and what other methods make of those at the same bytes.
    """
    from hcq_cli.datasets.captions import read_captions
    from hcq_cli.features.store import FeatureStore
    from hcq_cli.model.checkpoint import load, read_header

    if split is not None and split not in SPLITS:
        raise UsageError(f"--split {split}: known are {', '.join(SPLITS)}", "hcq eval --split test")
    methods = _methods(compress, plot)
    folder = ckpt or session.workspace.model
    trained_on = read_header(folder).about.get("captions", "")
    given = captions or (Path(trained_on) if trained_on and Path(trained_on).is_file() else None)
    store = FeatureStore.open(features or session.workspace.features)
    read = read_captions(caption_file(session, given))
    model = load(folder, device)

    from hcq_cli.datasets.collection import collect
    from hcq_cli.evaluation.plots import plot_recall
    from hcq_cli.evaluation.retrieval import evaluate_vectors
    from hcq_cli.model.encoding import expert_warnings
    from hcq_cli.model.vectors import encode_both

    collection = collect(store, read)
    for warning in [*collection.warnings, *expert_warnings(model, store)]:
        session.console.warn(warning)
    name, part = _part(session.console, collection, split)
    with session.console.progress("encoding", total=len(part), unit="videos") as bar:
        encoded = encode_both(model, store, part, bar.advance)
    measured = evaluate_vectors(model, encoded)
    wanted = [(method, size) for size in _sizes(sizes, model) for method in methods]
    compressed = _compressed(session.console, model, store, collection, encoded, wanted) if wanted else []
    table = [*measured.points(), *(found.point() for found in compressed)]
    if plot is not None:
        plot_recall(table, plot, f"{measured.videos:,} videos, {measured.texts:,} captions ({name})")
    about = {"split": name, "model": model.config.kind, "plot": str(plot) if plot is not None else None}
    document = _document(measured, compressed, about)
    session.console.result(document, lambda: _print(session.console, table, measured, name))


def _document(
    measured: RetrievalResult, compressed: Sequence[CompressionResult], about: dict[str, Any]
) -> dict[str, Any]:
    return {
        **measured.quantized.to_dict(),
        "dense": measured.dense.to_dict(),
        "bytes_per_video": measured.bytes_per_video,
        "dense_bytes_per_video": measured.dense_bytes_per_video,
        "videos": measured.videos,
        "texts": measured.texts,
        **about,
        "compress": [row.to_dict() for row in compressed],
    }


def _methods(compress: str | None, plot: Path | None) -> list[str]:
    """The methods asked for; fails before anything is loaded if they cannot be had."""
    from hcq_cli.baselines.compression import parse_methods, require_faiss

    if plot is not None:
        from hcq_cli.evaluation.plots import require_matplotlib

        require_matplotlib()
    if compress is None:
        return []
    found = parse_methods(compress)
    require_faiss()
    return found


def _sizes(given: str | None, model: Model) -> list[int]:
    if given is None:
        return [model.config.code_bytes]
    levels = model.config.levels + 1
    parts = [part.strip() for part in given.split(",") if part.strip()]
    for part in parts:
        if not part.isdecimal() or int(part) < levels or int(part) % levels:
            raise UsageError(
                f"--bytes {part}: not a multiple of the model's {levels} levels", f"--bytes {8 * levels}"
            )
    return sorted({int(part) for part in parts})


def _compressed(
    console: Console,
    model: Model,
    store: FeatureStore,
    collection: Collection,
    test: Encoded,
    wanted: Sequence[tuple[str, int]],
) -> list[CompressionResult]:
    from hcq_cli.baselines.compression import compress
    from hcq_cli.model.vectors import training_vectors

    part = collection.parts["train"]
    if not len(part):
        raise NotFoundError("--compress: no captioned video is in the training split to fit on", "hcq captions check")
    done = []
    with console.progress("compressing", total=len(wanted) + 1, unit="methods") as bar:
        train = training_vectors(model, store, part).all
        bar.advance(1)
        for method, size in wanted:
            try:
                done.append(compress(train, test, model.config.level_weights, method, size))
            except HcqError as error:
                console.warn(f"left out: {error.message}")
            bar.advance(1)
    if not done:
        raise HcqError("--compress: none of the methods can do it", "hcq eval --compress opq")
    return done


def _part(console: Console, collection: Collection, split: str | None) -> tuple[str, Part]:
    name = split or ("test" if len(collection.parts["test"]) else "all")
    if split is None and name == "all":
        console.warn("no caption is marked as test: measured on all videos, those trained on included")
    part = collection.everything if name == "all" else collection.parts[name]
    if not len(part):
        raise NotFoundError(f"no captioned video is in split {name}", "hcq eval --split all")
    return name, part


def _print(console: Console, table: Sequence[RecallPoint], measured: RetrievalResult, name: str) -> None:
    recalls = ("R@1", "R@5", "R@10", "MedR", "GM")
    columns = ("vectors", "bytes", *(f"t→v {recalls[0]}", *recalls[1:]), *(f"v→t {recalls[0]}", *recalls[1:]))
    lines = []
    for row in table:
        figures = [
            round(value, 1)
            for way in (row.metrics.t2v, row.metrics.v2t)
            for value in (way.R1, way.R5, way.R10, way.MedR, way.GM)
        ]
        lines.append((row.name, row.bytes_per_video, *figures))
    console.table(columns, lines, f"{measured.videos:,} videos, {measured.texts:,} captions ({name})")
