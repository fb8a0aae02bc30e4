"""What a training step costs beside its two bare encoders, and encoding beside the bare video encoder.

Each pair is timed in turn on the same batches, so that a machine whose speed drifts slows both.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from hcq_cli.datasets.batches import BatchPlan, collate
from hcq_cli.datasets.features import MemoryFeatures
from hcq_cli.datasets.splits import Split
from hcq_cli.features.records import Ragged
from hcq_cli.model import registry, text
from hcq_cli.model.checkpoint import Model, text_tensors, video_tensors
from hcq_cli.model.config import ExpertConfig
from hcq_cli.model.hubness import BANK
from hcq_cli.training import recipe as recipes
from hcq_cli.training.codebooks import EmbeddingSample
from hcq_cli.training.dataset import TrainingData
from hcq_cli.training.loop import Trainer
from hcq_cli.training.progress import Silent
from hcq_cli.training.recipe import Recipe

MMT_EXPERTS = {"s3d": 1024, "vggish": 128, "face": 512, "rgb": 2048, "scene": 2208, "speech": 300, "ocr": 300}
"""Experts of the paper's data sets and their widths (PAPER: settings)."""
WORDS = 500


@dataclass(frozen=True)
class Cost:
    """One thing timed beside the bare part of it.

    Args:
        whole_s, bare_s: seconds a batch, medians.
        ratio: median of the ratios of each pair.
        videos_per_second: of the whole.
        batch_size: videos.
    """

    whole_s: float
    bare_s: float
    ratio: float
    videos_per_second: float
    batch_size: int


def bench_training(
    recipe: str = "default",
    settings: Sequence[str] = (),
    experts: Mapping[str, int] = MMT_EXPERTS,
    *,
    tokens: int = 15,
    words: int = 12,
    rounds: int = 10,
    threads: int = 0,
    device: str = "cpu",
) -> Cost:
    """Time a whole training step beside the forward and backward pass of its two encoders, on made-up features.

    Args:
        recipe: name or file.
        settings: "table.key=value" each, on top of it.
        experts: width of each.
        tokens: that an expert gives, in the mean.
        words: of a caption.
        rounds: pairs to time.
        threads: of torch; 0 for as many as it likes.
        device: cpu or cuda.
    """
    plan = recipes.load(recipe, settings)
    _limit_threads(threads)
    data = made_up(plan.training.batch_size * 2, experts, tokens, words)
    with tempfile.TemporaryDirectory() as folder:
        return measure_training(data, plan, Path(folder), rounds, device)


def bench_encoding(
    recipe: str = "default",
    settings: Sequence[str] = (),
    experts: Mapping[str, int] = MMT_EXPERTS,
    *,
    tokens: int = 15,
    batch_size: int = 64,
    rounds: int = 10,
    threads: int = 0,
    device: str = "cpu",
) -> Cost:
    """Time features to codes beside the bare video encoder, on made-up features and weights.

    Args as of `bench_training`; `batch_size` videos are encoded at once.
    """
    plan = recipes.load(recipe, [*settings, "text.encoder=scratch"])  # no text is encoded
    _limit_threads(threads)
    data = made_up(batch_size * 3, experts, tokens, 3)
    config = plan.model.with_experts({name: ExpertConfig(dim) for name, dim in experts.items()})
    tower = text.build(config.text, data.train.sentences)
    network = registry.network_class(config.kind)(config, tower.encoder).to(device)
    return measure_encoding(Model(network, tower, ""), data, batch_size, rounds)


def _limit_threads(threads: int) -> None:
    if threads:
        torch.set_num_threads(threads)


def made_up(videos: int, experts: Mapping[str, int], tokens: int, words: int, seed: int = 0) -> TrainingData:
    """Random features and captions of a given shape: what they say does not change what they cost.

    Args:
        videos: N.
        experts: width of each.
        tokens: every expert has 1 to 2·tokens−1 of them, `tokens` in the mean.
        words: of each caption.
        seed: of the randomness.
    """
    rng = np.random.default_rng(seed)
    held: dict[str, Ragged] = {}
    for name, dim in experts.items():
        counts = rng.integers(1, 2 * tokens, videos)
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        times = np.concatenate([np.arange(count) for count in counts]).astype(np.float32)
        held[name] = Ragged(rng.standard_normal((offsets[-1], dim), np.float32), times, offsets)
    captions = [[" ".join(f"word{w}" for w in rng.integers(0, WORDS, words))] for _ in range(videos)]
    rows = np.arange(videos)
    none = Split(rows[:0], [], rows[:0])
    configs = {name: ExpertConfig(dim) for name, dim in experts.items()}
    return TrainingData(MemoryFeatures(held, rows), configs, Split(rows, captions, rows), none)


