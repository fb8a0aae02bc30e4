"""Loads what transformers reads of a stranger's folder: every network, tokenizer and processor comes through here.

transformers takes from a folder's files whatever they name: Python modules to import (`auto_map`, and it asks on the
terminal whether to), kernels and backbones to download, quantizers, other files to read instead. Here a folder may
tell what network it holds, its sizes and its numbers, and no more. Nothing is looked for on the network.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from experts.neural.weight_sizes import SPARE_NUMBERS, ForeignFileError, WeightSizes, outline, read_weight_sizes

KINDS = frozenset((
    # read captions
    "albert", "bert", "camembert", "clip_text_model", "convbert", "data2vec-text", "deberta", "deberta-v2",
    "distilbert", "electra", "ernie", "flaubert", "megatron-bert", "mobilebert", "modernbert", "mpnet",
    "nomic_bert", "rembert", "roberta", "roberta-prelayernorm", "squeezebert", "xlm", "xlm-roberta",
    "xlm-roberta-xl", "xlnet", "xmod",
    # look at pictures
    "aimv2", "align", "altclip", "beit", "bit", "blip", "chinese_clip", "clip", "clip_vision_model", "clipseg",
    "convnext", "convnextv2", "cvt", "data2vec-vision", "deit", "dinov2", "dinov2_with_registers", "dinov3_convnext",
    "dinov3_vit", "efficientnet", "focalnet", "groupvit", "hiera", "ijepa", "levit", "metaclip_2", "mlcd",
    "mlcd_vision_model", "mobilenet_v1", "mobilenet_v2", "mobilevit", "mobilevitv2", "poolformer", "pvt", "pvt_v2",
    "regnet", "resnet", "segformer", "siglip", "siglip2", "siglip2_vision_model", "siglip_vision_model",
    "swiftformer", "swin", "swinv2", "vit", "vit_mae", "vit_msn", "yolos",
    # look at clips, listen
    "audio-spectrogram-transformer", "clap", "hubert", "timesformer", "unispeech", "unispeech-sat", "videomae",
    "videoprism", "vivit", "vjepa2", "wav2vec2", "wavlm", "whisper", "xclip",
))  # fmt: skip
"""`model_type` of the networks that may be loaded: their code is in transformers, and builds itself of torch alone.

Others of transformers download a backbone, compile a kernel or open a pickle while they are built.
"""

FORBIDDEN = {
    "auto_map": "custom code",
    "custom_pipelines": "custom code",
    "backbone": "another network",
    "use_timm_backbone": "another network",
    "use_pretrained_backbone": "another network",
    "base_model_name_or_path": "another network",
    "audio_tokenizer_name_or_path": "another network",
    "quantization_config": "a quantizer",
    "compression_config": "a quantizer",
    "fusion_config": "patches of transformers",
    "use_kernels": "kernels of the hub",
    "kernel_config": "kernels of the hub",
    "compile_config": "a compiler",
    "configuration_files": "another configuration file",
    "transformers_weights": "another weights file",
    "repo_path": "a file of the hub",
    "class_info_file": "a file of the hub",
}
"""Settings by which transformers would import, download, or read something else; what each asks for."""

IMPLEMENTATIONS = (None, "eager", "sdpa")
"""Ways to compute attention that torch has itself; any other name is looked up as a kernel of the hub."""
DTYPES = {None, "auto", "float16", "bfloat16", "float32", "float64"}

LARGEST_INTEGER = 1 << 24
LARGEST_OF_PREPARING = 1 << 20
LARGEST_SIDE = 8192
LONGEST_S = 600
SIDES = {"size", "crop_size", "pad_size", "feature_size", "num_mel_bins", "n_fft", "fft_window_size", "hop_length"}
LENGTHS_S = {"chunk_length", "max_length_s", "chunk_length_s"}
"""Settings of image processors and feature extractors, in pixels or bins, and in seconds."""
MOST_LAYERS = 1024
COUNTS_LAYERS = ("layers", "n_layer", "depth", "depths", "num_blocks", "num_hidden_groups")
"""How settings end that say how many layers there are."""
WIDTHS = {"hidden_size", "d_model", "dim", "intermediate_size", "hidden_dim", "d_inner", "ffn_dim"}
DEEPEST = 32
LARGEST_SETTINGS_BYTES = 16 << 20
LARGEST_VOCABULARY_BYTES = 64 << 20
"""Of a tokenizer's file; that of a vocabulary of 250,000 entries takes 17 MB."""
SETTINGS = (
    "config.json",
    "generation_config.json",
    "tokenizer_config.json",
    "preprocessor_config.json",
    "video_preprocessor_config.json",
    "image_processor_config.json",
    "feature_extractor_config.json",
    "processor_config.json",
    "audio_tokenizer_config.json",
)
"""Files of a folder by which transformers chooses what to load."""
VOCABULARIES = ("tokenizer*.json", "vocab.*", "merges.txt", "*.model", "spiece.*", "added_tokens.json")
CHOOSE = "choose a network that transformers knows by itself, or save this one again as such"
AGAIN = "fetch or copy it again, or choose another network"


