"""Codes made in parts, by runs or workers that share the work: `hcq encode --shard I/N`, or `--on ray`.

A part is so many batches of the collection, whatever the number of runs, and a code file of its own. Its name is made
of the digests of its batches, so a part that was made of anything else is not taken for it, and who makes one twice
writes the same bytes. The next encoding of the whole takes over what the parts hold and makes what is missing: the
file is the same, bit by bit, as where one run makes it.

    codes.hcq.parts/6f0c….hcq
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from hcq_cli.codes.codefile import open_codes
from hcq_cli.errors import DamagedError, NotFoundError
from hcq_cli.files import digest_bytes, need_folder, remove_folder
from hcq_cli.model.encoding import EncodeResult, Progress, encode_batches, expert_warnings
from hcq_cli.model.video_batches import VideoBatches
from hcq_cli.shares import Share

PART_BATCHES = 16


def divide(batches: VideoBatches) -> list[range]:
    """The numbers of the batches of each part."""
    return [range(at, min(at + PART_BATCHES, len(batches))) for at in range(0, len(batches), PART_BATCHES)]


def parts_of(path: Path) -> list[Path]:
    """The parts that runs have made of the code file at `path`."""
    need_folder(_folder(path))
    return sorted(_folder(path).glob("*.hcq"))


def remove_parts(path: Path) -> None:
    """Delete the parts of the code file at `path`, which holds them now."""
    remove_folder(_folder(path))


def encode_share(
    batches: VideoBatches, path: Path, share: Share, done: Progress = lambda count: None
) -> EncodeResult:
    """Make the parts of a share, those that are not there yet.

    Args:
        batches: of the whole collection.
        path: of the code file of the whole.
        share: of its parts.
        done: told of progress.
    """
    started, model = time.monotonic(), batches.model
    mine = [part for number, part in enumerate(divide(batches)) if share.has(number)]
    return EncodeResult(
        _folder(path),
        "videos",
        rows=sum(make_part(batches, part, path, done, earlier=[path]) for part in mine),
        items=sum(len(batches.rows(part.start, part.stop)) for part in mine),
        hours=sum(batches.hours(part.start, part.stop) for part in mine),
        seconds=time.monotonic() - started,
        model=model.hash,
        config=model.config,
        warnings=[*batches.store.warnings, *expert_warnings(model, batches.store)],
    )


def make_part(
    batches: VideoBatches,
    part: range,
    path: Path,
    done: Progress = lambda count: None,
    *,
    earlier: Sequence[Path] = (),
) -> int:
    """Make a part if it is not there or is damaged; gives how many codes it has.

    Args:
        batches: of the whole collection.
        part: the numbers of its batches.
        path: of the code file of the whole.
        done: told of progress.
        earlier: code files to take over from.
    """
    name = digest_bytes(b"".join(map(batches.digest, part)))[:32]
    file = _folder(path) / f"{name}.hcq"
    try:
        made = open_codes(file)
        made.verify()
        done(len(batches.rows(part.start, part.stop)))
    except (NotFoundError, DamagedError):
        file.parent.mkdir(parents=True, exist_ok=True)
        return encode_batches(batches, file, done, earlier=earlier, only=part).rows
    return len(made)


def _folder(path: Path) -> Path:
    return path.with_name(f"{path.name}.parts")
