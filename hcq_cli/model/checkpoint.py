"""A model in a folder: safetensors, JSON and a tokenizer; nothing in it is a pickle.

config.json          format, version, the model's shape, its hash, how it was trained; written last
model.safetensors    every weight, the text encoder's included
tokenizer.json  text_encoder.json  text.json   what builds the text tower again, with no other file
metrics.jsonl        one line an epoch
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from experts.neural.weight_sizes import ForeignFileError, WeightSizes, outline, read_weight_sizes
from hcq_cli.errors import DamagedError, HcqError, NotFoundError, UsageError
from hcq_cli.files import atomic_path, digest_bytes, digest_file, plain_name, write_json
from hcq_cli.model.config import ModelConfig

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from hcq_cli.datasets.batches import VideoBatch
    from hcq_cli.model.hcq import DualEncoder
    from hcq_cli.model.quantizer import Coder
    from hcq_cli.model.text import TextTower
    from hcq_cli.model.video import VideoTensors
    from hcq_cli.model.words import Words

FORMAT, VERSION = "hcq-checkpoint", 1
CONFIG_FILE, WEIGHTS_FILE = "config.json", "model.safetensors"
TEXT_FILES = ("tokenizer.json", "text_encoder.json", "text.json")
CAPTIONS_AT_ONCE = 256
Side = Literal["videos", "texts"]


class Model:
    """A trained model, ready to encode. Everything it takes and gives is NumPy.

    Args:
        network: the modules.
        tower: text encoder and tokenizer.
        model_hash: see `model_hash`.
        folder: where it was loaded from.
    """

    def __init__(self, network: DualEncoder, tower: TextTower, model_hash: str, folder: Path | None = None) -> None:
        self.network, self.tower, self.hash, self.folder = network.eval(), tower, model_hash, folder

    @property
    def config(self) -> ModelConfig:
        """Its shape."""
        return self.network.config

    def known_experts(self, held: Collection[str]) -> list[str]:
        """Those of its experts that are `held`, in its own order; to the model the others are missing.

        Raises:
            HcqError: none is.
        """
        known = [name for name in self.config.experts if name in held]
        if not known:
            wanted = list(self.config.experts)
            raise HcqError(
                f"the features hold none of the model's experts ({', '.join(wanted)})",
                f"hcq extract VIDEOS --experts {','.join(wanted)}",
            )
        return known

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.network.level_weights.device

    @property
    def _coder(self) -> Coder:
        coder = self.network.quantizer
        if coder is None:
            raise no_codes(self.config)
        return coder

    @property
    def _rotates(self) -> bool:
        return bool(getattr(self._coder, "rotates", False))

    @property
    def codebooks(self) -> NDArray[np.float32]:
        """float32 [S, K, d], s = level · M + m; of length 1 (in the mean, where lengths differ)."""
        words: NDArray[np.float32] = self._coder.unit_codewords().detach().float().cpu().numpy()
        return words.reshape(-1, *words.shape[2:])

    @property
    def scale(self) -> NDArray[np.float32]:
        """float32 [S], what each inner product counts in the hybrid score: w_level / √M, or 1/√M after a rotation."""
        books = self.config.quantizer.codebooks
        if self._rotates:
            return np.full(self.config.bytes_per_video, 1 / np.sqrt(books), np.float32)
        return np.repeat(np.asarray(self.config.level_weights) / np.sqrt(books), books).astype(np.float32)

    def encode_texts(self, captions: Sequence[str]) -> NDArray[np.float32]:
        """Captions → float32 [Q, L+1, D], each level L2-normalised."""
        import torch

        parts = [np.zeros((0, self.config.levels + 1, self.config.embedding_width), np.float32)]
        with torch.inference_mode():
            for first in range(0, len(captions), CAPTIONS_AT_ONCE):
                words = self.tower.tokenizer(captions[first : first + CAPTIONS_AT_ONCE])
                parts.append(self.network.embed_texts(*text_tensors(words, self.device)).float().cpu().numpy())
        return np.concatenate(parts)

    def encode_videos(self, batch: VideoBatch) -> NDArray[np.float32]:
        """Videos → float32 [B, L+1, D], each level L2-normalised; an expert that the batch lacks is missing.

        Raises:
            HcqError: an expert's features are not as wide as those the model was trained on.
        """
        return self._embed(batch).float().cpu().numpy()

    def encode_codes(self, batch: VideoBatch) -> NDArray[np.uint8]:
        """Videos → codes, uint8 [B, S]."""
        return self._codes(self._embed(batch), "videos")

    def search_vectors(self, levels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Levels of queries → what their tables are made of, rotated if the codes are: float32 [Q, L+1, D], both."""
        import torch

        if not self._rotates:
            return levels
        with torch.inference_mode():
            rotated: Tensor = self.network.quantizer.rotate(torch.from_numpy(levels).to(self.device))  # type: ignore
            return rotated.float().cpu().numpy()

    def quantize(self, levels: NDArray[np.float32], side: Side) -> NDArray[np.uint8]:
        """Levels of texts or of videos, float32 [N, L+1, D] → codes, uint8 [N, S]."""
        import torch

        return self._codes(torch.from_numpy(levels).to(self.device), side)

    def _embed(self, batch: VideoBatch) -> Tensor:
        import torch

        with torch.inference_mode():
            return self.network.embed_videos(video_tensors(batch, self.config, self.device))

    def _codes(self, levels: Tensor, side: Side) -> NDArray[np.uint8]:
        import torch

        hubness = getattr(self.network, "hubness", None)
        with torch.inference_mode():
            if hubness is not None:
                levels = getattr(hubness, side)(levels)
            codes: NDArray[np.uint8] = self._coder.codes(levels).flatten(1).to(torch.uint8).cpu().numpy()
        return codes


