"""HCQ beside its siblings, post-compression and a linear model, on one feature set: a table in one command.

    python examples/compare.py --data DIR [--models hcq,hct,jpq,dcmh,posthoc,linear] [--bytes 64] [--seeds 2] [--json]

`--bytes 64,32` measures all that has codes at both sizes.

DIR holds `features.h5` (/{split}/{expert}/tokens [rows, dim], times [rows] in seconds, offsets [videos+1]) and
`captions.jsonl` (a line a video: split, index, captions). Trained on `train`, measured on `test`: every caption is a
query, and only its own video counts as found. `val` is never trained on, and chooses nothing here.

`--folds 5` puts all splits together and cuts them anew: each video is tested once. With `--choose A --choose B`
(settings as in `hcq train --set`, several with spaces between) the recipe is chosen inside the training part of each
fold: all choices are trained on four fifths of it, three times over, and what does best on the fifths left out trains
on all of it.

What `posthoc` means is said by `--compress`: lsh, itq, pq, opq, lsq a level at a time, as `hcq eval --compress` does;
`pq-whole` and `opq-whole` on all levels side by side; `rotation`, HCQ's own quantizer fitted after training, and
`hubness`, the same with HCQ's correction of hubs.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
import torch.nn.functional as F

from hcq_cli.baselines.compression import compress
from hcq_cli.datasets.features import MemoryFeatures
from hcq_cli.datasets.splits import Split
from hcq_cli.errors import HcqError
from hcq_cli.evaluation.retrieval import RetrievalMetrics, both_directions, evaluate_vectors
from hcq_cli.evaluation.scores import DenseScores
from hcq_cli.features.records import Ragged
from hcq_cli.model import checkpoint
from hcq_cli.model.config import ExpertConfig, ModelConfig, QuantizerConfig
from hcq_cli.model.encoding import Encoded, encode_both, training_vectors
from hcq_cli.model.hubness import Hubness
from hcq_cli.model.quantizer import ProductQuantizer
from hcq_cli.model.trained_model import Model
from hcq_cli.training import recipe as recipes
from hcq_cli.training.codebooks import fit_codewords
from hcq_cli.training.data import TrainingData
from hcq_cli.training.loop import train
from hcq_cli.training.progress import StepReport, TrainingObserver

RECIPE = Path(__file__).with_name("small.toml")
SIBLINGS = ("hcq", "hct", "jpq", "dcmh")
MODELS = (*SIBLINGS, "posthoc", "linear")
SPLITS = ("train", "val", "test")
INNER_CUTS = 3
NOTHING = Split.empty()


@dataclasses.dataclass(frozen=True)
class FeatureSet:
    """A feature set in memory.

    Args:
        features: of all videos.
        experts: by name.
        captions: of each row.
        rows: by split.
    """

    features: MemoryFeatures
    experts: dict[str, ExpertConfig]
    captions: list[list[str]]
    rows: dict[str, np.ndarray]

    def part(self, rows: np.ndarray) -> Split:
        """Some of its videos, with their captions."""
        return Split(rows, [self.captions[row] for row in rows], rows)


def read_set(folder: Path) -> FeatureSet:
    """All splits of a folder, one after the other."""
    lines = [json.loads(line) for line in (folder / "captions.jsonl").read_text("utf-8").splitlines()]
    captions, rows, first = [], {}, 0
    for split in SPLITS:
        own = sorted((line for line in lines if line["split"] == split), key=lambda line: line["index"])
        captions += [line["captions"] for line in own]
        rows[split] = np.arange(first, first := first + len(own))
    with h5py.File(folder / "features.h5") as file:
        there = [split for split in SPLITS if len(rows[split])]
        names = [name for name, item in file[there[0]].items() if isinstance(item, h5py.Group)]
        tokens = {name: _joined([file[split][name] for split in there]) for name in names}
    experts = {name: ExpertConfig(ragged.features.shape[1]) for name, ragged in tokens.items()}
    return FeatureSet(MemoryFeatures(tokens, np.arange(first)), experts, captions, rows)


def _joined(groups: list[Any]) -> Ragged:
    counts = np.concatenate([np.diff(group["offsets"][:]) for group in groups])
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    features, times = (np.concatenate([group[key][:] for group in groups]) for key in ("tokens", "times"))
    return Ragged(features.astype(np.float32), times.astype(np.float32), offsets)


def numbers(measured: RetrievalMetrics) -> dict[str, Any]:
    """Recalls both ways, to a tenth."""
    return {
        way: {key: round(value, 2) for key, value in figures.items()} for way, figures in measured.to_dict().items()
    }


class Comparison:
    """Trains and measures on one cut of the set.

    Args:
        data: the set.
        learned, tested: rows.
        arguments: of the command line.
        settings: on top of the recipe.
    """

    def __init__(
        self, data: FeatureSet, learned: np.ndarray, tested: np.ndarray, arguments: Any, settings: list[str]
    ) -> None:
        self.data, self.arguments, self.settings = data, arguments, settings
        self.learned, self.tested = data.part(learned), data.part(tested)

    def trained(self, kind: str, code_bytes: int, seed: int) -> tuple[Model, dict[str, Any]]:
        """A model of `kind`, and what its training said: used codewords, seconds a step."""
        books = f"quantizer.codebooks={code_bytes // self.arguments.levels}"
        chosen = [books, *self.settings, f"model.kind={kind}", f"training.seed={seed}"]
        recipe = recipes.load(str(self.arguments.recipe), chosen)
        data = TrainingData(self.data.features, self.data.experts, self.learned, NOTHING)
        with tempfile.TemporaryDirectory() as folder:
            counter = StepCounter()
            done = train(data, recipe, Path(folder), observer=counter)
            model = checkpoint.load(Path(folder))
        used = done.metrics["used_codewords"]
        return model, {"used_codewords": used, "step_s": round(done.seconds / counter.steps, 4)}

    def rows(self, models: list[str], seed: int) -> Iterator[dict[str, Any]]:
        """A row a model and size; HCT, which has no codes, once."""
        sizes: list[int] = self.arguments.bytes
        if "hct" in models or "posthoc" in models:
            yield from self.dense_and_afterwards(models, sizes, seed)
        for kind in [kind for kind in SIBLINGS if kind in models and kind != "hct"]:
            for size in sizes:
                model, said = self.trained(kind, size, seed)
                found = evaluate_vectors(model, encode_both(model, self.data.features, self.tested))
                quantized, dense = numbers(found.quantized), numbers(found.dense)
                yield {"model": kind, "bytes_per_video": found.bytes_per_video, **quantized, "dense": dense, **said}
        if "linear" in models:
            yield self.linear(seed)

    def dense_and_afterwards(self, models: list[str], sizes: list[int], seed: int) -> Iterator[dict[str, Any]]:
        """HCT, and its vectors compressed."""
        model, said = self.trained("hct", sizes[0], seed)
        encoded = encode_both(model, self.data.features, self.tested)
        found = evaluate_vectors(model, encoded)
        dense = numbers(found.dense)
        if "hct" in models:
            yield {"model": "hct", "bytes_per_video": found.bytes_per_video, **dense, "dense": dense, **said}
        if "posthoc" not in models:
            return
        learned = training_vectors(model, self.data.features, self.learned)
        for method in self.arguments.compress.split(","):
            for size in sizes:
                metrics = numbers(compressed(method, learned, encoded, model.config, size, seed))
                row = {"model": f"posthoc-{method}", "bytes_per_video": size, **metrics}
                yield {**row, "dense": dense, "used_codewords": None, "step_s": said["step_s"]}

    def linear(self, seed: int, steps: int = 400, width: int = 128) -> dict[str, Any]:
        """Mean features and a bag of words, a matrix each, trained by the same contrast."""
        torch.manual_seed(seed)
        words = {word for caption in self.learned.sentences for word in caption.lower().split()}
        number = {word: at for at, word in enumerate(sorted(words))}
        videos, mean_std = self._pooled(self.learned.rows, None)
        texts, owner = self._bags(self.learned.sentences, number), torch.from_numpy(self.learned.owner)
        look, read = (torch.nn.Linear(size, width) for size in (videos.shape[1], len(number)))
        adam = torch.optim.Adam([*look.parameters(), *read.parameters()], 3e-3, weight_decay=1e-4)
        for _ in range(steps):
            drawn = torch.randperm(len(texts))[:256]
            mine = owner[drawn]
            scores = F.normalize(read(texts[drawn]), dim=1) @ F.normalize(look(videos[mine]), dim=1).T / 0.05
            scores = scores.masked_fill((mine[:, None] == mine) & ~torch.eye(len(mine), dtype=torch.bool), -1e9)
            target = torch.arange(len(drawn))
            loss = F.cross_entropy(scores, target) + F.cross_entropy(scores.T, target)
            adam.zero_grad()
            loss.backward()
            adam.step()
        with torch.no_grad():
            videos, _ = self._pooled(self.tested.rows, mean_std)
            texts = self._bags(self.tested.sentences, number)
            scores = (F.normalize(read(texts), dim=1) @ F.normalize(look(videos), dim=1).T).numpy()
        found = numbers(both_directions(scores, scores.T, self.tested.owner))
        return {
            "model": "linear",
            "bytes_per_video": 4 * width,
            **found,
            "dense": found,
            "used_codewords": None,
            "step_s": None,
        }

    def _pooled(self, rows: np.ndarray, scale: tuple[torch.Tensor, torch.Tensor] | None) -> tuple[torch.Tensor, Any]:
        tokens = self.data.features.read(rows)
        means = []
        for ragged in tokens.values():
            sums = np.add.reduceat(
                np.concatenate([ragged.features, np.zeros((1, ragged.features.shape[1]))]), ragged.offsets[:-1]
            )
            counts = np.diff(ragged.offsets)[:, None]
            means.append(np.where(counts > 0, sums / np.maximum(counts, 1), 0))
        x = torch.from_numpy(np.concatenate(means, 1)).float()
        scale = scale or (x.mean(0), x.std(0) + 1e-6)
        return (x - scale[0]) / scale[1], scale

    @staticmethod
    def _bags(sentences: list[str], number: dict[str, int]) -> torch.Tensor:
        bags = torch.zeros(len(sentences), len(number))
        for row, sentence in enumerate(sentences):
            for word in sentence.lower().split():
                if word in number:
                    bags[row, number[word]] = 1
        return bags / bags.sum(1, keepdim=True).clamp(min=1).sqrt()


def compressed(
    method: str, learned: Encoded, tested: Encoded, shape: ModelConfig, code_bytes: int, seed: int
) -> RetrievalMetrics:
    """Dense vectors of a trained HCT brought to so many bytes afterwards."""
    weights = shape.level_weights
    if method in ("rotation", "hubness"):
        strength = shape.quantizer.hubness if method == "hubness" else 0.0
        return rotated(learned, tested, weights, code_bytes, seed, strength)
    if not method.endswith("-whole"):
        return compress(learned.all, tested, weights, method, code_bytes, seed).metrics
    roots = np.sqrt(np.asarray(weights, np.float32))[:, None]
    sides = [(x * roots).reshape(len(x), 1, -1) for x in (learned.all, tested.videos, tested.texts)]
    whole = Encoded(sides[1], sides[2], tested.owner)
    return compress(sides[0], whole, [1.0], method.removesuffix("-whole"), code_bytes, seed).metrics


@torch.no_grad()
def rotated(
    learned: Encoded, tested: Encoded, weights: list[float], code_bytes: int, seed: int, strength: float
) -> RetrievalMetrics:
    """HCQ's rotation and codewords, fitted on finished vectors, and its correction of hubs of some strength."""
    _, levels, width = learned.videos.shape
    config = QuantizerConfig(codebooks=code_bytes // levels, rotation="all", hubness=strength)
    quantizer, hubness = ProductQuantizer(config, weights, width), Hubness(strength, weights, width)
    videos, texts, owner = (torch.from_numpy(x) for x in (learned.videos, learned.texts, learned.owner))
    corrected = hubness.fit(videos, texts, owner) if strength else (videos, texts)
    quantizer.active.fill_(min(config.codewords, len(videos) + len(texts)))
    fit_codewords(quantizer, torch.cat(corrected), 25, torch.Generator().manual_seed(seed))
    sides = hubness.videos(torch.from_numpy(tested.videos)), hubness.texts(torch.from_numpy(tested.texts))
    videos, texts = (quantizer(side).vectors.numpy() for side in sides)
    t2v, v2t = DenseScores(tested.texts, videos, weights), DenseScores(tested.videos, texts, weights)
    return both_directions(t2v, v2t, tested.owner)


class StepCounter(TrainingObserver):
    """Counts steps; says warnings."""

    steps = 0

    def on_step_end(self, report: StepReport) -> None:
        """One more."""
        self.steps += 1

    def warning(self, sentence: str) -> None:
        """To stderr: stdout holds the result."""
        print(f"warning: {sentence}", file=sys.stderr)


def cuts(data: FeatureSet, folds: int, repeats: int = 1) -> Iterator[tuple[int | None, np.ndarray, np.ndarray]]:
    """Fold, rows to learn from, rows to test on; folds are numbered on from one repeat to the next."""
    if not folds:
        yield None, data.rows["train"], data.rows["test"]
        return
    for repeat in range(repeats):
        shuffled = np.random.default_rng(repeat).permutation(len(data.captions))
        for fold, tested in enumerate(np.array_split(shuffled, folds), repeat * folds):
            yield fold, np.sort(np.setdiff1d(shuffled, tested)), np.sort(tested)


def choose(data: FeatureSet, learned: np.ndarray, arguments: Any) -> list[str]:
    """The settings that do best inside `learned`, by their HCQ codes."""
    choices = [choice.split() for choice in arguments.choose or [""]]
    if len(choices) == 1:
        return choices[0]
    shuffled = np.random.default_rng(1).permutation(learned)
    held_out = np.array_split(shuffled, 5)[:INNER_CUTS]

    def figure(settings: list[str]) -> float:
        total = 0.0
        for kept in held_out:
            rest = np.sort(np.setdiff1d(shuffled, kept))
            inner = Comparison(data, rest, np.sort(kept), arguments, [*arguments.set, *settings])
            row = next(inner.rows(["hcq"], 0))
            total += float(row["t2v"]["R1"] + row["t2v"]["R10"] + row["v2t"]["R1"])
        return total

    return max(choices, key=figure)


def sizes(parser: argparse.ArgumentParser, text: str, levels: int) -> list[int]:
    """Bytes a video, from the command line."""
    found = [int(size) if size.strip().isdigit() else 0 for size in text.split(",")]
    if wrong := [size for size in found if size < 1 or size % levels]:
        parser.error(f"--bytes {text}: {wrong[0]} is not a multiple of {levels} levels")
    return found


def main() -> None:
    """Train and measure what the command line asks for, and print a table, or with --json the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--models", default="hcq,hct,posthoc", help=f"of {','.join(MODELS)}")
    parser.add_argument("--bytes", default="64", help="a video; multiples of the levels, which are 8: 64 or 64,32")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--folds", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=1, help="cut into folds so many times, each time otherwise")
    parser.add_argument("--choose", action="append", metavar="SETTINGS")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--compress", default="pq,opq,rotation", help="what posthoc means")
    parser.add_argument("--recipe", type=Path, default=RECIPE)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    models = arguments.models.split(",")
    if wrong := sorted(set(models) - set(MODELS)):
        parser.error(f"unknown models {', '.join(wrong)}; known are {', '.join(MODELS)}")
    levels = recipes.load(str(arguments.recipe), arguments.set).model.levels + 1
    arguments.levels = levels
    arguments.bytes = sizes(parser, arguments.bytes, levels)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    data, rows = read_set(arguments.data), []
    for fold, learned, tested in cuts(data, arguments.folds, arguments.repeats):
        settings = [*arguments.set, *choose(data, learned, arguments)]
        comparison = Comparison(data, learned, tested, arguments, settings)
        for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
            for row in comparison.rows(models, seed):
                rows.append({**row, "seed": seed, "fold": fold})
                print(line(rows[-1]), file=sys.stderr, flush=True)
    if arguments.json:
        print(json.dumps(rows, indent=1))
    else:
        print_means(rows)


def line(row: dict[str, Any]) -> str:
    """A row for people."""
    figures = "  ".join(f"{way} {row[way]['R1']:5.1f} {row[way]['R10']:5.1f}" for way in ("t2v", "v2t"))
    dense = "  ".join(f"{row['dense'][way]['R1']:5.1f} {row['dense'][way]['R10']:5.1f}" for way in ("t2v", "v2t"))
    where = f" fold {row['fold']}" if row.get("fold") is not None else ""
    return f"{row['model']:14s} {row['bytes_per_video']:6d} B{where} seed {row['seed']}  {figures}  | dense {dense}"


def print_means(rows: list[dict[str, Any]]) -> None:
    """Means over seeds and folds, a row a model."""
    print("model                bytes   t2v R@1  R@10   v2t R@1  R@10   dense t2v R@1  v2t R@1   used %   s/step")
    for kind, size in dict.fromkeys((row["model"], row["bytes_per_video"]) for row in rows):
        own = [row for row in rows if (row["model"], row["bytes_per_video"]) == (kind, size)]

        def mean(*path: str, own: list[dict[str, Any]] = own) -> float:
            values = []
            for row in own:
                value: Any = row
                for key in path:
                    value = value[key]
                values.append(np.nan if value is None else value)
            return float(np.mean(values))

        print(
            f"{kind:18s} {size:7d} {mean('t2v', 'R1'):9.1f} {mean('t2v', 'R10'):5.1f} "
            f"{mean('v2t', 'R1'):9.1f} {mean('v2t', 'R10'):5.1f} {mean('dense', 't2v', 'R1'):15.1f} "
            f"{mean('dense', 'v2t', 'R1'):8.1f} {mean('used_codewords'):8.1f} {mean('step_s'):8.3f}"
        )


if __name__ == "__main__":
    try:
        main()
    except HcqError as error:
        sys.exit(f"error: {error.message}\n{error.hint}")
