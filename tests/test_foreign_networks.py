"""A stranger's folder with a network: nothing in it runs or is asked about, and it takes no more room than it has.

Each way to load a network is given a folder whose files ask for custom code, with a module beside them that leaves
a mark when it is imported, and somebody at the terminal who says yes to everything.
"""

from __future__ import annotations

import builtins
import json
import os
import resource
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_networks

from experts.neural.foreign import check_names
from experts.neural.weight_sizes import ForeignFileError, WeightSizes
from experts.neural.weights import RefusedError
from experts.registry import load
from hcq_cli.errors import DamagedError
from hcq_cli.files import digest_json
from hcq_cli.model import checkpoint, text
from hcq_cli.model.config import ExpertConfig, ModelConfig, QuantizerConfig, TextConfig

CANARY = """
import os
open(os.environ["HCQ_CANARY"], "w").close()
from transformers import BertConfig as Config, BertModel as Network, BertTokenizerFast as Words
from transformers import BitImageProcessor as Eye, ASTFeatureExtractor as Ear, WhisperProcessor as Processor
"""
ASKS = {
    "AutoConfig": "canary.Config",
    "AutoModel": "canary.Network",
    "AutoModelForSpeechSeq2Seq": "canary.Network",
    "AutoTokenizer": ["canary.Words", "canary.Words"],
    "AutoImageProcessor": "canary.Eye",
    "AutoFeatureExtractor": "canary.Ear",
    "AutoProcessor": "canary.Processor",
}
OWN_CLASSES = ("tokenizer_class", "image_processor_type", "feature_extractor_type", "processor_class")


@pytest.fixture(scope="session")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    root = tmp_path_factory.mktemp("networks")
    return lambda kind: tiny_networks.save(kind, root)


@pytest.fixture
def mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that the canary would write."""
    monkeypatch.setenv("HCQ_CANARY", str(tmp_path / "it ran"))
    return tmp_path / "it ran"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was asked on the terminal; the answer is yes."""
    questions: list[str] = []

    def answer(question: str = "") -> str:
        questions.append(question)
        return "y"

    monkeypatch.setattr(builtins, "input", answer)
    return questions


def change(path: Path, **settings: Any) -> None:
    document = json.loads(path.read_text("utf-8")) if path.exists() else {}
    path.write_text(json.dumps(document | settings), "utf-8")


def plant(folder: Path, file: str) -> Path:
    """Make a file of the folder ask for the canary, in the place of the class that transformers has for it."""
    path = folder / file
    document = json.loads(path.read_text("utf-8")) if path.exists() else {}
    document = {key: value for key, value in document.items() if key not in OWN_CLASSES} | {"auto_map": ASKS}
    if file == "config.json":
        document["model_type"] = "strange"
    path.write_text(json.dumps(document), "utf-8")
    (folder / "canary.py").write_text(CANARY, "utf-8")
    return folder


def import_shape(folder: Path) -> None:
    from hcq_cli.importers.official.importing import untrained_caption_encoder

    untrained_caption_encoder(str(folder), 8, WeightSizes(10**4, 10**9, 10**6))


def prepare(ask: str) -> None:
    load([ask])[0].prepare("cpu")


LOADERS: dict[str, tuple[str, Callable[[Path, Path], Any]]] = {
    "train": ("bert", lambda folder, _: text.build(TextConfig(encoder=str(folder)), [])),
    "import": ("bert", lambda folder, _: import_shape(folder)),
    "appearance": ("dinov2", lambda folder, _: prepare(f"appearance={folder}")),
    "motion": ("videomae", lambda folder, _: prepare(f"motion={folder}")),
    "audio": ("ast", lambda folder, _: prepare(f"audio={folder}")),
    "face": ("dinov2", lambda folder, _: prepare(f"face={folder}")),
    "speech": ("speech", lambda folder, words: prepare(f"speech={folder}+{words}")),
    "sentences": ("bert", lambda folder, words: prepare(f"speech={words.parent / 'speech'}+{folder}")),
}
"""Every way to load a network: which it takes, and how it is called with a folder."""
PLANTED = [
    *((way, "config.json") for way in LOADERS),
    *((way, "tokenizer_config.json") for way in ("train", "import", "speech", "sentences")),
    *((way, "preprocessor_config.json") for way in ("appearance", "audio", "speech")),
    *((way, "processor_config.json") for way in ("appearance", "audio", "speech")),
]


