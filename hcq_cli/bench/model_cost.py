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

from hcq_cli.datasets.batches import collate
from hcq_cli.datasets.features import MemoryFeatures
from hcq_cli.datasets.splits import Split
from hcq_cli.features.records import Ragged
from hcq_cli.model import registry, text
from hcq_cli.model.config import ExpertConfig
from hcq_cli.model.hcq import TwoTowers
from hcq_cli.model.hubness import BANK
from hcq_cli.model.text import text_tensors
from hcq_cli.model.trained_model import Model
from hcq_cli.model.video import video_tensors
from hcq_cli.training import recipe as recipes
from hcq_cli.training.config import Recipe
from hcq_cli.training.data import TrainingData
from hcq_cli.training.loop import Trainer
from hcq_cli.training.progress import TrainingObserver

MMT_EXPERTS = {"s3d": 1024, "vggish": 128, "face": 512, "rgb": 2048, "scene": 2208, "speech": 300, "ocr": 300}
"""Experts of MMT (Gabeur et al., ECCV 2020) and their widths, as in the data sets that HCQ is measured on."""
VOCABULARY = 500
"""Different words of the made-up captions."""


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
    data = synthetic_data(plan.training.batch_size * 2, experts, tokens, words)
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
    data = synthetic_data(batch_size * 3, experts, tokens, 3)
    config = plan.model.with_experts({name: ExpertConfig(dim) for name, dim in experts.items()})
    caption_encoder = text.build(config.text, data.train.sentences)
    network = registry.network_class(config.kind)(config, caption_encoder.transformer).to(device)
    return measure_encoding(Model(network, caption_encoder, ""), data, batch_size, rounds)


def _limit_threads(threads: int) -> None:
    if threads:
        torch.set_num_threads(threads)


def synthetic_data(videos: int, experts: Mapping[str, int], tokens: int, words: int) -> TrainingData:
    """Random features and captions of a given shape: what they say does not change what they cost.

    Args:
        videos: N.
        experts: width of each.
        tokens: every expert has 1 to 2·tokens−1 of them, `tokens` in the mean.
        words: of each caption.
    """
    rng = np.random.default_rng(0)
    held: dict[str, Ragged] = {}
    for name, dim in experts.items():
        counts = rng.integers(1, 2 * tokens, videos)
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        times = np.concatenate([np.arange(count) for count in counts]).astype(np.float32)
        held[name] = Ragged(rng.standard_normal((offsets[-1], dim), np.float32), times, offsets)
    captions = [[" ".join(f"word{w}" for w in rng.integers(0, VOCABULARY, words))] for _ in range(videos)]
    rows = np.arange(videos)
    configs = {name: ExpertConfig(dim) for name, dim in experts.items()}
    return TrainingData(MemoryFeatures(held, rows), configs, Split(rows, captions, rows), Split.empty())


def _time_in_turn(whole: Callable[[int], None], bare: Callable[[int], None], rounds: int, videos: int) -> Cost:
    """Time both in turn, `rounds` times, after one round that does not count."""
    seconds: list[tuple[float, float]] = []
    for at in range(rounds + 1):
        started = time.perf_counter()
        whole(at)
        between = time.perf_counter()
        bare(at)
        seconds.append((between - started, time.perf_counter() - between))
    counted = seconds[1:]  # the first round pays for memory and kernels that the others find ready
    whole_s, bare_s = (median(values) for values in zip(*counted, strict=True))
    # The median of the ratios, not the ratio of the medians: a machine that slows down slows both parts of a pair.
    ratio = median(a / b for a, b in counted)
    return Cost(whole_s, bare_s, ratio, videos_per_second=videos / whole_s, batch_size=videos)


def measure_training(data: TrainingData, recipe: Recipe, folder: Path, rounds: int, device: str = "cpu") -> Cost:
    """A whole training step beside the forward and backward pass of its text and video encoders.

    Args:
        data: at least a batch of it.
        recipe: the model and the batch.
        folder: for the run; nothing of worth is left there.
        rounds: pairs to time.
        device: where to compute.
    """
    trainer = Trainer(data, recipe, folder, TrainingObserver(), device)
    trainer.start(must_resume=False)
    network = trainer.network.train()
    assert isinstance(network, TwoTowers)
    sample = trainer.empty_sample(recipe.codebook.sample)
    # From the second epoch on: in the first the loss is dense alone, and costs less than all that follow.
    plans = [plan for epoch in range(1, rounds + 2) for plan in trainer.sampler.epoch(epoch)][: rounds + 1]

    def step(at: int) -> None:
        trainer.step(plans[at], sample)

    def encoders(at: int) -> None:
        plan = plans[at]
        tokens = trainer.features.read(data.train.rows[plan.videos], list(data.experts))
        batch = collate(tokens, trainer.config.video.max_tokens, plan.rng())
        words = trainer.caption_encoder.tokenizer.pad([trainer.token_ids[video][0] for video in plan.videos])
        network.zero_grad(set_to_none=True)
        videos = network.video_encoder(video_tensors(batch, trainer.config, trainer.device))
        texts = network.text_encoder(*text_tensors(words, trainer.device))
        # Anything that depends on all outputs: what is timed is the way back through the encoders, not this sum.
        total = videos.tokens.square().mean() + videos.aggregates.square().mean() + texts.tokens.square().mean()
        total.backward()
        _wait(trainer.device)

    first = trainer.empty_sample(4096)
    with torch.no_grad():
        trainer.embed_batch(plans[0], first)
    trainer.method.on_epoch_end(first.get(), 1)  # codewords such as a trained model has, not random ones
    return _time_in_turn(step, encoders, rounds, len(plans[0].videos))


def measure_encoding(model: Model, data: TrainingData, batch_size: int, rounds: int) -> Cost:
    """Features to codes beside the bare video encoder on the same batches.

    Args:
        model: any, trained or not; what corrects hubs in one that is not gets full banks of random vectors.
        data: at least a batch of it.
        batch_size: videos.
        rounds: pairs to time.
    """
    hubness, config = model.network.hubness, model.config
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

    towers = model.network
    assert isinstance(towers, TwoTowers)

    def encoder(at: int) -> None:
        with torch.inference_mode():
            towers.video_encoder(video_tensors(batches[at % len(batches)], model.config, model.device))
        _wait(model.device)

    return _time_in_turn(encode, encoder, rounds, len(batches[0]))


def _wait(device: torch.device) -> None:
    # A GPU is given its work and not waited for; without this the clock would stop before the work is done.
    if device.type == "cuda":
        torch.cuda.synchronize(device)
