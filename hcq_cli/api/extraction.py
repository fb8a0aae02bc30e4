"""Videos -> features: `hcq extract`."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from hcq_cli.api.progress import SILENT, Bar, Progress
from hcq_cli.errors import UsageError, near
from hcq_cli.workspace import Workspace

if TYPE_CHECKING:
    from experts.base import Expert
    from hcq_cli.extraction.dry_run import DryRun
    from hcq_cli.extraction.extract import OnVideo
    from hcq_cli.extraction.options import ExtractionOptions
    from hcq_cli.extraction.report import ExtractReport
    from hcq_cli.media.inputs import Inputs


ABOUT_FACES = (
    "the expert face finds faces, and does not tell persons apart; to leave it out: --experts appearance,motion,audio"
)


class ExtractionSettings(TypedDict, total=False):
    """How to extract; all may be left out.

    store: the feature store (default: the workspace's).
    decoder: auto, pyav, decord, or package.module:Class.
    workers: processes (default: one a core).
    device: where networks run: auto, cpu, cuda or mps.
    timeout_s: deadline of a video; default: a generous one by its size and duration.
    sample_fps: frames a second for every expert that sees.
    max_seconds: what lies later in a video is left out.
    retry_failed: try again what is known to be broken.
    keep_missing: leave videos in the store whose files are no longer there.
    """

    store: Path | None
    decoder: str
    workers: int | None
    device: str
    timeout_s: float | None
    sample_fps: float | None
    max_seconds: float | None
    retry_failed: bool
    keep_missing: bool


class ExtractionRequest(ExtractionSettings, total=False):
    """Which files and which experts, and how; all may be left out.

    listed: more paths, from a list.
    everything: take in trash, previews and systems' own copies, too.
    exclude: patterns of what to leave out of folders; what of it is in the store already stays there.
    experts: `name` or `name=source` each, or a text with commas; None for all of `preset`.
    preset: classic (the default), neural, light, laptop or gpu.
    """

    listed: Iterable[str | PathLike[str]]
    everything: bool
    exclude: Sequence[str]
    experts: str | Sequence[str] | None
    preset: str


def extract(
    workspace: Workspace,
    paths: Iterable[str | PathLike[str]],
    *,
    shard: str | None = None,
    on: str | None = None,
    claims: Sequence[str] = (),
    progress: Progress = SILENT,
    **asked: Unpack[ExtractionRequest],
) -> ExtractReport:
    """Decode every video once and let the experts write its features; what is finished is skipped.

    Videos whose files are no longer below a folder leave the store; a renamed file keeps its features. One that was
    taken out by hand stays out, unless its file is named itself in `paths`.

    Args:
        paths: folders (recursive), files or globs.
        shard: "2/3" for the second of three runs that write to the store at the same time; afterwards the same
            without it puts together what they have found.
        on: "ray", "ray:HOST:PORT" or "ray:local" for workers on a Ray cluster; None for this machine.
        claims: what workers and experts claim there, `WHO=WHAT:NUMBER` each (`hcq_cli.engines.claims`); passed
            over on this machine.
        asked: see `ExtractionRequest`.

    Returns:
        counts, failures and warnings: a file that cannot be read costs only itself.

    Raises:
        NotFoundError: there are no videos, or the weights of a network are not on this machine.
        UsageError: no such preset, expert or decoder, a share on an engine, or a claim of nothing that there is.
        LockedError: another process writes to the store.
        HcqError: there is no such cluster, or it cannot do the work.
    """
    from hcq_cli.extraction.executor import VideoWarning
    from hcq_cli.extraction.extract import extract as run
    from hcq_cli.shares import Share

    share = Share.parse(shard, on) if shard is not None else None
    begins = not (asked.get("store") or workspace.features).exists()
    names, inputs, options = _request(workspace, paths, asked)
    if begins and asked.get("experts") is None and "face" in names:  # once: whoever names the experts knows
        progress.note(ABOUT_FACES)
    total = len(inputs.videos) + len(inputs.unusable)
    with progress.progress("extract", total=total // (share.of if share else 1), unit="videos") as bar:
        on_video = _live_line(bar)
        if on is None:
            if claims:
                progress.note("--claim is passed over: without --on nothing is set aside")
            return run(inputs, names, options, on_video, on_reading=lambda line: bar.update(detail=line), share=share)
        from hcq_cli.engines.ray_executor import ray_executor

        left_out: list[str] = []

        def warn(line: str) -> None:
            bar.tell(line)
            left_out.append(line)

        with ray_executor(on, inputs, names, options, claims=claims, warn=warn) as executor:
            report = run(inputs, names, options, on_video, executor)
        report.warnings += [VideoWarning(line, path=on) for line in left_out]
        return report


def _live_line(bar: Bar) -> OnVideo:
    """What moves a live line after each video, and tells of those that failed now."""
    begun, before, told = time.monotonic(), 0, 0

    def on_video(report: ExtractReport, path: str) -> None:
        nonlocal before, told
        for failed in report.failed[told:]:
            if not failed.known:
                bar.tell(f"failed: {failed.path}: {failed.error}")
        told = len(report.failed)
        speed = report.media_s / max(time.monotonic() - begun, 1e-3)
        bar.advance(report.done - before, detail=f"{speed:.0f}x real time  {path.rpartition('/')[2][:40]}")
        before = report.done

    return on_video


def plan_extraction(
    workspace: Workspace, paths: Iterable[str | PathLike[str]], **asked: Unpack[ExtractionRequest]
) -> DryRun:
    """What `extract` with the same arguments would do; nothing is decoded. Raises as it does."""
    from hcq_cli.extraction.dry_run import dry_run

    names, inputs, options = _request(workspace, paths, asked)
    return dry_run(inputs, names, options)


def expert_names(experts: str | Sequence[str] | None, preset: str = "classic") -> list[str]:
    """The experts asked for, each as `preset` has it if it names no source; else all of `preset`.

    Raises:
        UsageError: there is no such preset, or the list is empty.
    """
    from experts.registry import presets, with_default_sources

    if preset not in presets:
        meant = near(preset, presets)
        hint = f"did you mean {meant}? --preset {meant}" if meant else f"--preset {'|'.join(presets)}"
        raise UsageError(f"there is no preset {preset!r}", hint)
    if experts is None:
        return presets[preset]
    wanted = experts.split(",") if isinstance(experts, str) else experts
    names = [name.strip() for name in wanted if name.strip()]
    if not names:
        raise UsageError("--experts names no expert", "hcq experts")
    return with_default_sources(names, preset)


def load_expert(ask: str) -> Expert:
    """One expert, by name or `name=source`, not prepared yet.

    Raises:
        UsageError: there is no such expert.
        NotFoundError: the weights of a network are not on this machine.
    """
    from hcq_cli.extraction.options import load_experts

    return load_experts([ask])[0]


def names_in_list(data: bytes) -> list[str]:
    """The names in a list of videos: one a line, or separated by NUL bytes if it has any (`find -print0`)."""
    from hcq_cli.media.inputs import read_list

    return read_list(data)


def known_roots(store: Path) -> tuple[str, ...]:
    """The folders that the ids of a feature store count from."""
    from hcq_cli.collection import read_collection
    from hcq_cli.extraction.plan import roots_of
    from hcq_cli.features.store import FeatureStore

    if not store.exists():  # the first extraction
        return ()
    return read_collection(store).roots or tuple(roots_of(FeatureStore.snapshot(store)))


def _request(
    workspace: Workspace, paths: Iterable[str | PathLike[str]], asked: ExtractionRequest
) -> tuple[list[str], Inputs, ExtractionOptions]:
    """What was asked for, checked: experts, videos, and how."""
    from hcq_cli.extraction.options import ExtractionOptions
    from hcq_cli.media.inputs import find_inputs

    how: dict[str, Any] = {**asked, "store": asked.get("store") or workspace.features}
    names = expert_names(how.pop("experts", None), how.pop("preset", "classic"))
    inputs = find_inputs(
        [fspath(path) for path in paths],
        known_roots(how["store"]),
        listed=[fspath(path) for path in how.pop("listed", ())],
        everything=how.pop("everything", False),
        exclude=how.pop("exclude", ()),
    )
    return names, inputs, ExtractionOptions(**how)