@pytest.mark.parametrize(("way", "file"), PLANTED)
def test_custom_code_is_refused_and_nobody_is_asked(
    networks: Callable[[str], Path], tmp_path: Path, mark: Path, asked: list[str], way: str, file: str
) -> None:
    kind, loads = LOADERS[way]
    networks("speech")
    folder = plant(shutil.copytree(networks(kind), tmp_path / "net"), file)
    with pytest.raises((DamagedError, RefusedError), match="auto_map") as caught:
        loads(folder, networks("bert"))
    assert file in str(caught.value) and "choose a network" in caught.value.hint
    assert not mark.exists() and not asked


@pytest.mark.parametrize(
    "settings",
    [
        {"_attn_implementation": "kernels-community/flash-attn3"},
        {"attn_implementation": {"text_config": "someone/kernel:attention"}},
        {"_attn_implementation_internal": "flash_attention_2"},
        {"experts_implementation": "someone/kernel"},
        {"quantization_config": {"quant_method": "awq"}},
        {"text_config": {"auto_map": ASKS}},
        {"layers": [{"quantization_config": {"quant_method": "gptq"}}]},
        {"dtype": "hub"},
        {"torch_dtype": ["float32"]},
        {"configuration_files": ["config.4.0.0.json"]},
        {"transformers_weights": "../../other.safetensors"},
        {"backbone": "microsoft/resnet-50", "use_pretrained_backbone": True},
        {"use_timm_backbone": True},
        {"kernel_config": {"a": "b"}},
        {"fusion_config": {"a": "b"}},
        {"class_info_file": "a.json", "repo_path": "some/repository"},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_settings_that_name_code_kernels_or_files_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ForeignFileError, match=r"config\.json"):
        check_names(settings, "config.json")


def test_what_savers_of_all_ages_write_is_taken() -> None:
    settings = {
        "_name_or_path": "some/net", "auto_map": None, "quantization_config": None, "torch_dtype": "float16",
        "dtype": "torch.bfloat16", "_attn_implementation": "sdpa", "_attn_implementation_autoset": True,
        "attn_implementation": None, "backbone": None, "use_timm_backbone": False, "tie_word_embeddings": True,
    }  # fmt: skip
    check_names(settings, "config.json")


def nested(depth: int) -> dict[str, Any]:
    return {"a": nested(depth - 1)} if depth else {}


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small checkpoint."""
    from hcq_cli.model.hcq import HCQ

    config = ModelConfig(
        width=32,
        levels=3,
        text=TextConfig(layers=1, heads=2, width=16, ffn=32),
        quantizer=QuantizerConfig(codebooks=4, codewords=16),
        experts={"appearance": ExpertConfig(6)},
    )
    caption_encoder = text.build(config.text, ["a red dog runs"])
    folder = tmp_path_factory.mktemp("trained")
    checkpoint.save(folder, HCQ(config, caption_encoder.transformer), caption_encoder)
    return folder


def forge(trained: Path, folder: Path, model: dict[str, Any] | None = None, **encoder: Any) -> Path:
    """A copy with other settings, and digests and a hash that fit: what a stranger would send."""
    shutil.copytree(trained, folder)
    change(folder / text.ENCODER_FILE, **encoder)
    document = json.loads((folder / "config.json").read_text("utf-8"))
    for key, value in (model or {}).items():
        table, _, name = key.rpartition(".")
        (document["model"][table] if table else document["model"])[name] = value
    document["files"] = {name: checkpoint.digest_file(folder / name) for name in document["files"]}
    document["hash"] = checkpoint._hash(document["model"], document["files"])
    document["checksum"] = digest_json({key: value for key, value in document.items() if key != "checksum"})
    (folder / "config.json").write_text(json.dumps(document), "utf-8")
    return folder


@pytest.mark.parametrize(
    "encoder",
    [
        {"auto_map": ASKS},
        {"auto_map": ASKS, "model_type": "strange"},
        {"_attn_implementation": "kernels-community/flash-attn3"},
        {"quantization_config": {"quant_method": "bitsandbytes"}},
        {"model_type": "timm_wrapper"},
        {"model_type": "rag"},
        {"deep": nested(60)},
    ],
    ids=["auto_map", "strange", "kernel", "quantizer", "timm", "rag", "deep"],
)
def test_a_forged_checkpoint_is_refused(
    trained: Path, tmp_path: Path, mark: Path, asked: list[str], encoder: dict[str, Any]
) -> None:
    assert checkpoint.load(forge(trained, tmp_path / "same")).encode_texts(["a dog"]).shape == (1, 4, 32)
    folder = forge(trained, tmp_path / "forged", **encoder)
    (folder / "canary.py").write_text(CANARY, "utf-8")
    with pytest.raises(DamagedError, match=r"text_encoder\.json"):
        checkpoint.load(folder)
    assert not mark.exists() and not asked


@pytest.mark.long
def test_a_vocabulary_of_absurd_size_is_not_read(trained: Path, networks: Any, tmp_path: Path) -> None:
    forged = shutil.copytree(trained, tmp_path / "forged")
    folder = shutil.copytree(networks("bert"), tmp_path / "net")
    for place in (forged, folder):
        os.truncate(place / "tokenizer.json", 1 << 30)  # a hole: it takes no room on the disk
    forge(forged, tmp_path / "sent")
    with pytest.raises(DamagedError, match=r"tokenizer\.json: 1,073,741,824 bytes"):
        checkpoint.load(tmp_path / "sent")
    with pytest.raises(DamagedError, match=r"tokenizer\.json: 1,073,741,824 bytes"):
        text.build(TextConfig(encoder=str(folder)), [])


@pytest.mark.parametrize(
    ("way", "settings"),
    [
        ("appearance", {"crop_size": {"height": 1_000_000, "width": 1_000_000}}),
        ("appearance", {"size": {"shortest_edge": 100_000}}),
        ("motion", {"size": 1_000_000}),
        ("audio", {"num_mel_bins": 10_000_000}),
        ("audio", {"max_length": 100_000_000}),
        ("speech", {"chunk_length": 100_000}),
        ("speech", {"n_fft": 1_000_000}),
    ],
)
def test_pictures_and_sounds_of_absurd_size_are_not_prepared(
    networks: Callable[[str], Path], tmp_path: Path, way: str, settings: dict[str, Any]
) -> None:
    kind, loads = LOADERS[way]
    folder = shutil.copytree(networks(kind), tmp_path / "net")
    change(folder / "preprocessor_config.json", **settings)
    with pytest.raises(RefusedError, match=next(iter(settings))):
        loads(folder, networks("bert"))


@pytest.mark.parametrize(
    "model",
    [
        {"video.layers": 100_000},
        {"text.max_tokens": 1 << 20},
        {"video.max_tokens": 1 << 20},
        {"levels": 10**9},
        {"text.vocabulary": 10**9},
        {"experts": {"appearance": {"dim": 10**9, "identity": ""}}},
        {"experts": {"appearance": None}},
        {"experts": [1]},
        {"video": 7},
    ],
    ids=str,
)
def test_a_checkpoint_with_settings_that_no_model_has_is_damaged(
    trained: Path, tmp_path: Path, model: dict[str, Any]
) -> None:
    with pytest.raises(DamagedError, match=r"config\.json: describes no model"):
        checkpoint.load(forge(trained, tmp_path / "forged", model))


GREEDY = [
    ("checkpoint", {"num_hidden_layers": 100_000}),
    ("checkpoint", {"hidden_size": 1_000_000, "num_attention_heads": 1}),
    ("checkpoint", {"intermediate_size": 100_000_000}),
    ("checkpoint", {"vocab_size": 10_000_000}),
    ("checkpoint", {"max_position_embeddings": 16_000_000}),
    ("model", {"video.layers": 1000}),
    ("model", {"video.layers": 100_000}),
    ("model", {"video.ffn": 1 << 20, "width": 1 << 16}),
    ("model", {"levels": 4096, "width": 1 << 12}),
    ("model", {"quantizer.codebooks": 1 << 16, "width": 1 << 16}),
    ("model", {"experts": {"appearance": {"dim": 1 << 20, "identity": ""}}, "width": 1 << 16}),
    ("model", {"experts": {f"e{at}": {"dim": 8, "identity": ""} for at in range(1000)}}),
    ("train", {"num_hidden_layers": 100_000}),
    ("train", {"hidden_size": 1_000_000, "num_attention_heads": 1}),
    ("train", {"vocab_size": 10_000_000}),
    ("import", {"num_hidden_layers": 100_000}),
    ("import", {"vocab_size": 10_000_000}),
    ("appearance", {"num_hidden_layers": 100_000}),
    ("appearance", {"mlp_ratio": 1_000_000}),
    ("appearance", {"image_size": 1_000_000, "patch_size": 1}),
    ("convnext", {"depths": [1, 1, 1, 100_000]}),
    ("convnext", {"hidden_sizes": [8, 16, 24, 1_000_000]}),
    ("motion", {"num_frames": 10_000_000}),
    ("motion", {"image_size": 8000, "patch_size": 1}),
    ("speech", {"decoder_layers": 100_000}),
    ("speech", {"max_source_positions": 10_000_000}),
]
"""Sizes in a configuration that nothing in the weights stands behind."""
LIMITED = """
import json, resource, sys, time
import torch, transformers, test_foreign_networks as ways
from pathlib import Path
folder, words = Path(sys.argv[1]), Path(sys.argv[2])
from experts.neural.foreign import KINDS
from transformers import AutoModel, AutoTokenizer, BertModel  # imported before the limit
now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now + (1 << 30), now + (1 << 30)))
for line in sys.stdin:
    way, place = json.loads(line)
    begun = time.monotonic()
    try:
        ways.open_folder(way, Path(place), words)
        told = "nothing"
    except Exception as error:
        told = f"{type(error).__name__}: {error}"
    print(json.dumps([time.monotonic() - begun, told]), flush=True)
