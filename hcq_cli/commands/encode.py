"""`hcq encode`: features -> uint8 codes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import hcq_cli as api
from hcq_cli.commands.shared import (
    VERBS,
    CheckpointOption,
    OnOption,
    Session,
    ShardOption,
    TorchDeviceOption,
    command,
)
from hcq_cli.console import Console, counted, printable
from hcq_cli.errors import UsageError

if TYPE_CHECKING:
    from hcq_cli.model.encoding import EncodeResult

EXAMPLES = [
    "hcq encode",
    "hcq encode --ckpt runs/a -o a.hcq",
    "hcq encode --texts captions.jsonl",
    "hcq encode --segment-s 30",
    "hcq encode --shard 2/3  # beside 1/3 and 3/3, anywhere; then hcq encode",
    "hcq encode --on ray  # on a machine of a Ray cluster",
    "hcq encode --no-segments",
]

Store = Annotated[Path | None, typer.Argument(metavar="[FEATURES]", help="Default: the workspace's.")]
Texts = Annotated[
    Path | None,
    typer.Option("--texts", metavar="FILE", help="Encode captions instead: a caption file, or a .txt, one a line."),
]
Segment = Annotated[
    float | None,
    typer.Option(
        "--segment-s",
        min=1,
        help="Windows of so many seconds, each half over the next (default: shots, and windows of 10 "
        "seconds where they are long or not known).",
        show_default=False,
    ),
]
Segments = Annotated[
    bool,
    typer.Option(
        "--segments/--no-segments",
        help="Codes also for the time segments of longer videos: a hit says where.",
    ),
]
Output = Annotated[Path | None, typer.Option("-o", "--output", metavar="CODES", help="The code file.")]


def register(app: typer.Typer) -> None:
    """Add `hcq encode` to the command line."""

    @command(app, "encode", panel=VERBS, examples=EXAMPLES)
    def encode(
        session: Session,
        features: Store = None,
        ckpt: CheckpointOption = None,
        texts: Texts = None,
        segments: Segments = True,
        segment_s: Segment = None,
        device: TorchDeviceOption = "cpu",
        shard: ShardOption = None,
        on: OnOption = None,
        output: Output = None,
    ) -> None:
        """Turn every video's features into its codes, one byte a sub-quantizer."""
        if texts is not None and segment_s is not None:
            raise UsageError("--segment-s is of videos, --texts of captions", "hcq encode --segment-s 30")
        if texts is not None and shard is not None:
            raise UsageError("--shard is of videos, --texts of captions", "hcq encode --shard 1/3")
        workspace, progress = session.workspace, session.console
        if texts is None:
            done = api.encode(
                workspace,
                features=features,
                checkpoint=ckpt,
                segments=segments,
                segment_s=segment_s,
                output=output,
                device=device,
                shard=shard,
                on=on,
                progress=progress,
            )
        else:
            done = api.encode_texts(
                workspace, texts, checkpoint=ckpt, output=output, device=device, on=on, progress=progress
            )
        session.console.result(encoding_document(done), lambda: _print(session.console, done))


def encoding_document(done: EncodeResult) -> dict[str, Any]:
    """What was encoded, as --json prints it."""
    quantizer = done.config.quantizer
    return {
        done.kind: done.items,
        "levels": done.config.levels + 1,
        "codebooks": quantizer.codebooks,
        "codewords": quantizer.codewords,
        "codes_written": done.rows,
        "bytes_per_video": done.config.bytes_per_video,
        **_of_videos(done),
        f"{done.kind}_per_second": round(done.items_per_second, 1),
        "codes": str(done.codes),
        "without_features": done.without_features,
        "model": done.model,
        "warnings": done.warnings,
    }


def _of_videos(done: EncodeResult) -> dict[str, Any]:
    """What only videos have."""
    if done.kind != "videos":
        return {}
    hourly = done.bytes_per_hour
    return {
        "encoded": done.items - done.taken_over,
        "moments": done.rows - done.items,
        "bytes_per_hour": None if hourly is None else round(hourly),
    }


def _print(console: Console, done: EncodeResult) -> None:
    moments = done.rows - done.items
    also = f" and {counted(moments, 'moment')}" if moments else ""
    hourly = f", {done.bytes_per_hour / 1000:,.0f} KB an hour" if moments and done.bytes_per_hour else ""
    # A rate would be that of copying.
    rate = f"{done.items_per_second:,.0f} a second"
    how = f"{done.items - done.taken_over:,} of them encoded now, the others as before" if done.taken_over else rate
    encoded = counted(done.items, done.kind.removesuffix("s"))
    console.text(f"{encoded}{also} · {done.config.bytes_per_video} bytes each{hourly} · {how}")
    console.text(f"codes {done.codes}")
    if done.codes.suffix == ".parts":
        console.note("next: the same without --shard, when all shares are done")
        return
    which = "" if done.kind == "videos" else f" {printable(str(done.codes))}"
    console.note(f"next: hcq index build{which}")