def no_codes(config: ModelConfig) -> HcqError:
    """What to say of a model that has vectors alone, where codes are wanted."""
    size = f"{config.dense_bytes_per_video:,} bytes a video"
    return HcqError(
        f"a model of kind {config.kind} has dense vectors alone ({size}), no codes to store or search",
        "hcq train --model hcq; or measure it: hcq eval --compress opq",
    )


def text_tensors(words: Words, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, mask and special-token marks on a device, as `HCQ.embed_texts` takes them."""
    import torch

    ids, mask, special = (torch.from_numpy(part).to(device) for part in (words.ids, words.mask, words.special))
    return ids, mask, special


def video_tensors(batch: VideoBatch, config: ModelConfig, device: torch.device) -> VideoTensors:
    """A padded batch on a device, with every expert of the model; what the batch lacks is masked.

    Raises:
        HcqError: an expert's features are not as wide as those the model was trained on.
    """
    import torch

    from hcq_cli.model.video import VideoTensors

    features, times, mask = {}, {}, {}
    for name, expert in config.experts.items():
        if name not in batch.features:
            features[name] = torch.zeros(len(batch), 1, expert.dim, device=device)
            times[name] = torch.zeros(len(batch), 1, device=device)
            mask[name] = torch.zeros(len(batch), 1, dtype=torch.bool, device=device)
            continue
        dim = batch.features[name].shape[-1]
        if dim != expert.dim:
            raise HcqError(
                f"features of {name} are {dim} wide; the model was trained on {expert.dim}",
                "hcq train (on these features), or encode the features it was trained on",
            )
        features[name] = torch.from_numpy(batch.features[name]).to(device)
        times[name] = torch.from_numpy(batch.times[name]).to(device)
        mask[name] = torch.from_numpy(batch.mask[name]).to(device)
    return VideoTensors(features, times, mask)


def save(folder: Path, network: DualEncoder, tower: TextTower, about: dict[str, Any] | None = None) -> str:
    """Write a checkpoint; config.json comes last, so that a folder without one was never finished.

    Args:
        folder: made if missing; an older checkpoint in it is replaced.
        network, tower: the model.
        about: how it was trained (recipe, epochs, figures); not part of the hash.

    Returns:
        The model's hash.
    """
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    weights = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    fresh = Path(tempfile.mkdtemp(prefix=".checkpoint-", dir=folder))
    try:
        tower.write(fresh)
        with atomic_path(fresh / WEIGHTS_FILE) as temporary:
            save_file(weights, temporary)
        digests = {name: digest_file(fresh / name) for name in (WEIGHTS_FILE, *TEXT_FILES)}
        shape = network.config.to_dict()
        identity = _hash(shape, digests)
        # From here on a kill leaves a folder without config.json: unfinished, not wrong.
        (folder / CONFIG_FILE).unlink(missing_ok=True)
        for name in digests:
            (fresh / name).replace(folder / name)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    document = {"format": FORMAT, "version": VERSION, "hash": identity, "files": digests, "model": shape}
    write_json(folder / CONFIG_FILE, {**document, "about": about or {}})
    return identity


def _hash(shape: dict[str, Any], digests: dict[str, str]) -> str:
    body = {"shape": shape, "files": digests}
    return digest_bytes(json.dumps(body, sort_keys=True, ensure_ascii=True).encode())


@dataclass(frozen=True)
class Header:
    """What config.json says.

    Args:
        hash: the model's.
        files: SHA-256 of each file.
        config: the model's shape.
        about: how it was trained.
    """

    hash: str
    files: dict[str, str]
    config: ModelConfig
    about: dict[str, Any]


def read_header(folder: Path) -> Header:
    """Read a checkpoint's config.json; no torch, no weights.

    Raises:
        NotFoundError: there is no checkpoint.
        DamagedError: it is damaged, foreign or of a newer version.
    """
    path = folder / CONFIG_FILE
    if not path.is_file():
        unfinished = (folder / "resume").is_dir()
        hint = "hcq train --resume" if unfinished else "hcq train --captions FILE"
        state = "its training has not finished" if unfinished else "no checkpoint there"
        raise NotFoundError(f"{folder}: {state}", hint)
    try:
        document = json.loads(path.read_text("utf-8"))
        name, version = document["format"], document["version"]
        shape, files, identity = document["model"], document["files"], document["hash"]
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedError(f"{path}: not the config of an hcq checkpoint ({error})", "hcq train") from error
    if name != FORMAT:
        raise DamagedError(f"{path}: is of format {name!r}, not {FORMAT!r}", "give a folder that hcq train wrote")
    if not isinstance(version, int) or version > VERSION:
        raise DamagedError(f"{path}: format version {version}, this hcq reads up to {VERSION}", "upgrade hcq")
    _check_names(path, files)
    if identity != _hash(shape, files):
        raise DamagedError(f"{path}: its hash does not match, the file is damaged", "hcq train --resume")
    try:
        config = ModelConfig.from_dict(shape)
    except (UsageError, TypeError, AttributeError) as error:
        raise DamagedError(f"{path}: describes no model that there can be ({error})", "hcq train") from error
    return Header(identity, files, config, document.get("about", {}))


def _check_names(path: Path, files: Any) -> None:
    """Raise DamagedError where config.json names a file elsewhere, or not all that belong to a model."""
    try:
        lacking = {WEIGHTS_FILE, *TEXT_FILES} - {plain_name(name) for name in files}
        if lacking:
            raise ValueError(f"it names no {min(lacking)}")
    except (ValueError, TypeError) as error:
        raise DamagedError(f"{path}: makes no sense ({error})", "give a folder that hcq train wrote") from error


def model_hash(folder: Path) -> str:
    """SHA-256 over all weights, the tokenizer and the config: what makes codes comparable.

    Raises:
        NotFoundError, DamagedError: as `read_header`.
    """
    return read_header(folder).hash


def _held(path: Path) -> WeightSizes:
    """What the weights hold, from their header."""
    try:
        return read_weight_sizes([path])
    except ForeignFileError as error:
        raise DamagedError(str(error), "give a folder that hcq train wrote") from error


def load(folder: Path, device: str = "cpu") -> Model:
    """Load a checkpoint, every file checked against its digest.

    Raises:
        NotFoundError: there is no checkpoint.
        DamagedError: a file is missing, damaged, or not of this model.
    """
    from safetensors.torch import load_file

    from hcq_cli.model import registry, text

    header = read_header(folder)
    for name, digest in header.files.items():
        if not (folder / name).is_file() or digest_file(folder / name) != digest:
            raise DamagedError(f"{folder / name}: missing or damaged", "hcq train --resume")
    held = _held(folder / WEIGHTS_FILE)
    tower, weights = text.read(folder, header.config.text.max_tokens, held), load_file(folder / WEIGHTS_FILE)
    try:
        outline(lambda: registry.build_network(header.config, tower.encoder, weights), held, folder)
    except ForeignFileError as error:
        raise DamagedError(str(error), "give a folder that hcq train wrote") from error
    network = registry.build_network(header.config, tower.encoder, weights)
    try:
        network.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        message = (
            f"{folder / WEIGHTS_FILE}: its weights do not fit its config ({str(error).splitlines()[-1].strip()})"
        )
        raise DamagedError(message, "hcq train") from error
    return Model(network.to(device), tower, header.hash, folder)