def check_folder(folder: Path) -> None:
    """See that a folder of weights asks for nothing but a network of its size; only JSON and headers are read.

    Raises:
        ForeignFileError: it asks for code, a kernel, another file; or for more than its weights hold. Or it holds
            a pipe or a device, which whoever opens it waits for.
    """
    for path in sorted(folder.iterdir()):
        if not (path.is_file() or path.is_dir()):
            raise ForeignFileError(f"{path}: is no file", AGAIN)
    if (folder / "adapter_config.json").exists():
        raise ForeignFileError(f"{folder}: holds an adapter for another network", "merge the two, and save the whole")
    held = _sizes_in(folder)
    for path in (path for name in SETTINGS if (path := folder / name).exists()):
        settings = read_settings(path)
        check_names(settings, path)
        if path.name == "config.json":
            check_sizes(settings, held, path)
            if held:
                check_kind(settings, folder)
        elif "processor" in path.name or "extractor" in path.name:
            _check_preparing(settings, path)
    for path in (path for pattern in VOCABULARIES for path in folder.glob(pattern)):
        check_vocabulary(path)


def read_settings(
    path: Path, refuse: Callable[[str, str], Exception] = ForeignFileError, hint: str = AGAIN
) -> dict[str, Any]:
    """A JSON object of a stranger's; arguments and errors are those of `read_document`."""
    document = read_document(path, refuse, hint)
    if not isinstance(document, dict):
        raise refuse(f"{path}: is no JSON object", hint)
    return document


def read_document(path: Path, refuse: Callable[[str, str], Exception], hint: str) -> Any:
    """JSON of a stranger's.

    Args:
        path: the file.
        refuse: makes the error, of a message and a hint.
        hint: what to do about it.

    Raises:
        ForeignFileError: or what `refuse` makes: it is none, no file, or of absurd size.
    """
    try:
        about = path.stat()
        is_file, fits = stat.S_ISREG(about.st_mode), about.st_size <= LARGEST_SETTINGS_BYTES
        document = json.loads(path.read_text("utf-8")) if is_file and fits else None  # nothing waits for a pipe
    except (ValueError, RecursionError, OSError) as error:
        raise refuse(f"{path}: cannot be read ({error})", hint) from error
    if not (is_file and fits):
        raise refuse(f"{path}: is {'far too large for a configuration' if is_file else 'no file'}", hint)
    return document


def check_vocabulary(path: Path) -> None:
    """See that a tokenizer's file is of a size that tokenizers have.

    Raises:
        ForeignFileError: it is not.
    """
    size = path.stat().st_size
    if size > LARGEST_VOCABULARY_BYTES:
        raise ForeignFileError(f"{path}: {size:,} bytes are too many for a tokenizer", AGAIN)


def check_names(settings: Mapping[str, Any], place: object) -> None:
    """See that settings name no code, kernel, quantizer or other file, however deep.

    Args:
        settings: a JSON object.
        place: how to call it in a message.

    Raises:
        ForeignFileError: they do.
    """
    for _, key, value in _walk(settings, place):
        if key in FORBIDDEN and value not in (None, False, "", [], {}):
            raise ForeignFileError(f"{place}: asks for {FORBIDDEN[key]} ({key}), which hcq never loads", CHOOSE)
        if "implementation" in key and ("attn" in key or "attention" in key or "experts" in key):
            named = value.values() if isinstance(value, dict) else [value]
            if any(name not in IMPLEMENTATIONS and not isinstance(name, bool) for name in named):
                raise ForeignFileError(f"{place}: asks for kernels of the hub ({key}), which hcq never loads", CHOOSE)
        if key in ("dtype", "torch_dtype") and str(value or "auto").removeprefix("torch.") not in DTYPES:
            raise ForeignFileError(f"{place}: {key} = {value!r} is no type of numbers", AGAIN)


def check_kind(settings: Mapping[str, Any], place: object) -> None:
    """See that a configuration is of a kind of network that may be loaded (`KINDS`).

    Raises:
        ForeignFileError: it is not.
    """
    kind = settings.get("model_type", "")
    if not isinstance(kind, str) or kind not in KINDS:
        raise ForeignFileError(
            f"{place}: holds a network of the kind {str(kind)[:80]!r}, which hcq never loads", CHOOSE
        )


def check_sizes(settings: Mapping[str, Any], held: WeightSizes | None, place: object) -> None:
    """See that the sizes of a configuration can be those of its weights, before anything is built from them.

    Args:
        settings: a configuration, as JSON has it.
        held: what the weights files hold; None where there are none.
        place: how to call it in a message.

    Raises:
        ForeignFileError: a size is absurd, or larger than anything in the weights.
    """
    layers, widest = min(MOST_LAYERS, held.tensors if held else MOST_LAYERS), held.widest if held else LARGEST_INTEGER
    for table, key, value in _walk(settings, place):
        for number in _integers(value):
            most = widest if key in WIDTHS else LARGEST_INTEGER
            if number > most or (key.endswith(COUNTS_LAYERS) and number > layers):
                raise ForeignFileError(f"{place}: {key} = {value!r} is more than its weights hold", AGAIN)
        if key in ("image_size", "crop_size") and held and _positions(table) > held.numbers + SPARE_NUMBERS:
            raise ForeignFileError(f"{place}: its pictures have more patches than its weights hold", AGAIN)