def _pairs(whole: Callable[[int], None], bare: Callable[[int], None], rounds: int, videos: int) -> Cost:
    """Time both in turn, `rounds` times, after one round that does not count."""
    seconds: list[tuple[float, float]] = []
    for at in range(rounds + 1):
        started = time.perf_counter()
        whole(at)
        between = time.perf_counter()
        bare(at)
        seconds.append((between - started, time.perf_counter() - between))
    counted = seconds[1:]
    whole_s, bare_s = (median(values) for values in zip(*counted, strict=True))
    return Cost(whole_s, bare_s, median(a / b for a, b in counted), videos / whole_s, videos)


def measure_training(data: TrainingData, recipe: Recipe, folder: Path, rounds: int, device: str = "cpu") -> Cost:
    """A whole training step beside the forward and backward pass of its text and video encoders.

    Args:
        data: at least a batch of it.
        recipe: the model and the batch.
        folder: for the run; nothing of worth is left there.
        rounds: pairs to time.
        device: where to compute.
    """
    trainer = Trainer(data, recipe, folder, Silent(), device)
    trainer.begin(False)
    network = trainer.network.train()
    sample = EmbeddingSample(recipe.codebook.sample, (trainer.config.levels + 1, trainer.config.embedding_width))
    draws = [draw for epoch in range(1, rounds + 2) for draw in trainer.sampler.epoch(epoch)][: rounds + 1]

    def step(at: int) -> None:
        trainer.step(draws[at], sample)

    def encoders(at: int) -> None:
        draw = draws[at]
        tokens = trainer.features.read(data.train.rows[draw.videos], list(data.experts))
        batch = collate(tokens, trainer.config.video.max_tokens, draw.rng())
        words = trainer.tower.tokenizer.pad([trainer.words[video][0] for video in draw.videos])
        network.zero_grad(set_to_none=True)
        videos = network.video_encoder(video_tensors(batch, trainer.config, trainer.device))
        texts = network.text_encoder(*text_tensors(words, trainer.device))
        total = videos.tokens.square().mean() + videos.aggregates.square().mean() + texts.tokens.square().mean()
        total.backward()
        _wait(trainer.device)

    trainer.method.on_epoch_end(_first_vectors(trainer, draws[0]), 1)
    return _pairs(step, encoders, rounds, len(draws[0].videos))


def _first_vectors(trainer: Trainer, draw: BatchPlan) -> torch.Tensor:
    """Embeddings of one batch, for the first codewords."""
    sample = EmbeddingSample(4096, (trainer.config.levels + 1, trainer.config.embedding_width))
    with torch.no_grad():
        trainer.forward(draw, sample)
    return sample.get()


def measure_encoding(model: Model, data: TrainingData, batch_size: int, rounds: int) -> Cost:
    """Features to codes beside the bare video encoder on the same batches.

    Args:
        model: any, trained or not; what corrects hubs in one that is not gets full banks of random vectors.
        data: at least a batch of it.
        batch_size: videos.
        rounds: pairs to time.
    """
    hubness, config = getattr(model.network, "hubness", None), model.config
    if hubness is not None and not int(hubness.videos.filled):
        drawn = F.normalize(torch.randn(BANK, config.levels + 1, config.embedding_width), dim=-1)
        hubness.fit(drawn, drawn, torch.arange(BANK))
    rows: list[NDArray[np.int64]] = np.array_split(data.train.rows, max(len(data.train) // batch_size, 1))
    batches = [
        collate(data.features.read(at, list(data.experts)), model.config.video.max_tokens)
        for at in rows[: rounds + 1]
    ]

    def encode(at: int) -> None:
        model.encode_codes(batches[at % len(batches)])

    def encoder(at: int) -> None:
        with torch.inference_mode():
            model.network.video_encoder(video_tensors(batches[at % len(batches)], model.config, model.device))
        _wait(model.device)

    return _pairs(encode, encoder, rounds, len(batches[0]))


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
