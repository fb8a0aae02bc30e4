"""The recipes of the paper's data sets: the published settings; built at full size without memory; run small."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from hcq_cli.datasets.features import MemoryFeatures
from hcq_cli.datasets.splits import Split
from hcq_cli.errors import UsageError
from hcq_cli.features.records import Ragged
from hcq_cli.model import registry
from hcq_cli.model.config import ExpertConfig, ModelConfig
from hcq_cli.model.hcq import DualEncoder
from hcq_cli.model.text import TextTransformer
from hcq_cli.training.data import TrainingData
from hcq_cli.training.loop import train
from hcq_cli.training.recipe import load, sweep, variants

PAPER = ["msrvtt-1ka", "msrvtt-1kb", "msrvtt-full", "lsmdc", "activitynet"]
WIDTHS = {"s3d": 1024, "vggish": 128, "face": 512, "rgb": 2048, "scene": 2208, "speech": 300, "ocr": 300}


def experts(recipe: str) -> dict[str, ExpertConfig]:
    """What each data set has, as the paper's settings say."""
    if recipe == "activitynet":
        return {name: ExpertConfig(WIDTHS[name]) for name in ("s3d", "vggish")}
    widths = {**WIDTHS, "face": 128 if recipe == "lsmdc" else 512}
    return {name: ExpertConfig(dim) for name, dim in widths.items()}


@cache
def full_size(encoder: str) -> TextTransformer:
    """A text encoder of the published shape, with no numbers in it."""
    from transformers import MODEL_MAPPING, AutoConfig

    large = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
    shapes = {
        "bert-base-cased": ("bert", {"vocab_size": 28996}),
        "bert-large-cased": ("bert", dict(vocab_size=28996, **large)),
        "distilbert-base-cased": ("distilbert", {"vocab_size": 28996}),
        "roberta-base": ("roberta", {"vocab_size": 50265, "max_position_embeddings": 514}),
        "roberta-large": ("roberta", dict(vocab_size=50265, max_position_embeddings=514, **large)),
        "xlnet-base-cased": ("xlnet", {"d_model": 768, "n_layer": 12, "n_head": 12, "d_inner": 3072}),
        "xlnet-large-cased": ("xlnet", {"d_model": 1024, "n_layer": 24, "n_head": 16, "d_inner": 4096}),
    }
    kind, shape = shapes[encoder]
    config = AutoConfig.for_model(kind, **shape)
    network_class = MODEL_MAPPING[type(config)]  # imports its module, which must not see the patch
    # XLNet asks for its memory by a name that no device can change.
    with torch.device("meta"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "FloatTensor", torch.empty)
        network = network_class(config)
    if getattr(network, "pooler", None) is not None:
        network.pooler = None
    return TextTransformer(network, 0)


def model_of(name: str, settings: list[str]) -> tuple[DualEncoder, ModelConfig]:
    import dataclasses

    config = dataclasses.replace(load(name, settings).model, experts=experts(name)).check()
    with torch.device("meta"):
        return registry.network_class(config.kind)(config, full_size(config.text.encoder)), config


@pytest.mark.parametrize("name", PAPER)
def test_settings_are_those_of_the_paper(name: str) -> None:
    recipe = load(name)
    model, training = recipe.model, recipe.training
    activitynet = name == "activitynet"
    assert (model.levels, model.quantizer.codebooks, model.quantizer.codewords) == (7, 32, 256)
    assert model.bytes_per_video == 256 and model.quantizer.alpha == 1
    assert (model.width, model.video.layers, model.video.heads, model.video.ffn) == (512, 4, 4, 3072)
    assert (training.epochs, training.samples_per_epoch) == (50, 32_000)
    assert training.batch_size == (32 if activitynet else 128)
    assert (model.text.max_tokens, model.video.max_tokens) == ((100, 100) if activitynet else (30, 30))
    assert recipe.loss.temperature == (0.07 if activitynet else 0.05)
    assert training.optimizer_lr == training.text_lr == 5e-5
    assert training.schedule == "exponential"
    assert math.isclose(training.decay, math.sqrt(0.85) if activitynet else 0.95, rel_tol=1e-5)


def test_the_sweeps_are_the_papers_runs_without_a_file_each() -> None:
    assert [len(variants(name)) for name in PAPER] == [22, 16, 16, 16, 15]
    assert sweep("lsmdc")["model.levels"] == [1, 3, 7, 15, 31]
    assert sweep("lsmdc")["quantizer.codebooks"] == [8, 16, 32, 64]
    assert sweep("activitynet")["training.batch_size"] == [16, 32, 64, 128]
    assert len(sweep("msrvtt-1ka")["text.encoder"]) == 7 and "text.encoder" not in sweep("msrvtt-1kb")
    assert sweep("default") == {} and variants("default") == []
    assert "loss.temperature=0.05" in variants("activitynet") and "loss.temperature=0.05" not in variants("lsmdc")


