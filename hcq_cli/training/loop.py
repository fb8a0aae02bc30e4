"""The training loop: figure 2 of the paper run forward and backward, an epoch at a time."""

from __future__ import annotations

import dataclasses
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hcq_cli.datasets.batches import BatchPlan, BatchSampler, collate
from hcq_cli.datasets.features import FeatureStatistics, cached_in_memory, feature_statistics
from hcq_cli.errors import HcqError, NotFoundError
from hcq_cli.evaluation.retrieval import evaluate
from hcq_cli.files import digest_bytes, write_text, writer_lock
from hcq_cli.model import checkpoint, registry, text
from hcq_cli.model.checkpoint import Model, text_tensors, video_tensors
from hcq_cli.model.hcq import DualEncoder
from hcq_cli.model.text import TextTower
from hcq_cli.model.vectors import Encoded, training_vectors
from hcq_cli.model.video import FeatureScale
from hcq_cli.training import resume
from hcq_cli.training.codebooks import EmbeddingSample, Usage
from hcq_cli.training.dataset import TrainingData
from hcq_cli.training.losses import BatchEmbeddings, Pairs
from hcq_cli.training.method import TrainingMethod
from hcq_cli.training.optimizer import adam, rate, read_state, set_rate, write_state
from hcq_cli.training.progress import EpochReport, Observer, Silent, StepReport
from hcq_cli.training.recipe import Recipe

METRICS_FILE = "metrics.jsonl"


@dataclass(frozen=True)
class TrainingResult:
    """What a run ended with.

    Args:
        checkpoint: its folder.
        epochs: trained in all.
        seconds: of training, resumed runs included.
        metrics: of the epoch that was kept, as in metrics.jsonl.
    """

    checkpoint: Path
    epochs: int
    seconds: float
    metrics: dict[str, Any]


def train(
    data: TrainingData,
    recipe: Recipe,
    run: Path,
    *,
    observer: Observer | None = None,
    must_resume: bool = False,
    device: str = "cpu",
    about: dict[str, Any] | None = None,
) -> TrainingResult:
    """Train, and leave a checkpoint in `run`; goes on where an interrupted run of the same kind stopped.

    Args:
        data: what to learn from.
        recipe: how.
        run: the checkpoint folder.
        observer: is told how it goes.
        must_resume: fail if there is nothing to go on from.
        device: where to compute.
        about: more to write into config.json beside the weights (where the captions lie…).

    Raises:
        NotFoundError: `must_resume`, and nothing is there.
        HcqError: `must_resume`, and the data or the recipe have changed.
        LockedError: another run writes there.
    """
    if not len(data.train):
        raise HcqError("no captioned video to train on", "hcq captions check FILE")
    with writer_lock(run):
        trainer = Trainer(data, recipe, run, observer or Silent(), device)
        for warning in data.warnings:
            trainer.observer.warning(warning)
        trainer.begin(must_resume)
        while trainer.epoch < recipe.training.epochs:
            trainer.run_epoch()
        return trainer.finish(about or {})


