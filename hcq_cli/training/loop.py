"""The training loop: encoders and quantizers forward and backward together, an epoch at a time.

A step reads a batch's features, embeds both sides, and hands them to the kind's `TrainingMethod`, whose loss is
minimised; after every epoch the codewords follow the embeddings, the validation videos are retrieved, and the state
to resume from is written. What is random in a step depends on the seed and the number of the step alone.
"""

from __future__ import annotations

import dataclasses
import json
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hcq_cli.datasets.batches import BatchPlan, BatchSampler, collate
from hcq_cli.datasets.features import cached_in_memory, feature_statistics
from hcq_cli.errors import HcqError
from hcq_cli.evaluation.retrieval import evaluate
from hcq_cli.model import checkpoint, registry, text
from hcq_cli.model.encoding import training_vectors
from hcq_cli.model.hcq import DualEncoder, TwoTowers
from hcq_cli.model.text import CaptionEncoder, text_tensors
from hcq_cli.model.trained_model import Model
from hcq_cli.model.video import FeatureScale, video_tensors
from hcq_cli.printable import counted
from hcq_cli.training import resume
from hcq_cli.training.codebooks import CodewordUsage, EmbeddingSample
from hcq_cli.training.config import Recipe
from hcq_cli.training.data import TrainingData
from hcq_cli.training.losses import BatchEmbeddings, Pairs
from hcq_cli.training.method import TrainingMethod
from hcq_cli.training.optimizer import (
    build_optimizer,
    learning_rate_factor,
    load_optimizer,
    save_optimizer,
    set_learning_rate,
)
from hcq_cli.training.progress import EpochReport, StepReport, TrainingObserver
from hcq_cli.writer_lock import writer_lock


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
    observer: TrainingObserver | None = None,
    must_resume: bool = False,
    device: str = "cpu",
    about: dict[str, Any] | None = None,
) -> TrainingResult:
    """Train, and leave a checkpoint in `run`; goes on where an interrupted run of the same kind stopped.

    Args:
        data: what to learn from.
        recipe: how.
        run: the checkpoint folder. What it holds stays the checkpoint until the run is finished.
        observer: is told how it goes.
        must_resume: fail if there is nothing to go on from.
        device: where to compute.
        about: more to write into config.json beside the weights (where the captions lie…).

    Raises:
        NotFoundError: `must_resume`, and nothing is there.
        HcqError: `must_resume`, and the data or the recipe have changed; or the training has diverged.
        DamagedError: what lies in `run` is another program's, or the state to go on from is damaged.
        LockedError: another run writes there.
    """
    if not len(data.train):
        raise HcqError("no captioned video to train on", "hcq captions check FILE")
    checkpoint.need_own(run)
    with writer_lock(run):
        checkpoint.settle(run)
        resume.tidy(run)
        trainer = Trainer(data, recipe, run, observer or TrainingObserver(), device)
        for warning in data.warnings:
            trainer.observer.warning(warning)
        trainer.start(must_resume)
        while trainer.epoch < recipe.training.epochs:
            trainer.run_epoch()
        return trainer.finish(run, about or {})