"""


def open_folder(way: str, folder: Path, words: Path) -> None:
    """Load a folder in one of the ways of `GREEDY`; also called in the limited process."""
    if way in ("checkpoint", "model"):
        checkpoint.load(folder)
    elif way == "import":
        from hcq_cli.importers.official.importing import untrained_caption_encoder

        untrained_caption_encoder(str(folder), 8, WeightSizes(40, 100_000, 200))
    else:
        LOADERS["appearance" if way == "convnext" else way][1](folder, words)


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="measures memory as Linux has it")
def test_absurd_sizes_are_refused_at_once_and_take_no_memory(
    networks: Callable[[str], Path], trained: Path, tmp_path: Path
) -> None:
    jobs = []
    for at, (way, sizes) in enumerate(GREEDY):
        folder = tmp_path / str(at)
        if way == "checkpoint":
            forge(trained, folder, **sizes)
        elif way == "model":
            forge(trained, folder, sizes)
        else:
            kind = "convnext" if way == "convnext" else LOADERS[way][0]
            change(shutil.copytree(networks(kind), folder) / "config.json", **sizes)
        jobs.append(json.dumps([way, str(folder)]))
    places = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, tmp_path, networks("bert")],
        input="\n".join(jobs), capture_output=True, text=True, timeout=300,
        env={**os.environ, "PYTHONPATH": places, "MALLOC_ARENA_MAX": "1"},
    )  # fmt: skip
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(told) == len(GREEDY), done.stderr
    for (way, sizes), (seconds, said) in zip(GREEDY, told, strict=True):
        assert said.startswith(("DamagedError", "RefusedError", "WeightsError", "UsageError")), (way, sizes, said)
        assert "memory" not in said.lower() and seconds < 10, (way, sizes, seconds, said)
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 2 << 20  # KiB, of which importing takes half


def test_networks_of_their_own_size_are_taken_in_many_threads_at_once(networks: Callable[[str], Path]) -> None:
    wrong: list[BaseException] = []

    def loads() -> None:
        try:
            prepare(f"appearance={networks('dinov2')}")
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=loads) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_commands_refuse_it_with_one_document_and_ask_nothing(
    hcq: Callable[..., Any], networks: Callable[[str], Path], tmp_path: Path, mark: Path
) -> None:
    from toy_dataset import video, write_captions, write_store

    write_store(tmp_path / ".hcq" / "features", [video(n) for n in range(4)])
    write_captions(tmp_path / "captions.jsonl", range(4))
    words = plant(shutil.copytree(networks("bert"), tmp_path / "words"), "config.json")
    eyes = plant(shutil.copytree(networks("dinov2"), tmp_path / "eyes"), "preprocessor_config.json")
    (tmp_path / "clip.mp4").write_bytes(b"no clip is looked at")
    environment = {"HCQ_CANARY": str(mark), "HF_HOME": str(tmp_path / "hf")}
    for command in (
        ("train", "--captions", "captions.jsonl", "--set", f"text.encoder={words}"),
        ("extract", str(tmp_path), "--experts", f"appearance={eyes}"),
    ):
        done = hcq(*command, "--json", stdin="y\n", env=environment, code=4)
        document = json.loads(done.out)  # one document and nothing beside it
        assert document["exit_code"] == 4 and "auto_map" in document["error"] and document["hint"]
        assert not mark.exists()