class Trainer:
    """One run; `train` says what the arguments are."""

    def __init__(self, data: TrainingData, recipe: Recipe, run: Path, observer: Observer, device: str) -> None:
        self.data, self.run, self.observer, self.device = data, run, observer, torch.device(device)
        self.recipe = dataclasses.replace(recipe, model=recipe.model.with_experts(data.experts))
        self.config, self.seed = self.recipe.model.check(), recipe.training.seed
        self.epoch, self.seconds, self.best_epoch = 0, 0.0, 0
        self.history: list[dict[str, Any]] = []
        self.sampler = self._sampler()
        self.steps = self.sampler.steps_per_epoch * recipe.training.epochs
        self.tower: TextTower
        self.network: DualEncoder
        self.method: TrainingMethod
        self.optimizer: torch.optim.AdamW

    def _sampler(self) -> BatchSampler:
        """An epoch goes through the videos once, or several times where they are few, or as the recipe says."""
        training, counts = self.recipe.training, [len(captions) for captions in self.data.train.captions]
        batch = min(training.batch_size, len(counts))
        rounds = -(-training.min_steps // (training.epochs * -(-len(counts) // batch)))
        samples = training.samples_per_epoch or max(rounds, 1) * -(-len(counts) // batch) * batch
        return BatchSampler(counts, batch, self.seed, training.captions_per_video, samples)

    # -- beginning and ending ---------------------------------------------------------------------------------

    def begin(self, must_resume: bool) -> None:
        """Build the model, or read the state of an interrupted run."""
        names, every = list(self.data.experts), np.concatenate([self.data.train.rows, self.data.validation.rows])
        self.features = cached_in_memory(self.data.features, every, names, self.recipe.training.cache_mb)
        found = resume.newest(self.run)
        if must_resume and found is None:
            raise NotFoundError(f"{self.run}: no interrupted training there", "hcq train")
        if found is not None and found[1].fingerprint != self.fingerprint:
            if must_resume:
                raise HcqError(
                    f"{self.run}: the interrupted training had another recipe or other data",
                    "give the same recipe, settings, captions and features, or leave --resume out to start anew",
                )
            resume.clear(self.run)
            found = None
        self._fresh() if found is None else self._resumed(*found)
        self.words = [[self.tower.tokenizer.cut(c) for c in captions] for captions in self.data.train.captions]

    @property
    def fingerprint(self) -> str:
        """Of everything that the outcome depends on."""
        train, val = self.data.train, self.data.validation
        body = [self.recipe.to_dict(), list(map(list, train.captions)), list(map(list, val.captions))]
        arrays = (train.rows.tobytes(), train.groups.tobytes(), val.rows.tobytes())
        return digest_bytes(json.dumps(body, sort_keys=True).encode(), *arrays)

    def _fresh(self) -> None:
        torch.manual_seed(self.seed)
        self.tower = text.build(self.config.text, self.data.train.sentences)
        self.network = registry.network_class(self.config.kind)(self.config, self.tower.encoder)
        self.method = registry.training_method(self.config.kind)(self.network, self.recipe)
        if self.config.video.standardize:
            widths = {name: expert.dim for name, expert in self.data.experts.items()}
            found = feature_statistics(self.features, self.data.train.rows, widths)
            _set_scales(self.network, found)
        vectors = len(np.unique(self.data.train.groups)) + len(set(self.data.train.sentences))
        for warning in self.method.on_train_start(vectors):
            self.observer.warning(warning)
        self._warn_long_captions()
        if self.data.explanation:
            self.observer.note(self.data.explanation)
        self.network.to(self.device)
        self.optimizer = adam(self.network, self.recipe)

    def _warn_long_captions(self) -> None:
        limit = self.tower.tokenizer.max_tokens
        long = sum(self.tower.tokenizer.length(caption) > limit for caption in self.data.train.sentences)
        if long:
            self.observer.warning(f"{long} captions are longer than {limit} tokens; their ends are not read")

    def _resumed(self, folder: Path, progress: resume.Progress) -> None:
        model = checkpoint.load(folder, str(self.device))
        self.network, self.tower = model.network, model.tower
        self.method = registry.training_method(self.config.kind)(self.network, self.recipe)
        self.optimizer = adam(self.network, self.recipe)
        read_state(self.optimizer, folder / resume.OPTIMIZER_FILE)
        self.epoch, self.history = progress.epoch, progress.history
        self.best_epoch, self.seconds = progress.best_epoch, progress.seconds
        self.observer.note(f"going on after epoch {self.epoch} of {self.recipe.training.epochs}")

    def finish(self, about: dict[str, Any]) -> TrainingResult:
        """Move the kept epoch's checkpoint into place and forget the unfinished state."""
        kept = self.history[self.best_epoch - 1 if self.best_epoch else -1]
        if self.best_epoch and self.best_epoch != self.epoch:
            model = checkpoint.load(self.run / resume.FOLDER / resume.BEST, str(self.device))
        else:
            model = Model(self.network, self.tower, "")
        kept = self._settle(model, kept)
        about = {**about, "recipe": self.recipe.to_dict(), "epoch": kept["epoch"], "metrics": kept}
        checkpoint.save(self.run, model.network, model.tower, about)
        resume.clear(self.run)
        return TrainingResult(self.run, self.epoch, self.seconds, kept)

    def _settle(self, model: Model, kept: dict[str, Any]) -> dict[str, Any]:
        """The method's last fit on the epoch that stays; if it changed anything, measured anew."""

        def embed(limit: int) -> Encoded:
            return training_vectors(model, self.features, self.data.train, limit)

        used = registry.training_method(self.config.kind)(model.network, self.recipe).on_train_end(embed)
        return kept if used is None else {**kept, "used_codewords": used.share, "validation": self._validated(model)}

    # -- an epoch ---------------------------------------------------------------------------------------------

    def run_epoch(self) -> None:
        """All steps of the next epoch, then codebooks, validation and the state to resume from."""
        started = time.monotonic()
        self.network.train()
        shape = (self.config.levels + 1, self.config.embedding_width)
        sample = EmbeddingSample(self.recipe.codebook.sample, shape)
        sums = torch.zeros(3)
        for draw in self.sampler.epoch(self.epoch):
            found = self.step(draw, sample)
            sums += found
            self._tell_step(draw, float(found[0]), started)
        self.epoch += 1
        used = self.method.on_epoch_end(sample.get(), self.epoch)
        self._close_epoch(sums / self.sampler.steps_per_epoch, used, started)

    def step(self, draw: BatchPlan, sample: EmbeddingSample) -> torch.Tensor:
        """Learn from one batch; its loss, and R@1 inside it by dense and by quantized vectors."""
        step = draw.epoch * self.sampler.steps_per_epoch + draw.step
        torch.manual_seed(int(np.random.SeedSequence((self.seed, 3, step)).generate_state(1)[0]))
        set_rate(self.optimizer, rate(self.recipe.training, step, self.steps, draw.epoch))
        self.optimizer.zero_grad(set_to_none=True)
        totals = torch.zeros(3, device=self.device)
        for portion in draw.micro_batches(self.recipe.training.accumulate):
            terms = self.method.training_step(*self.forward(portion, sample), draw.epoch)
            share = len(portion.videos) / len(draw.videos)
            (share * terms.loss).backward()
            totals += share * torch.stack([terms.loss.detach(), terms.dense_R1, terms.quantized_R1])
        if self.recipe.training.clip_norm > 0:
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.training.clip_norm)
        self.optimizer.step()
        return totals.cpu()

    def forward(self, draw: BatchPlan, sample: EmbeddingSample) -> tuple[BatchEmbeddings, Pairs]:
        """Embed a batch, and keep its vectors in `sample`."""
        part = self.data.train
        tokens = self.features.read(part.rows[draw.videos], list(self.data.experts))
        batch = collate(tokens, self.config.video.max_tokens, draw.rng())
        with self._precision():
            videos = self.network.embed_videos(video_tensors(batch, self.config, self.device)).float()
        owner = np.repeat(np.arange(len(draw.videos)), draw.captions.shape[1])
        chosen = zip(draw.videos[owner].tolist(), draw.captions.ravel().tolist(), strict=True)
        words = self.tower.tokenizer.pad([self.words[video][caption] for video, caption in chosen])
        with self._precision():
            texts = self.network.embed_texts(*text_tensors(words, self.device)).float()
        sample.add(texts)
        sample.add(videos)
        pairs = Pairs(*(torch.from_numpy(a).to(self.device) for a in (owner, part.groups[draw.videos])))
        return BatchEmbeddings(texts, videos), pairs

    def _precision(self) -> torch.autocast:
        amp = self.recipe.training.amp
        on = amp == "on" or (amp == "auto" and self.device.type == "cuda")
        return torch.autocast(self.device.type, torch.bfloat16, enabled=on)

    def _close_epoch(self, means: torch.Tensor, used: Usage | None, started: float) -> None:
        loss, dense_R1, quantized_R1 = means.tolist()
        model = Model(self.network, self.tower, "")
        validation = self._validated(model)
        best = bool(validation) and self._is_best(validation)
        if best:
            self.best_epoch = self.epoch
        seconds = time.monotonic() - started
        self.seconds += seconds
        share, active = (used.share, used.active) if used else (None, None)
        report = EpochReport(self.epoch, loss, seconds, share, active, quantized_R1, dense_R1, validation, best)
        self.history.append(report.to_dict())
        self._save(best)
        self.observer.epoch(report)

    def _validated(self, model: Model) -> dict[str, Any]:
        """Metrics of the validation videos, if there are any."""
        if not len(self.data.validation):
            return {}
        measured = evaluate(model, self.features, self.data.validation)
        return {**measured.quantized.to_dict(), "dense": measured.dense.to_dict()}

    def _is_best(self, validation: dict[str, Any]) -> bool:
        def figure(measured: dict[str, Any]) -> float:
            return float(measured["t2v"]["R1"] + measured["t2v"]["R10"] + measured["v2t"]["R1"])

        before = [figure(line["validation"]) for line in self.history]
        return not before or figure(validation) >= max(before)

    def _save(self, best: bool) -> None:
        def fill(folder: Path) -> None:
            checkpoint.save(folder, self.network, self.tower)

        def fill_all(folder: Path) -> None:
            fill(folder)
            write_state(self.optimizer, folder / resume.OPTIMIZER_FILE)

        if best:
            resume.keep_best(self.run, fill)
        progress = resume.Progress(self.epoch, self.fingerprint, self.history, self.best_epoch, self.seconds)
        resume.write(self.run, progress, fill_all)
        write_text(self.run / METRICS_FILE, "".join(json.dumps(line) + "\n" for line in self.history))

    def _tell_step(self, draw: BatchPlan, loss: float, started: float) -> None:
        done = draw.epoch * self.sampler.steps_per_epoch + draw.step + 1
        spent = self.seconds + time.monotonic() - started
        epoch, epochs = draw.epoch + 1, self.recipe.training.epochs
        left = spent / done * (self.steps - done)
        self.observer.step(StepReport(epoch, epochs, done, self.steps, loss, left))


def _set_scales(network: DualEncoder, found: dict[str, FeatureStatistics]) -> None:
    for name, scale in zip(network.video_encoder.names, network.video_encoder.scales, strict=True):
        if isinstance(scale, FeatureScale):
            scale.mean.copy_(torch.from_numpy(found[name].mean))
            scale.deviation.copy_(torch.from_numpy(found[name].deviation))
