"""Codes made in parts, by runs or workers that share the work: `hcq encode --shard I/N`, or `--on ray`.

A part is so many batches of the collection, whatever the number of runs, and a code file of its own. Its name is made
of the digests of its batches, so a part that was made of anything else is not taken for it, and who makes one twice
writes the same bytes. The next encoding of the whole takes over what the parts hold and makes what is missing: the
file is the same, bit by bit, as where one run makes it.

    codes.hcq.parts/6f0c….hcq
"""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

from hcq_cli.codes.codefile import open_codes
from hcq_cli.errors import DamagedError, NotFoundError
from hcq_cli.files import digest_bytes, disk_errors, need_folder, remove_leftovers
from hcq_cli.model.encoding import EncodeResult, Progress, encode_batches, expert_warnings
from hcq_cli.model.video_batches import KnownBatches, VideoBatches
from hcq_cli.shares import Share

TRIES = 3
"""Of writing a part whose folder goes meanwhile."""
PART_BATCHES = 16


def parts_folder(path: Path) -> Path:
    """Where the parts of the code file at `path` lie; there while any have been made and none took them over."""
    return path.with_name(f"{path.name}.parts")


def divide(batches: VideoBatches) -> list[range]:
    """The numbers of the batches of each part."""
    return [range(at, min(at + PART_BATCHES, len(batches))) for at in range(0, len(batches), PART_BATCHES)]


def missing_parts(batches: VideoBatches, known: KnownBatches) -> list[range]:
    """Those of which not all batches are known."""
    return [part for part in divide(batches) if any(batches.digest(number) not in known for number in part)]


def part_path(batches: VideoBatches, part: range, path: Path) -> Path:
    """Where a part of the code file at `path` lies, when it is made."""
    return parts_folder(path) / f"{digest_bytes(b''.join(map(batches.digest, part)))[:32]}.hcq"


def parts_of(path: Path) -> list[Path]:
    """The parts that runs have made of the code file at `path`."""
    need_folder(parts_folder(path))
    return sorted(parts_folder(path).glob("*.hcq"))


def remove_parts(path: Path) -> None:
    """Delete the parts of the code file at `path`, which holds them now; what a run is writing stays."""
    with disk_errors(path):
        for part in parts_of(path):
            part.unlink(missing_ok=True)
        remove_leftovers(parts_folder(path))
    with suppress(OSError):  # it is not there, or not empty
        parts_folder(path).rmdir()


def encode_share(
    batches: VideoBatches, path: Path, share: Share, known: KnownBatches, done: Progress = lambda count: None
) -> EncodeResult:
    """Make the parts of a share, those that are not there yet.

    Args:
        batches: of the whole collection.
        path: of the code file of the whole.
        share: of its parts.
        known: what it and its parts hold already.
        done: told of progress.
    """
    started, model, missing = time.monotonic(), batches.model, set(missing_parts(batches, known))
    mine, rows = [part for number, part in enumerate(divide(batches)) if share.has(number)], 0
    for part in mine:
        if part in missing:
            rows += make_part(batches, part, path, done, known=known)
        else:
            held = [known[batches.digest(number)][1] for number in part]
            rows += sum(place.stop - place.start for place in held)
            done(len(batches.rows(part.start, part.stop)))
    return EncodeResult(
        parts_folder(path),
        "videos",
        rows=rows,
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
    known: KnownBatches | None = None,
) -> int:
    """Make a part if it is not there or is damaged; gives how many codes it has.

    Args:
        batches: of the whole collection.
        part: the numbers of its batches.
        path: of the code file of the whole.
        done: told of progress.
        known: to take over from.
    """
    file = part_path(batches, part, path)
    with suppress(NotFoundError, DamagedError):
        made = open_codes(file)
        made.verify()
        done(len(batches.rows(part.start, part.stop)))
        return len(made)
    for more_tries in reversed(range(TRIES)):
        try:
            return encode_batches(batches, file, done, known=known, only=part).rows
        except FileNotFoundError:
            # The whole was put together before the first byte of the part, or after its last: the folder has gone.
            if file.parent.exists() or not more_tries:
                raise
    raise AssertionError("the last try returns or raises")
