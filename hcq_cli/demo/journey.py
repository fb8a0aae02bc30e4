"""The whole journey over clips of one's own making: render, extract, train, encode, index, query."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import hcq_cli as api
from hcq_cli.api.progress import Bar, Progress, Silent
from hcq_cli.demo.clips import compose
from hcq_cli.demo.folder import DemoFolder, Identity
from hcq_cli.demo.grammar import Question, five_questions
from hcq_cli.errors import HcqError

if TYPE_CHECKING:
    from hcq_cli.search.query import Hit

RECIPE = "demo"
STAGES = ("render", "extract", "train", "encode", "index", "query")
HITS = 10


@dataclass(frozen=True)
class Found:
    """A hit, what its clip shows (attribute name → value), and whether that is what was asked for."""

    rank: int
    score: float
    id: str
    path: str
    shows: Mapping[str, str]
    right: bool


@dataclass(frozen=True)
class Answered:
    """A shown query with its hits.

    Args:
        question: what was asked.
        hits: best first, among all clips.
        share: of all clips that are right: what blind luck would find first.
    """

    question: Question
    hits: tuple[Found, ...]
    share: float

    @property
    def right(self) -> bool:
        """Whether the first hit is right."""
        return bool(self.hits) and self.hits[0].right

    @property
    def right_hits(self) -> int:
        """How many of the hits are right."""
        return sum(hit.right for hit in self.hits)


@dataclass
class DemoReport:
    """What the demo found.

    Args:
        videos, test_videos: how many clips, and how many of them are the test pool.
        queries: captions of the test clips that were searched with.
        seconds: by stage.
        R1, R10: percent of those captions whose own clip came first, or among the first ten.
        answers: to the five shown queries, over all clips.
        states: expert → state → clips.
        bytes_per_video: of the codes.
        workspace: where everything lies.
    """

    videos: int
    test_videos: int
    workspace: Path
    queries: int = 0
    R1: float = 0.0
    R10: float = 0.0
    bytes_per_video: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    states: dict[str, dict[str, int]] = field(default_factory=dict)
    answers: list[Answered] = field(default_factory=list)


class Journey:
    """One run of the demo; each method is one stage.

    Args:
        root: the demo's folder.
        videos: how many clips.
        seed: of the clips, the captions and the training.
        fresh: start over in a folder that holds a demo already.
        settings: on top of the demo's recipe, each "table.key=value".
        progress: shows how far a stage has come.
    """

    def __init__(
        self, root: Path, videos: int, seed: int, *, fresh: bool, settings: Sequence[str], progress: Progress
    ) -> None:
        self.videos, self.seed, self.fresh, self.settings = videos, seed, fresh, settings
        self.progress, self.clips = BarsOnly(progress), compose(videos, seed)
        self.tests = [clip for clip in self.clips if clip.split == "test"]
        self.folder = DemoFolder(root)
        self.workspace = self.folder.workspace
        self.report = DemoReport(len(self.clips), len(self.tests), self.workspace.root)

    def run(self) -> DemoReport:
        """Go through all stages.

        Raises:
            UsageError: the folder is somebody else's, or too few clips were asked for.
            HcqError: a stage failed.
        """
        from hcq_cli.api.training import describe_recipe
        from hcq_cli.demo.render import RENDERER

        describe_recipe(RECIPE, self.settings)  # a mistake in a setting is told before anything is drawn
        self.folder.open(Identity(self.videos, self.seed, RENDERER), self.fresh)
        for stage in STAGES:
            started = time.monotonic()
            getattr(self, stage)()
            self.report.seconds[stage] = round(time.monotonic() - started, 2)
        return self.report

    def render(self) -> None:
        """Clips and their captions."""
        from hcq_cli.cores import cores
        from hcq_cli.demo.render import render_all

        with self.progress.progress("render", len(self.clips), "clips") as bar:
            render_all(self.clips, self.seed, self.folder.clips, cores(), bar.update)
        self.folder.write_captions(self.clips, self.seed)

    def extract(self) -> None:
        """Clips → features of all four experts."""
        report = api.extract(self.workspace, [self.folder.clips], progress=self.progress)
        if report.failed:
            first = report.failed[0]
            raise HcqError(f"{first.path}: {first.error}", "hcq doctor, then hcq demo DIR --fresh")
        self.report.states = report.states

    def train(self) -> None:
        """Features and captions → a checkpoint; an interrupted training goes on."""
        settings = [f"training.seed={self.seed}", *self.settings]
        api.train(self.workspace, recipe=RECIPE, settings=settings, progress=self.progress)

    def encode(self) -> None:
        """Features → a code file."""
        self.report.bytes_per_video = api.encode(self.workspace, progress=self.progress).config.bytes_per_video

    def index(self) -> None:
        """Code file → index."""
        # Without words: the captions of the test clips are in them, and what is measured is the model.
        api.build_index(self.workspace, partitions=0, words=False, progress=self.progress)

    def query(self) -> None:
        """Recall over the test clips, then the five questions over all clips."""
        measured = api.evaluate(self.workspace, split="test", progress=self.progress).measured
        recall = measured.quantized.t2v
        self.report.queries, self.report.R1, self.report.R10 = measured.texts, recall.R1, recall.R10
        questions = five_questions(self.clips)
        answers = api.Searcher(self.workspace).texts([question.text for question in questions], HITS)
        self.report.answers = [
            Answered(question, self._judged(question, answer.hits), question.share(self.clips))
            for question, answer in zip(questions, answers, strict=True)
        ]

    def _judged(self, question: Question, hits: Sequence[Hit]) -> tuple[Found, ...]:
        clips = {clip.file: clip for clip in self.clips}
        # By the names of files: in a copy of the folder, while the original is there, ids have the folder in front.
        return tuple(
            Found(hit.rank, hit.score, hit.id, path=hit.path, shows=clip.values, right=question.is_answered_by(clip))
            for hit, clip in ((hit, clips[Path(hit.path).name]) for hit in hits)
        )


class BarsOnly(Silent):
    """Shows how far a stage has come, and passes over notes and warnings: the demo tells its own story.

    Args:
        progress: what shows the bars.
    """

    def __init__(self, progress: Progress) -> None:
        self._shown = progress

    def progress(  # type: ignore[override]
        self, label: str, total: float | None = None, unit: str = ""
    ) -> AbstractContextManager[Bar]:
        """See `Progress.progress`."""
        return self._shown.progress(label, total, unit)
