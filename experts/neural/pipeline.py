"""Folders of the library sentence-transformers: a dual encoder made of modules, which modules.json lists.

Where the first is a network of transformers, and the others bring vectors to length 1 as hcq does anyway, the network
alone is all that is needed, and the library is not. Whatever else it can load that takes pictures or sound beside
texts runs in it, where it is installed: layers behind a network, networks of their own for texts and for pictures
(Router), tables of word vectors. Modules are code: the library's own are let in and no others, each with what its
folder says looked through before (`check_folder` for networks), and no pickle is opened.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experts.neural.foreign import ForeignFileError, check_names, read_settings
from experts.neural.network import Inputs, choose_device, count_rows, load_model, quiet_transformers
from experts.neural.weight_sizes import outline, read_weight_sizes
from experts.neural.weights import (
    PICKLED,
    RefusedError,
    Weights,
    WeightsError,
    checked,
    digest,
    first_line,
    look_up,
    read_json_list,
    with_weights,
)

MODULES = "modules.json"
OWN = "sentence_transformers."
"""What the names of the library's own modules begin with."""
NETWORKS, ROUTERS, NOTHING_MORE = ("Transformer", "CLIPModel"), ("Router", "Asym"), ("Normalize",)
"""Modules that are a network of transformers, that hold others, and that change no direction of a vector."""
LAYERS = (
    *("BoW", "CNN", "Dense", "Dropout", "LSTM", "LayerNorm", "Pooling", "StaticEmbedding"),
    *("WeightedLayerPooling", "WordEmbeddings", "WordWeights"),
)
"""All others that may be loaded."""
SETTINGS_OF_NETWORK = {
    *("do_lower_case", "max_seq_length", "modality_config", "module_output_name", "processing_kwargs"),
    *("document_length", "query_length", "transformer_task", "unpad_inputs"),
}
"""What the library's own file in the folder of a network may say; the rest names other files, or code."""
METHODS = {"forward", "get_audio_features", "get_image_features", "get_text_features"}
"""Methods of a network that such a file may have called."""
IMPORTED = {"activation_function": "torch.nn.", "tokenizer_class": OWN}
"""Settings that name a class to import, and where it may come from."""
DEEPEST = 4
"""Routers in routers."""
ROWS_AT_ONCE = 8


@dataclass(frozen=True)
class Module:
    """A module of a pipeline.

    Args:
        kind: its class, with the package that it comes from.
        folder: with its settings and weights; it need not exist where it has none.
    """

    kind: str
    folder: Path

    @property
    def name(self) -> str:
        """Of its class."""
        return self.kind.rpartition(".")[2]

    @property
    def is_network(self) -> bool:
        """Whether transformers builds it."""
        return self.name in NETWORKS


@dataclass(frozen=True)
class Pipeline(Weights):
    """A folder of which more than one network is needed.

    Args:
        modules: all that it is made of, those in routers too.
    """

    modules: tuple[Module, ...] = ()

    @cached_property
    def identity(self) -> str:
        """See `Weights.identity`; of the whole folder, however deep."""
        files = (
            path for path in self.folder.rglob("*") if path.suffix in (".safetensors", ".json") and path.is_file()
        )
        return super().identity if self.hub else f"sha256:{digest(sorted(files))}"

    @property
    def model_type(self) -> str:
        """What it is made of."""
        return "+".join(module.name for module in self.modules)

    @cached_property
    def parameters(self) -> int:
        """How many numbers it has learned."""
        return read_weight_sizes(self.folder.rglob("*.safetensors")).numbers

    @property
    def networks(self) -> list[Weights]:
        """The networks of transformers in it."""
        return [Weights(self.source, module.folder) for module in self.modules if module.is_network]

    @cached_property
    def takes(self) -> set[str]:
        """Which of "image" and "audio" it takes beside texts, as far as its folder says."""
        told = {sense for module in self.modules for sense in _settings(module).get("modality_config") or {}}
        old = {"image"} if any(module.name == "CLIPModel" for module in self.modules) else set()
        return (told | old) & {"audio", "image"}


def locate_network(source: str) -> Weights:
    """The weights that a source names: of a network of transformers, or a `Pipeline` of sentence-transformers.

    Args:
        source: a folder, or a Hugging Face id with an optional `@revision`.

    Raises:
        WeightsError: they are not on this machine, are pickles, or a module is none that hcq knows.
        RefusedError: the folder asks for code, a kernel, another file, or for more than its weights hold.
    """
    found = look_up(source)
    if not (found.folder / MODULES).is_file():
        return with_weights(found)
    modules = tuple(_modules(found, found.folder, _listed(found)))
    first, *others = modules
    if first.is_network and all(module.name in NOTHING_MORE for module in others):
        return with_weights(checked(replace(found, folder=first.folder)))
    for module in modules:
        _check(found, module)
    return Pipeline(found.source, found.folder, found.hub, found.commit, modules)


def _listed(found: Weights) -> list[tuple[str, str]]:
    """Kind and path of each module of modules.json. Raises WeightsError."""
    modules = read_json_list(found.folder / MODULES)
    return [(str(each.get("type", "")), str(each.get("path", ""))) for each in modules]


