"""The whole journey over clips of one's own making: render, extract, train, encode, index, query."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from hcq_cli.demo.clips import compose
from hcq_cli.demo.folder import DemoFolder, Identity
from hcq_cli.demo.grammar import captions
from hcq_cli.demo.questions import Question, five_questions
from hcq_cli.errors import HcqError

if TYPE_CHECKING:
    from hcq_cli.search.query import Hit
    from hcq_cli.training.progress import EpochReport, StepReport

RECIPE = "demo"
STAGES = ("render", "extract", "train", "encode", "index", "query")
HITS = 10


class Bar(Protocol):
    """How far a stage has come."""

    def update(self, completed: float | None = None, total: float | None = None, detail: str | None = None) -> None:
        """Set how much is done, how much there is, or what is said beside it."""


Progress = Callable[[str, float | None, str], AbstractContextManager[Bar]]
"""Given a stage's name, how much there is and its unit: shows how far it has come while the block runs."""


@dataclass(frozen=True)
class DemoOptions:
    """What to demonstrate.

    Args:
        root: the demo's folder.
        videos: how many clips.
        seed: of the clips, the captions and the training.
        fresh: start over in a folder that holds a demo already.
        settings: on top of the demo's recipe, each "table.key=value".
    """

    root: Path
    videos: int
    seed: int = 0
    fresh: bool = False
    settings: Sequence[str] = ()


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
        options: what to demonstrate.
        progress: shows how far a stage has come.
    """

    def __init__(self, options: DemoOptions, progress: Progress) -> None:
        self.options, self.progress = options, progress
        self.scenes = compose(options.videos, options.seed)
        self.tests = [scene for scene in self.scenes if scene.split == "test"]
        self.folder = DemoFolder(options.root)
        self.workspace = self.folder.workspace
        self.report = DemoReport(len(self.scenes), len(self.tests), self.workspace.root)

    def run(self) -> DemoReport:
        """Go through all stages.

        Raises:
            UsageError: the folder is somebody else's, or too few clips were asked for.
            HcqError: a stage failed.
        """
        from hcq_cli.demo.render import RENDERER

        self.folder.open(Identity(self.options.videos, self.options.seed, RENDERER), self.options.fresh)
        for stage in STAGES:
            with self._timed(stage):
                getattr(self, stage)()
        return self.report

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        started = time.monotonic()
        yield
        self.report.seconds[stage] = round(time.monotonic() - started, 2)

    def render(self) -> None:
        """Scenes → clips and captions."""
        from hcq_cli.demo.render import render_all
        from hcq_cli.media.engine import cores

        with self.progress("render", len(self.scenes), "clips") as bar:
            render_all(self.scenes, self.options.seed, self.folder.clips, cores(), bar.update)
        self.folder.write_captions(self.scenes, self.options.seed)

    def extract(self) -> None:
        """Clips → features of all four experts."""
        from experts.registry import presets
        from hcq_cli.media.engine import ExtractReport, Options, extract
        from hcq_cli.media.inputs import find_inputs

        with self.progress("extract", len(self.scenes), "clips") as bar:

            def show(report: ExtractReport, _: str) -> None:
                bar.update(report.done)

            inputs = find_inputs([str(self.folder.clips)])
            report = extract(inputs, presets["classic"], Options(self.workspace.features), show)
        if report.failed:
            first = report.failed[0]
            raise HcqError(f"{first.path}: {first.error}", "hcq doctor, then hcq demo DIR --fresh")
        self.report.states = report.states

    def train(self) -> None:
        """Features and captions → a checkpoint; an interrupted training goes on."""
        from hcq_cli.datasets.captions import read_captions
        from hcq_cli.datasets.collection import collect
        from hcq_cli.features.store import FeatureStore
        from hcq_cli.training import recipe as recipes
        from hcq_cli.training.dataset import training_data
        from hcq_cli.training.loop import train

        settings = [f"training.seed={self.options.seed}", *self.options.settings]
        plan = recipes.load(RECIPE, settings)
        store = FeatureStore.open(self.workspace.features)
        data = training_data(store, collect(store, read_captions(self.workspace.captions)))
        with self.progress("train", None, "steps") as bar:
            about = {"captions": str(self.workspace.captions.resolve())}
            train(data, plan, self.workspace.model, observer=TrainingBar(bar), about=about)

    def encode(self) -> None:
        """Features → a code file."""
        from hcq_cli.features.store import FeatureStore
        from hcq_cli.model.checkpoint import load
        from hcq_cli.model.encoding import encode_store

        model, store = load(self.workspace.model), FeatureStore.open(self.workspace.features)
        self.report.bytes_per_video = model.config.bytes_per_video
        with self.progress("encode", len(store), "clips"):
            encode_store(model, store, self.workspace.codes)

    def index(self) -> None:
        """Code file → index."""
        from hcq_cli.codes.codefile import open_codes
        from hcq_cli.search.index_writer import build
        from hcq_cli.search.text_encoder_export import text_encoder_exporter

        tower = text_encoder_exporter(open_codes(self.workspace.codes).header, [self.workspace.model])
        build(self.workspace.index, [self.workspace.codes], text_encoder=tower)

    def query(self) -> None:
        """Recall over the test clips, then the five questions over all clips."""
        from hcq_cli.codes.codefile import open_codes
        from hcq_cli.demo.recall import measure_recall
        from hcq_cli.search.index import Index
        from hcq_cli.search.query import search_texts
        from hcq_cli.search.text_encoder import open_checkpoint_encoder

        tower, index = open_checkpoint_encoder([self.workspace.model]), Index.open(self.workspace.index)
        sentences = [captions(scene, self.options.seed) for scene in self.tests]
        recall = measure_recall(open_codes(self.workspace.codes), tower, self.tests, sentences)
        self.report.queries, self.report.R1, self.report.R10 = sum(map(len, sentences)), recall.R1, recall.R10
        questions = five_questions(self.scenes)
        answers = search_texts(index, tower, [question.text for question in questions], HITS)
        self.report.answers = [
            Answered(question, self._judged(question, answer.hits), question.share(self.scenes))
            for question, answer in zip(questions, answers, strict=True)
        ]

    def _judged(self, question: Question, hits: Sequence[Hit]) -> tuple[Found, ...]:
        scenes = {scene.file: scene for scene in self.scenes}
        return tuple(
            Found(hit.rank, hit.score, hit.id, hit.path, scene.values, question.is_answered_by(scene))
            for hit, scene in ((hit, scenes[hit.id]) for hit in hits)
        )


class TrainingBar:
    """Shows a training on a bar.

    Args:
        bar: the bar.
    """

    def __init__(self, bar: Bar) -> None:
        self._bar = bar

    def note(self, sentence: str) -> None:
        """Nothing; the demo tells its own story."""

    def warning(self, sentence: str) -> None:
        """Nothing; the demo's captions are its own."""

    def step(self, report: StepReport) -> None:
        """Move the bar."""
        detail = f"epoch {report.epoch}/{report.epochs} · loss {report.loss:.2f}"
        self._bar.update(completed=report.step, total=report.steps, detail=detail)

    def epoch(self, report: EpochReport) -> None:
        """Nothing; the steps have told it."""


def run_demo(options: DemoOptions, progress: Progress) -> DemoReport:
    """Run the demo from end to end.

    Args:
        options: what to demonstrate.
        progress: shows how far a stage has come.

    Raises:
        UsageError: the folder is somebody else's, or too few clips were asked for.
        HcqError: a stage failed.
    """
    return Journey(options, progress).run()
