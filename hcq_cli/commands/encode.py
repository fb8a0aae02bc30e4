"""`hcq encode`: features -> uint8 codes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hcq_cli.commands.shared import VERBS, Session, command
from hcq_cli.console import Console, printable
from hcq_cli.errors import UsageError

if TYPE_CHECKING:
    from hcq_cli.model.checkpoint import Model
    from hcq_cli.model.encoding import Written

EXAMPLES = [
    "hcq encode",
    "hcq encode --ckpt runs/a -o a.hcq",
    "hcq encode --texts captions.jsonl",
    "hcq encode --segment-s 30",
]

Store = Annotated[Path | None, typer.Argument(metavar="[FEATURES]", help="Default: the workspace's.")]
Checkpoint = Annotated[Path | None, typer.Option("--ckpt", metavar="CKPT", help="Default: the workspace's.")]
Texts = Annotated[
    Path | None,
    typer.Option("--texts", metavar="FILE", help="Encode captions instead: a caption file, or a .txt, one a line."),
]
Segment = Annotated[
    float | None,
    typer.Option(
        "--segment-s",
        min=1,
        help="Cut longer videos in stretches of at most so many seconds: a hit then says where.",
        show_default=False,
    ),
]
Device = Annotated[str, typer.Option(help="cpu or cuda.")]
Output = Annotated[Path | None, typer.Option("-o", "--output", metavar="CODES", help="The code file.")]


def register(app: typer.Typer) -> None:
    """Add `hcq encode` to the command line."""

    @command(app, "encode", panel=VERBS, examples=EXAMPLES)
    def encode(
        session: Session,
        features: Store = None,
        ckpt: Checkpoint = None,
        texts: Texts = None,
        segment_s: Segment = None,
        device: Device = "cpu",
        output: Output = None,
    ) -> None:
        """Turn every video's features into its codes, one byte a sub-quantizer."""
        from hcq_cli.features.store import FeatureStore
        from hcq_cli.model.checkpoint import load, read_header

        if texts is not None and segment_s is not None:
            raise UsageError("--segment-s is of videos, --texts of captions", "hcq encode --segment-s 30")
        folder = ckpt or session.workspace.model
        read_header(folder)
        store = FeatureStore.open(features or session.workspace.features) if texts is None else None
        sentences = _sentences(texts) if texts is not None else None
        model = load(folder, device)

        from hcq_cli.model.encoding import encode_store, encode_texts

        if store is not None:
            with session.console.progress("encoding", total=len(store), unit="videos") as bar:
                done = encode_store(model, store, output or session.workspace.codes, bar.advance, segment_s)
        else:
            ids, lines = sentences or ([], [])
            with session.console.progress("encoding", total=len(lines), unit="captions") as bar:
                done = encode_texts(model, ids, lines, output or session.workspace.texts, bar.advance)
        for warning in done.warnings:
            session.console.warn(warning)
        document = _document(model, done, "videos" if store is not None else "texts")
        session.console.result(document, lambda: _print(session.console, document, done))


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


def _document(model: Model, done: Written, kind: str) -> dict[str, Any]:
    config = model.config
    return {
        kind: done.items,
        "levels": config.levels + 1,
        "codebooks": config.quantizer.codebooks,
        "codewords": config.quantizer.codewords,
        "codes_written": done.rows,
        "bytes_per_video": config.bytes_per_video,
        f"{kind}_per_second": round(done.items / max(done.seconds, 1e-9), 1),
        "codes": str(done.path),
        "without_features": done.without_features,
        "model": model.hash,
        "warnings": done.warnings,
    }


def _print(console: Console, document: dict[str, Any], done: Written) -> None:
    kind = "videos" if "videos" in document else "texts"
    rate = document[f"{kind}_per_second"]
    stretches = f" in {done.rows:,} stretches" if done.rows > done.items else ""
    console.text(
        f"{done.items:,} {kind}{stretches} · {document['bytes_per_video']} bytes each · {rate:,.0f} a second"
    )
    console.text(f"codes {done.path}")
    console.note(
        "next: hcq index build" if kind == "videos" else f"next: hcq index build {printable(str(done.path))}"
    )