def _sizes_in(folder: Path) -> WeightSizes | None:
    """What transformers would load of a folder; None where there is nothing."""
    # transformers reads this one file where it is there, and only else the parts of a network in several files.
    single = folder / "model.safetensors"
    paths = [single] if single.is_file() else sorted(folder.glob("*.safetensors"))
    return read_weight_sizes(paths) if paths else None


def _walk(settings: Mapping[str, Any], place: object) -> Iterator[tuple[Mapping[str, Any], str, Any]]:
    """Every table, key and value, however deep.

    Raises:
        ForeignFileError: it is nested deeper than any configuration.
    """
    below: list[tuple[int, Any]] = [(0, settings)]
    while below:
        depth, node = below.pop()
        if depth > DEEPEST:
            raise ForeignFileError(f"{place}: is nested too deep", AGAIN)
        if isinstance(node, dict):
            yield from ((node, key, value) for key, value in node.items())
        if isinstance(node, dict | list):
            below += [(depth + 1, part) for part in (node.values() if isinstance(node, dict) else node)]


def _integers(value: Any) -> list[int]:
    values = value if isinstance(value, list) else [value]
    return [int(each) for each in values if isinstance(each, int | float) and abs(each) < float("inf")]


def _positions(table: Mapping[str, Any]) -> int:
    """Patches of a picture or clip, times the width of one: VideoMAE computes a table of so many, in Python."""

    def of(*names: str) -> int:
        return max([1, *(number for name in names for number in _integers(table.get(name)))])

    patches = of("image_size", "crop_size") // of("patch_size")
    return patches**2 * of("num_frames", "frames_per_clip") * of("hidden_size")


def _check_preparing(settings: Mapping[str, Any], place: object) -> None:
    """See that pictures and sound are prepared in sizes that networks have."""
    for _, key, value in _walk(settings, place):
        most = LARGEST_SIDE if key in SIDES else LONGEST_S if key in LENGTHS_S else LARGEST_OF_PREPARING
        values = value.values() if isinstance(value, dict) else [value]
        if any(number > most for each in values for number in _integers(each)):
            raise ForeignFileError(f"{place}: {key} = {value!r} is too large", AGAIN)


def from_folder(kind: Any, folder: Path, **settings: Any) -> Any:
    """Whatever transformers reads of a folder: a configuration, a tokenizer, a processor.

    Args:
        kind: a class of transformers that has `from_pretrained`.
        folder: on this machine.
        settings: further arguments.

    Raises:
        ForeignFileError: see `check_folder`.
        Exception: whatever transformers raises; its kinds have no common base.
    """
    check_folder(folder)
    return kind.from_pretrained(folder, **settings, local_files_only=True, trust_remote_code=False)


def network_from_folder(kind: Any, folder: Path, **settings: Any) -> Any:
    """A network with its weights, once its outline has shown that it is no larger than they are.

    Args:
        kind: `AutoModel`, or a class of networks.
        folder: holds config.json and safetensors.
        settings: further arguments of `from_pretrained`.

    Raises:
        ForeignFileError: see `check_folder`.
        Exception: whatever transformers raises.
    """
    from transformers import AutoConfig

    shape, held = from_folder(AutoConfig, folder), _sizes_in(folder)
    if held is not None:
        outline(lambda: _untrained(kind, shape), held, folder)
    return from_folder(kind, folder, use_safetensors=True, **settings)


def network_from_settings(settings: Mapping[str, Any], held: WeightSizes, place: object) -> Any:
    """An untrained network from a configuration; its outline is compared with what was saved of it first.

    Args:
        settings: the configuration, as JSON has it.
        held: what its weights hold.
        place: where the settings come from, for messages.

    Raises:
        ForeignFileError: it asks for code, a kernel, another file, or for more than its weights hold.
        Exception: whatever transformers raises.
    """
    from transformers import AutoConfig, AutoModel

    check_kind(settings, place)
    check_names(settings, place)
    check_sizes(settings, held, place)
    arguments = {key: value for key, value in settings.items() if key not in ("model_type", "_name_or_path")}
    shape = AutoConfig.for_model(settings["model_type"], **arguments)
    outline(lambda: _untrained(AutoModel, shape), held, place)
    return _untrained(AutoModel, shape)


def _untrained(kind: Any, shape: Any) -> Any:
    # Of transformers' classes those that choose a network have it, networks themselves have not.
    return kind.from_config(shape, trust_remote_code=False) if hasattr(kind, "from_config") else kind(shape)