@pytest.mark.parametrize("name", PAPER)
def test_every_run_is_built_at_full_size(name: str) -> None:
    for settings in [[], *([variant] for variant in variants(name))]:
        network, config = model_of(name, settings)
        assert all(parameter.is_meta for parameter in network.parameters())
        words = network.quantizer.codewords
        shape = ((config.levels + 1) * config.quantizer.codebooks, 256, 512 // config.quantizer.codebooks)
        assert words.numel() == math.prod(shape)
        assert network.text_tokens.weight.shape == (512, 1024 if "large" in config.text.encoder else 768)
        assert len(network.video_encoder.projections) == (2 if name == "activitynet" else 7)
        own = sum(p.numel() for n, p in network.named_parameters() if not n.startswith("text_encoder."))
        assert 15e6 < own < 60e6


@pytest.mark.parametrize("kind", ["hct", "jpq", "dcmh"])
@pytest.mark.parametrize("name", PAPER)
def test_the_baselines_of_every_run_are_built_at_full_size(name: str, kind: str) -> None:
    refused = []
    for settings in [[], *([variant] for variant in variants(name) if "text.encoder" not in variant)]:
        size = load(name, settings).model.code_bytes
        try:
            network, config = model_of(name, [*settings, f"model.kind={kind}"])
        except UsageError:
            refused.append(size)
            continue
        assert all(parameter.is_meta for parameter in network.parameters())
        assert config.code_bytes == size and config.kind == kind
        shapes = {part: parameter.shape for part, parameter in network.named_parameters()}
        if kind == "jpq":
            assert shapes["quantizer.codewords"] == (1, size, 256, 512 // size)
        elif kind == "dcmh":
            assert shapes["video_bits.weight"] == (8 * size, 512)
        else:
            assert not any(part.startswith("quantizer") for part in shapes)
            assert config.bytes_per_video == 4 * 512 * (config.levels + 1)
    # A product quantizer has no more sub-codebooks than dimensions.
    assert refused == ([1024] if kind == "jpq" else [])


def test_a_sweep_that_is_no_sweep_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('inherit = "msrvtt-1ka"\n[sweep]\n"model.levels" = 7\n')
    with pytest.raises(UsageError, match=r"model\.levels must be a list"):
        sweep(str(path))
    path.write_text('inherit = "msrvtt-1ka"\n[sweep]\n"model.levles" = [7]\n')
    with pytest.raises(UsageError, match="levles"):
        variants(str(path))


# Two steps, shrunk

TINY = [
    "model.width=16",
    "video.ffn=32",
    "quantizer.codewords=8",
    "training.samples_per_epoch=0",
    "training.epochs=2",
]
KINDS = {
    "bert": {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32},
    "distilbert": {"dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 32},
    "roberta": {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32},
    "xlnet": {"d_model": 16, "n_layer": 1, "n_head": 2, "d_inner": 32},
}
SENTENCES = ["a man cooks", "two dogs run over a hill", "rain", "somebody plays the piano in a hall"]


def tiny_encoder(folder: Path, kind: str) -> Path:
    """A random text encoder of one of the four families, with a tokenizer that puts [CLS] where it does."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

    entries = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *sorted({w for s in SENTENCES for w in s.split()})]
    words = Tokenizer(models.WordLevel({entry: at for at, entry in enumerate(entries)}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    order = "$A [SEP] [CLS]" if kind == "xlnet" else "[CLS] $A [SEP]"
    words.post_processor = processors.TemplateProcessing(single=order, special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", unk_token="[UNK]"
    )
    fast.save_pretrained(folder)
    shape = AutoConfig.for_model(kind, vocab_size=len(entries), pad_token_id=0, **KINDS[kind])
    torch.manual_seed(0)
    AutoModel.from_config(shape).save_pretrained(folder, safe_serialization=True)
    return folder


def small_data(name: str, videos: int = 4) -> TrainingData:
    rng = np.random.default_rng(0)
    tokens = {}
    for expert, config in experts(name).items():
        counts = rng.integers(0, 4, videos)
        counts[0] = 2
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        features = rng.normal(size=(offsets[-1], config.dim)).astype(np.float32)
        tokens[expert] = Ragged(features, np.arange(offsets[-1], dtype=np.float32), offsets)
    rows = np.arange(videos)
    part = Split(rows, [[SENTENCES[at % 4]] for at in range(videos)], rows)
    nothing = Split(rows[:0], [], rows[:0])
    return TrainingData(MemoryFeatures(tokens, rows), experts(name), part, nothing)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("msrvtt-1ka", "roberta"),
        ("msrvtt-1ka", "xlnet"),
        ("msrvtt-1kb", "distilbert"),
        ("msrvtt-full", "bert"),
        ("lsmdc", "bert"),
        ("activitynet", "bert"),
    ],
)
def test_two_steps_at_shrunk_widths(name: str, kind: str, tmp_path: Path) -> None:
    encoder = tiny_encoder(tmp_path / "encoder", kind)
    settings = [*TINY, f"quantizer.codebooks={load(name).model.quantizer.codebooks // 8}", f"text.encoder={encoder}"]
    recipe = load(name, settings)
    done = train(small_data(name), recipe, tmp_path / "run")
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert done.epochs == len(lines) == 2  # an epoch of one step: the first dense, the second quantized
    assert math.isfinite(done.metrics["loss"])
    assert (tmp_path / "run" / "model.safetensors").stat().st_size > 0


@pytest.mark.parametrize("kind", ["hct", "jpq", "dcmh"])
@pytest.mark.parametrize("name", ["lsmdc", "activitynet"])
def test_two_steps_of_the_baselines(name: str, kind: str, tmp_path: Path) -> None:
    encoder = tiny_encoder(tmp_path / "encoder", "bert")
    small = [*TINY, "model.levels=3", "quantizer.codebooks=4", f"text.encoder={encoder}", f"model.kind={kind}"]
    done = train(small_data(name), load(name, small), tmp_path / "run")
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert done.epochs == len(lines) == 2  # an epoch is one step: by contrast first, then the baseline's own
    assert math.isfinite(done.metrics["loss"])