class Trainer:
    """One run; `train` says what the arguments are. Without a folder it leaves nothing behind."""

    def __init__(
        self, data: TrainingData, recipe: Recipe, run: Path | None, observer: TrainingObserver, device: str
    ) -> None:
        self.data, self.run, self.observer, self.device = data, run, observer, torch.device(device)
        self.recipe = dataclasses.replace(recipe, model=recipe.model.with_experts(data.experts))
        self.config, self.seed = self.recipe.model.check(), recipe.training.seed
        self.epoch, self.seconds, self.best_epoch = 0, 0.0, 0
        self.history: list[dict[str, Any]] = []
        # An epoch goes through the videos once, or several times where they are few, or as the recipe says.
        training, counts = recipe.training, [len(captions) for captions in data.train.captions]
        batch = min(training.batch_size, len(counts))
        batches = -(-len(counts) // batch)
        rounds = max(-(-training.min_steps // (training.epochs * batches)), 1)
        samples = training.samples_per_epoch or rounds * batches * batch
        self.sampler = BatchSampler(counts, batch, self.seed, training.captions_per_video, samples)
        self.steps = self.sampler.steps_per_epoch * training.epochs
        self.caption_encoder: CaptionEncoder
        self.network: DualEncoder
        self.method: TrainingMethod[Any]
        self.optimizer: torch.optim.AdamW

    # -- beginning and ending ---------------------------------------------------------------------------------

    def start(self, must_resume: bool) -> None:
        """Build the model, or read the state of an interrupted run."""
        names = list(self.data.experts)
        self.features = cached_in_memory(self.data.features, self.data.rows, names, self.recipe.training.cache_mb)
        found = resume.latest_state(self.run, must_resume) if self.run else None
        if found is not None and found[1].fingerprint != self.fingerprint:
            if must_resume:
                raise HcqError(
                    f"{self.run}: the interrupted training had another recipe or other data",
                    "give the same recipe, settings, captions and features, or leave --resume out to start anew",
                )
            self.observer.note("the interrupted training had another recipe or other data: a new one starts")
            found = None
        if found is None:
            if self.run:
                resume.clear(self.run)
            self._build()
        else:
            self._load(*found)
        # Tokenised once, not anew in every epoch.
        self.token_ids = [
            [self.caption_encoder.tokenizer.cut(caption) for caption in captions]
            for captions in self.data.train.captions
        ]

    @cached_property
    def fingerprint(self) -> str:
        """See `TrainingData.fingerprint`; kept, since every epoch writes it and it goes through all captions."""
        return self.data.fingerprint(self.recipe)

    def _build(self) -> None:
        """A new model, its weights from the seed or from the model that training starts from."""
        torch.manual_seed(self.seed)
        if self.data.init:
            started_from = checkpoint.load(self.data.init.place)
            self.network, self.caption_encoder = started_from.network, started_from.caption_encoder
        else:
            self.caption_encoder = text.build(self.config.text, self.data.train.sentences)
            self.network = registry.network_class(self.config.kind)(self.config, self.caption_encoder.transformer)
            if self.config.video.standardize:
                self._set_feature_scales()
        self.method = registry.training_method(self.config.kind)(self.network, self.recipe)
        # Distinct ones: k-means cannot make more codewords than there are different vectors.
        vectors = len(np.unique(self.data.train.groups)) + len(set(self.data.train.sentences))
        for warning in self.method.on_train_start(vectors):
            self.observer.warning(warning)
        tokenizer = self.caption_encoder.tokenizer
        long = sum(tokenizer.length(caption) > tokenizer.max_tokens for caption in self.data.train.sentences)
        if long:
            self.observer.warning(
                f"longer than {tokenizer.max_tokens} tokens: {counted(long, 'caption')}; what comes after is not read"
            )
        if self.data.explanation:
            self.observer.note(self.data.explanation)
        # The optimizer after the move: a fused Adam wants its parameters where they will stay.
        self.network.to(self.device)
        self.optimizer = build_optimizer(self.network, self.recipe)

    def _set_feature_scales(self) -> None:
        """Statistics of the training videos' features, into the network."""
        widths = {name: expert.dim for name, expert in self.data.experts.items()}
        found = feature_statistics(self.features, self.data.train.rows, widths)
        assert isinstance(self.network, TwoTowers)  # what is trained has towers
        encoder = self.network.video_encoder
        for name, scale in zip(encoder.names, encoder.scales, strict=True):
            if isinstance(scale, FeatureScale):
                scale.mean.copy_(torch.from_numpy(found[name].mean))
                scale.deviation.copy_(torch.from_numpy(found[name].deviation))

    def _load(self, folder: Path, state: resume.ResumeState) -> None:
        """The model and the optimizer of an interrupted run, and how far it had come."""
        model = checkpoint.load(folder, str(self.device))
        self.network, self.caption_encoder = model.network, model.caption_encoder
        self.method = registry.training_method(self.config.kind)(self.network, self.recipe)
        self.optimizer = build_optimizer(self.network, self.recipe)
        load_optimizer(self.optimizer, folder / resume.OPTIMIZER_FILE)
        self.epoch, self.history = state.epoch, state.history
        self.best_epoch, self.seconds = state.best_epoch, state.seconds
        self.observer.note(f"going on after epoch {self.epoch} of {self.recipe.training.epochs}")

    def fitted(self) -> tuple[Model, dict[str, Any]]:
        """The model of the epoch to keep, its codewords fitted once more, and that epoch's figures."""
        kept = self.history[self.best_epoch - 1 if self.best_epoch else -1]
        model = Model(self.network, self.caption_encoder, "")
        if self.run and self.best_epoch and self.best_epoch != self.epoch:
            model = checkpoint.load(resume.best_folder(self.run, self.best_epoch), str(self.device))
        method = registry.training_method(self.config.kind)(model.network, self.recipe)
        used = method.on_train_end(lambda limit: training_vectors(model, self.features, self.data.train, limit))
        if used is not None:  # other codewords than were measured after that epoch
            kept = {**kept, "used_codewords": used.share, "validation": self._validate(model)}
        return model, kept

    def finish(self, run: Path, about: dict[str, Any]) -> TrainingResult:
        """Write the checkpoint, and forget the unfinished state."""
        model, kept = self.fitted()
        if self.data.init and len(self.data.validation):
            model, kept, decided = self._better(checkpoint.load(self.data.init.place, str(self.device)), model, kept)
            about = {**about, "adapted": decided}
        about = {**about, "recipe": self.recipe.to_dict(), "epoch": kept["epoch"], "metrics": kept}
        about |= {"fingerprint": self.fingerprint, "epochs": self.epoch, "seconds": self.seconds}
        lines = "".join(json.dumps(line) + "\n" for line in self.history)
        checkpoint.save(run, model.network, model.caption_encoder, about, metrics=lines)
        # Last: a run killed before this line goes on from its state and ends in the same checkpoint.
        resume.clear(run)
        return TrainingResult(run, self.epoch, self.seconds, kept)

    def _better(
        self, before: Model, after: Model, kept: dict[str, Any]
    ) -> tuple[Model, dict[str, Any], dict[str, Any]]:
        """Of the model that training started from and what it has become the one that validation prefers.

        Returns:
            The model, its figures, and the decision as `hcq train --json` has it.
        """
        validation, learned = self._validate(before), kept["validation"]  # of what it has become that is known
        better = _figure(learned) >= _figure(validation)
        decided = {"kept": better, "before": validation["t2v"], "after": learned["t2v"]}
        decided["validated_on"] = f"{len(self.data.validation)} validation videos"
        if better:
            return after, kept, decided
        return before, {**kept, "epoch": 0, "validation": validation}, decided

    # -- an epoch ---------------------------------------------------------------------------------------------

    def run_epoch(self) -> None:
        """All steps of the next epoch, then codebooks, validation and the state to resume from."""
        started = time.monotonic()
        self.network.train()
        sample = self.empty_sample(self.recipe.codebook.sample)
        sums = torch.zeros(3)
        for plan in self.sampler.epoch(self.epoch):
            found = self.step(plan, sample)
            self._need_finite(found, plan.epoch + 1)
            sums += found
            self._report_step(plan, float(found[0]), started)
        # The last step may have spoiled the weights, and only a step after it would tell by its loss.
        for parameter in self.network.parameters():
            self._need_finite(parameter, self.epoch + 1)
        self.epoch += 1
        used = self.method.on_epoch_end(sample.get(), self.epoch)
        self._close_epoch(sums / self.sampler.steps_per_epoch, used, started)

    def _need_finite(self, values: torch.Tensor, epoch: int) -> None:
        """Stop a training that has diverged: from a number that is none, no step leads back.

        Raises:
            HcqError: some value is infinite or not a number.
        """
        if not torch.isfinite(values).all():
            kept = self.run is not None and (self.run / checkpoint.CONFIG_FILE).is_file()
            place = f"{self.run}: " if self.run else ""
            raise HcqError(
                f"{place}the training has diverged: in epoch {epoch} the loss or a weight is no finite number; "
                f"no checkpoint was written{' (the one before it is kept)' if kept else ''}",
                f"take smaller steps: --set training.optimizer_lr={self.recipe.training.optimizer_lr / 10:g}",
            )

    def empty_sample(self, size: int) -> EmbeddingSample:
        """Room for `size` vectors [L+1, D] of this model."""
        return EmbeddingSample(size, (self.config.levels + 1, self.config.embedding_width))

    def step(self, plan: BatchPlan, sample: EmbeddingSample) -> torch.Tensor:
        """Learn from one batch; its loss, and R@1 inside it by dense and by quantized vectors."""
        step = plan.epoch * self.sampler.steps_per_epoch + plan.step
        # Dropout, too, is a function of seed and step, so that a resumed run drops what the whole one dropped.
        torch.manual_seed(int(np.random.SeedSequence((self.seed, 3, step)).generate_state(1)[0]))
        factor = learning_rate_factor(self.recipe.training, step, self.steps, plan.epoch)
        set_learning_rate(self.optimizer, factor)
        self.optimizer.zero_grad(set_to_none=True)
        totals = torch.zeros(3, device=self.device)
        for part in plan.micro_batches(self.recipe.training.accumulate):
            result = self.method.training_step(*self.embed_batch(part, sample), plan.epoch)
            share = len(part.videos) / len(plan.videos)
            (share * result.loss).backward()
            # Stays on the device: a number fetched for each micro-batch would make the GPU wait each time.
            totals += share * torch.stack([result.loss.detach(), result.dense_R1, result.quantized_R1])
        if self.recipe.training.clip_norm > 0:
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.training.clip_norm)
        self.optimizer.step()
        return totals.cpu()

    def embed_batch(self, plan: BatchPlan, sample: EmbeddingSample) -> tuple[BatchEmbeddings, Pairs]:
        """Embed B videos and their B·C captions, and keep the vectors in `sample`."""
        split = self.data.train
        tokens = self.features.read(split.rows[plan.videos], list(self.data.experts))
        batch = collate(tokens, self.config.video.max_tokens, plan.rng())
        with self._precision():
            videos = self.network.embed_videos(video_tensors(batch, self.config, self.device)).float()
        owner = np.repeat(np.arange(len(plan.videos)), plan.captions.shape[1])
        chosen = zip(plan.videos[owner].tolist(), plan.captions.ravel().tolist(), strict=True)
        words = self.caption_encoder.tokenizer.pad([self.token_ids[video][caption] for video, caption in chosen])
        with self._precision():
            texts = self.network.embed_texts(*text_tensors(words, self.device)).float()
        sample.add(texts)
        sample.add(videos)
        groups = split.groups[plan.videos]
        pairs = Pairs(torch.from_numpy(owner).to(self.device), torch.from_numpy(groups).to(self.device))
        return BatchEmbeddings(texts, videos), pairs

    def _precision(self) -> torch.autocast:
        """bfloat16 for the towers alone; it has float32's range, so no loss needs to be scaled."""
        amp = self.recipe.training.amp
        on = amp == "on" or (amp == "auto" and self.device.type == "cuda")
        return torch.autocast(self.device.type, torch.bfloat16, enabled=on)

    def _close_epoch(self, means: torch.Tensor, used: CodewordUsage | None, started: float) -> None:
        """Validate, write the state, and tell of the epoch.

        Args:
            means: over the epoch's steps, of loss, dense and quantized R@1 inside the batch.
            used: codewords, if the kind has any.
            started: when the epoch began, by the monotonic clock.
        """
        loss, dense_R1, quantized_R1 = means.tolist()
        validation = self._validate(Model(self.network, self.caption_encoder, ""))
        # Of equals the latest is kept, which has learned for longest.
        before = [_figure(line["validation"]) for line in self.history if validation]
        best = bool(validation) and (not before or _figure(validation) >= max(before))
        if best:
            self.best_epoch = self.epoch
        seconds = time.monotonic() - started
        self.seconds += seconds
        report = EpochReport(
            epoch=self.epoch,
            loss=loss,
            seconds=seconds,
            used_codewords=used.share if used else None,
            active_codewords=used.active if used else None,
            batch_R1=quantized_R1,
            batch_dense_R1=dense_R1,
            validation=validation,
            best=best,
        )
        self.history.append(report.to_dict())
        if self.run:
            self._save(self.run)
        self.observer.on_epoch_end(report)

    def _validate(self, model: Model) -> dict[str, Any]:
        """Metrics of the validation videos, if there are any."""
        if not len(self.data.validation):
            return {}
        measured = evaluate(model, self.features, self.data.validation)
        return {**measured.quantized.to_dict(), "dense": measured.dense.to_dict()}

    def _save(self, run: Path) -> None:
        state = resume.ResumeState(
            epoch=self.epoch,
            fingerprint=self.fingerprint,
            history=self.history,
            best_epoch=self.best_epoch,
            seconds=self.seconds,
        )
        resume.save_state(
            run,
            state,
            write_model=lambda folder: checkpoint.write(folder, self.network, self.caption_encoder),
            write_optimizer=lambda path: save_optimizer(self.optimizer, path),
        )

    def _report_step(self, plan: BatchPlan, loss: float, started: float) -> None:
        done = plan.epoch * self.sampler.steps_per_epoch + plan.step + 1
        spent = self.seconds + time.monotonic() - started
        report = StepReport(
            epoch=plan.epoch + 1,
            epochs=self.recipe.training.epochs,
            step=done,
            steps=self.steps,
            loss=loss,
            seconds_left=spent / done * (self.steps - done),
        )
        self.observer.on_step_end(report)


def _figure(validation: dict[str, Any]) -> float:
    """By which models are compared."""
    # Not R@1 alone: of a few hundred validation videos it moves by chance as much as by learning.
    return float(validation["t2v"]["R1"] + validation["t2v"]["R10"] + validation["v2t"]["R1"])
