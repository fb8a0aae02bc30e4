"""A trained model, and the folder it is kept in: safetensors, JSON and a tokenizer; nothing in it is a pickle.

config.json          format, version, the model's shape, its hash, how it was trained; written last
model.safetensors    every weight, the text encoder's included
tokenizer.json  text_encoder.json  text.json   what builds the text encoder again, with no other file
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

from experts.neural.weight_sizes import ForeignFileError, outline, read_weight_sizes
from hcq_cli.errors import DamagedError, HcqError, NotFoundError, UsageError
from hcq_cli.files import atomic_path, digest_bytes, digest_file, plain_name, write_json
from hcq_cli.model.config import ModelConfig

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from hcq_cli.datasets.batches import VideoBatch
    from hcq_cli.model.hcq import DualEncoder
    from hcq_cli.model.quantizer import Coder
    from hcq_cli.model.text import CaptionEncoder

FORMAT, VERSION = "hcq-checkpoint", 1
CONFIG_FILE, WEIGHTS_FILE = "config.json", "model.safetensors"
TEXT_FILES = ("tokenizer.json", "text_encoder.json", "text.json")
CAPTIONS_AT_ONCE = 256
Side = Literal["videos", "texts"]


class Model:
    """A trained model, ready to encode. Everything it takes and gives is NumPy.

    Args:
        network: the modules.
        caption_encoder: the network that reads captions, and its tokenizer.
        model_hash: see `model_hash`.
        folder: where it was loaded from.
    """

    def __init__(
        self, network: DualEncoder, caption_encoder: CaptionEncoder, model_hash: str, folder: Path | None = None
    ) -> None:
        self.network, self.caption_encoder, self.hash, self.folder = (
            network.eval(),
            caption_encoder,
            model_hash,
            folder,
        )

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
    def codebooks(self) -> NDArray[np.float32]:
        """float32 [S, K, d], s = level · M + m; of length 1 (in the mean, where lengths differ)."""
        words: NDArray[np.float32] = self._coder.unit_codewords().detach().float().cpu().numpy()
        return words.reshape(-1, *words.shape[2:])

    @property
    def scale(self) -> NDArray[np.float32]:
        """float32 [S], what each inner product counts in the hybrid score: w_level / √M, or 1/√M after a rotation."""
        books = self.config.quantizer.codebooks
        if self._coder.rotates:  # the rotation has the weights in it
            return np.full(self.config.bytes_per_video, 1 / np.sqrt(books), np.float32)
        return np.repeat(np.asarray(self.config.level_weights) / np.sqrt(books), books).astype(np.float32)

    def encode_texts(self, captions: Sequence[str]) -> NDArray[np.float32]:
        """Captions → float32 [Q, L+1, D], each level L2-normalised."""
        import torch

        from hcq_cli.model.text import text_tensors

        parts = [np.zeros((0, self.config.levels + 1, self.config.embedding_width), np.float32)]
        with torch.inference_mode():
            for first in range(0, len(captions), CAPTIONS_AT_ONCE):
                tokens = self.caption_encoder.tokenizer(captions[first : first + CAPTIONS_AT_ONCE])
                parts.append(self.network.embed_texts(*text_tensors(tokens, self.device)).float().cpu().numpy())
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

    def quantize(self, levels: NDArray[np.float32], side: Side) -> NDArray[np.uint8]:
        """Levels of texts or of videos, float32 [N, L+1, D] → codes, uint8 [N, S]."""
        import torch

        return self._codes(torch.from_numpy(levels).to(self.device), side)

    def search_vectors(self, levels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Levels of queries → what their tables are made of, rotated if the codes are: float32 [Q, L+1, D], both."""
        import torch

        coder = self._coder
        if not coder.rotates:
            return levels
        with torch.inference_mode():
            return coder.rotate(torch.from_numpy(levels).to(self.device)).float().cpu().numpy()

    def _embed(self, batch: VideoBatch) -> Tensor:
        import torch

        from hcq_cli.model.video import video_tensors

        with torch.inference_mode():
            return self.network.embed_videos(video_tensors(batch, self.config, self.device))

    def _codes(self, levels: Tensor, side: Side) -> NDArray[np.uint8]:
        import torch

        with torch.inference_mode():
            if self.network.hubness is not None:
                levels = self.network.hubness.correction(side)(levels)
            # [N, L+1, M] → [N, S]: s = level · M + m, the order of `codebooks` and of every code file.
            codes: NDArray[np.uint8] = self._coder.codes(levels).flatten(1).to(torch.uint8).cpu().numpy()
        return codes


def no_codes(config: ModelConfig) -> HcqError:
    """What to say of a model that has vectors alone, where codes are wanted."""
    size = f"{config.dense_bytes_per_video:,} bytes a video"
    return HcqError(
        f"a model of kind {config.kind} has dense vectors alone ({size}), no codes to store or search",
        "hcq train --model hcq; or measure it: hcq eval --compress opq",
    )


def save(
    folder: Path, network: DualEncoder, caption_encoder: CaptionEncoder, about: dict[str, Any] | None = None
) -> str:
    """Write a checkpoint; config.json comes last, so that a folder without one was never finished.

    Args:
        folder: made if missing; an older checkpoint in it is replaced.
        network, caption_encoder: the model.
        about: how it was trained (recipe, epochs, figures); not part of the hash.

    Returns:
        The model's hash.
    """
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    weights = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    # Beside the old files, in the same folder: only there is moving a file into place one step that cannot half fail.
    fresh = Path(tempfile.mkdtemp(prefix=".checkpoint-", dir=folder))
    try:
        caption_encoder.write(fresh)
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
    # Sorted keys and plain ASCII: the same model has the same hash whatever wrote its config.
    body = {"shape": shape, "files": digests}
    return digest_bytes(json.dumps(body, sort_keys=True, ensure_ascii=True).encode())


@dataclass(frozen=True)
class CheckpointHeader:
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


def read_header(folder: Path) -> CheckpointHeader:
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
    return CheckpointHeader(identity, files, config, document.get("about", {}))


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
    try:
        held = read_weight_sizes([folder / WEIGHTS_FILE])  # from the header alone
    except ForeignFileError as error:
        raise DamagedError(str(error), "give a folder that hcq train wrote") from error
    caption_encoder, weights = (
        text.read(folder, header.config.text.max_tokens, held),
        load_file(folder / WEIGHTS_FILE),
    )
    # A config may ask for a network of any size: built without memory first, it must be one that the weights fill.
    try:
        outline(lambda: registry.build_network(header.config, caption_encoder.transformer, weights), held, folder)
    except ForeignFileError as error:
        raise DamagedError(str(error), "give a folder that hcq train wrote") from error
    network = registry.build_network(header.config, caption_encoder.transformer, weights)
    try:
        network.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        message = (
            f"{folder / WEIGHTS_FILE}: its weights do not fit its config ({str(error).splitlines()[-1].strip()})"
        )
        raise DamagedError(message, "hcq train") from error
    return Model(network.to(device), caption_encoder, header.hash, folder)