def _modules(found: Weights, folder: Path, listed: list[tuple[str, str]], depth: int = 0) -> Iterator[Module]:
    """The modules in a folder, and those in its routers. Raises WeightsError, RefusedError."""
    for kind, path in listed:
        module = Module(kind, folder / path)
        if not kind.startswith(OWN):
            what = f"{found.source}: asks for code of its own ({kind}), which hcq never runs"
            raise RefusedError(what, "give a network whose modules are those of sentence-transformers")
        if Path(path).is_absolute() or ".." in Path(path).parts or (module.is_network and not module.folder.is_dir()):
            raise RefusedError(f"{found.source}: a module would lie in {path}, no folder in it", "copy it again")
        if module.name in ROUTERS and depth < DEEPEST:
            yield from _modules(found, module.folder, _routed(module), depth + 1)
        elif module.name in (*NETWORKS, *LAYERS, *NOTHING_MORE):
            yield module
        else:
            raise WeightsError(f"{found.source}: hcq knows no module {module.name}", f"it takes {', '.join(LAYERS)}")


def _routed(router: Module) -> list[tuple[str, str]]:
    """Kind and path of each module that a router holds. Raises RefusedError."""
    types = _settings(router).get("types")
    if not isinstance(types, dict):
        raise RefusedError(f"{router.folder}: does not say what it is made of", "fetch or copy it again")
    return [(str(kind), str(path)) for path, kind in types.items()]


def _settings(module: Module) -> dict[str, Any]:
    """What the folder of a module says to the library, in whichever of its files. Raises RefusedError."""
    said: dict[str, Any] = {}
    for path in sorted(module.folder.glob("sentence_*_config.json" if module.is_network else "*config.json")):
        try:
            said |= (settings := read_settings(path))
            check_names(settings, path)
        except ForeignFileError as error:
            raise RefusedError(str(error), error.hint) from error
    return said


def _check(found: Weights, module: Module) -> None:
    """See that a module opens no pickle and names no other file or code. Raises WeightsError, RefusedError."""
    if not module.folder.is_dir():
        return
    if module.is_network:
        with_weights(checked(Weights(found.source, module.folder)))
    held = {path.suffix.lower() for path in module.folder.iterdir()}
    if held & PICKLED and not (module.folder / "model.safetensors").is_file():
        what = f"{module.folder}: holds its weights as a pickle, which may run code when it is opened"
        raise WeightsError(what, "save it again as safetensors")
    settings = _settings(module)
    senses = settings.get("modality_config") or {}
    ways = senses.values() if isinstance(senses, dict) else [senses]
    named = {str(how.get("method")) if isinstance(how, dict) else "modality_config" for how in ways} - METHODS
    foreign = [
        key for key, value in settings.items() if value and module.is_network and key not in SETTINGS_OF_NETWORK
    ]
    foreign += [key for key, own in IMPORTED.items() if not str(settings.get(key) or own).startswith(own)]
    if foreign or named:
        what = f"{module.folder}: asks for more than a module of its kind has ({', '.join([*foreign, *named])})"
        raise RefusedError(what, "save it again without")


def load_pipeline(found: Pipeline, device: str) -> Any:
    """A pipeline as the library runs it, in float32.

    Returns:
        A `SentenceTransformer`.

    Raises:
        WeightsError: the library is not installed, or cannot load it.
        RefusedError: a module is larger than its weights are.
    """
    try:
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.util import import_from_string
    except ImportError as error:
        what = f"{found.source}: is made of {found.model_type}, which the library sentence-transformers runs"
        raise WeightsError(what, "pip install sentence-transformers") from error
    import torch

    logging.getLogger("sentence_transformers").setLevel(logging.ERROR)
    for network in found.networks:
        load_model(network, "cpu")  # whole, and no larger than its weights: the library would not look
    try:
        for module in found.modules:
            if not module.is_network and module.folder.is_dir():
                held = read_weight_sizes(module.folder.glob("*.safetensors"))
                kind: Any = import_from_string(module.kind)
                build = partial(kind.load, str(module.folder))
                with warnings.catch_warnings(action="ignore"):  # torch: what has no numbers takes none
                    outline(build, held, module.folder)
        with quiet_transformers():
            return SentenceTransformer(
                str(found.folder),
                device=choose_device(device),
                local_files_only=True,
                trust_remote_code=False,
                model_kwargs={"use_safetensors": True, "dtype": torch.float32},
            ).eval()
    except ForeignFileError as error:
        raise RefusedError(str(error), error.hint) from error
    except Exception as error:  # the library, safetensors and transformers have no common base
        what = f"{found.source}: cannot be loaded: {first_line(error)}"
        raise WeightsError(what, "pip install -U sentence-transformers") from error


class PipelineNetwork:
    """A pipeline that looks or listens: rows of frames or windows as they are, which the library prepares itself.

    Args:
        found: its weights.
        device: where it shall run.
        hz: sample rate of the windows; 0 for frames.
    """

    def __init__(self, found: Pipeline, device: str, hz: int = 0) -> None:
        self._model, self._hz = load_pipeline(found, device), hz

    def run(self, inputs: Inputs) -> NDArray[np.float32]:
        """`frames` uint8 [n, H, W, 3], or `sound` float32 [n, samples] with NaN behind its end → float32 [n, dim]."""
        from PIL import Image

        given: list[Any] = [Image.fromarray(frame) for frame in inputs.get("frames", ())]
        sounds = [row[~np.isnan(row)] for row in inputs.get("sound", ())]
        given += [{"array": sound, "sampling_rate": self._hz} for sound in sounds]
        assert len(given) == count_rows(inputs)
        # A collection is what the library calls documents, in pipelines that read these otherwise than queries.
        encode = getattr(self._model, "encode_document", self._model.encode)
        found = encode(given, batch_size=ROWS_AT_ONCE, show_progress_bar=False, convert_to_numpy=True)
        return np.asarray(found, np.float32)
