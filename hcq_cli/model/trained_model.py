"""A trained model, ready to encode: captions and videos in, vectors and codes out. How it is kept: checkpoint.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from hcq_cli.errors import HcqError
from hcq_cli.model.config import ModelConfig

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from hcq_cli.datasets.batches import VideoBatch
    from hcq_cli.model.exported_text_encoder import ExportedTextEncoder
    from hcq_cli.model.hcq import DualEncoder
    from hcq_cli.model.quantizer import Coder
    from hcq_cli.model.text import CaptionEncoder

CAPTIONS_AT_ONCE = 256
Side = Literal["videos", "texts"]


class Model:
    """A trained model, ready to encode. Everything it takes and gives is NumPy.

    Args:
        network: the modules.
        caption_encoder: the network that reads captions, and its tokenizer.
        model_hash: see `checkpoint.model_hash`.
        folder: where it was loaded from.
        towers: the text encoders of dual encoders, by the expert in whose space their vectors lie.
    """

    def __init__(
        self,
        network: DualEncoder,
        caption_encoder: CaptionEncoder,
        model_hash: str,
        folder: Path | None = None,
        towers: Mapping[str, ExportedTextEncoder] | None = None,
    ) -> None:
        self.towers = dict(towers or {})
        self.network, self.caption_encoder = network.eval(), caption_encoder
        self.hash, self.folder = model_hash, folder

    @property
    def config(self) -> ModelConfig:
        """Its shape."""
        return self.network.config

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

    @property
    def nearness(self) -> float | None:
        """Mean cosine between the training videos that it keeps to correct hubs with; None where they are few."""
        from hcq_cli.model.drift import LEAST, mean_nearness

        hubness = self.network.hubness
        if hubness is None or int(hubness.texts.filled) < LEAST:
            return None
        kept = hubness.texts.bank[: int(hubness.texts.filled)].float().cpu().numpy()
        return mean_nearness(kept, self.config.level_weights)

    def encode_texts(self, captions: Sequence[str]) -> NDArray[np.float32]:
        """Captions → float32 [Q, L+1, D], each level L2-normalised."""
        import torch

        from hcq_cli.model.text import text_tensors

        parts = [np.zeros((0, self.config.levels + 1, self.config.embedding_width), np.float32)]
        with torch.inference_mode():
            for first in range(0, len(captions), CAPTIONS_AT_ONCE):
                some = captions[first : first + CAPTIONS_AT_ONCE]
                tokens = self.caption_encoder.tokenizer(some)
                read = self.network.embed_texts(*text_tensors(tokens, self.device)).float().cpu().numpy()
                by_towers = (self.tower_levels(name, tower.encode(some)) for name, tower in self.towers.items())
                parts.append(sum(by_towers, read))
        return np.concatenate(parts)

    @property
    def most_tokens(self) -> int:
        """Of a text that are read, by the network that reads most."""
        of_towers = [tower.most_tokens for tower in self.towers.values()]
        return max([self.caption_encoder.tokenizer.most_tokens, *of_towers])

    def count_tokens(self, texts: Sequence[str]) -> list[tuple[int, int]]:
        """Of each text how many tokens it has, and how many of these are known; by the vocabulary that knows most."""
        own = [self.caption_encoder.tokenizer.count(text) for text in texts]
        counted = [own, *(tower.count_tokens(texts) for tower in self.towers.values())]
        return [max(each, key=lambda tokens_known: tokens_known[1]) for each in zip(*counted, strict=True)]

    def tower_levels(self, name: str, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """What vectors by a dual encoder's text encoder [Q, 1, dim] add to levels: float32 [Q, L+1, D]; linear."""
        import torch

        with torch.inference_mode():
            placed = self.network.tower_levels(name, torch.from_numpy(vectors[:, 0]).to(self.device))
            return placed.float().cpu().numpy()

    def generic_queries(self) -> NDArray[np.float32] | None:
        """Generic sentences as `search_vectors` gives them, float32 [Q, L+1, D]; None where the model keeps none."""
        levels = self.network.generic_queries()
        return None if levels is None else self.search_vectors(levels.float().cpu().numpy())

    def made_up_videos(self) -> NDArray[np.float32] | None:
        """Made-up videos as `search_vectors` gives them, float32 [M, L+1, D]; None where the model has none."""
        levels = self.network.made_up_videos()
        return None if levels is None else self.search_vectors(levels.float().cpu().numpy())

    def encode_videos(self, batch: VideoBatch) -> NDArray[np.float32]:
        """Videos → float32 [B, L+1, D], each level L2-normalised; an expert that the batch lacks is missing.

        Raises:
            HcqError: an expert's features are not as wide as those the model was trained on.
        """
        return self._embed(batch).float().cpu().numpy()

    def encode_video_queries(self, batch: VideoBatch) -> NDArray[np.float32]:
        """Videos → what their tables are made of, as `search_vectors` gives it for queries of any kind."""
        return self.search_vectors(self.encode_videos(batch))

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
