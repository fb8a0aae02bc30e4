"""A reference checkpoint, brought into a checkpoint folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from experts.neural.foreign import from_folder, network_from_settings, read_settings
from experts.neural.weight_sizes import ForeignFileError, WeightSizes, weight_sizes_of
from hcq_cli.errors import DamagedError, HcqError, NotFoundError, UsageError
from hcq_cli.importers.official.pickle_reader import read_pickled_checkpoint

if TYPE_CHECKING:
    from hcq_cli.model.text import CaptionEncoder

OTHERWISE = "--text-encoder FOLDER, with config.json and tokenizer.json of the encoder it was trained with"


@dataclass(frozen=True)
class Imported:
    """What was brought in.

    Args:
        architecture: HCQ or JPQ.
        experts: width of each expert's features, in their order.
        bytes_per_video: S.
        unused: weights that nothing has a use for.
        notes: what had to be assumed.
    """

    architecture: str
    experts: dict[str, int]
    bytes_per_video: int
    unused: list[str]
    notes: list[str]


def import_official(file: Path, folder: Path, text_encoder: str | None, type_ids: Mapping[str, int]) -> Imported:
    """Convert a `.pth` file of the published code into a checkpoint folder.

    Args:
        file: the checkpoint.
        folder: where to; it must hold no checkpoint yet.
        text_encoder: id or folder of its text encoder's shape and tokenizer; None: what its configuration says.
        type_ids: token types of experts that are not the published ones.

    Raises:
        NotFoundError: the file or the text encoder is not there.
        DamagedError: the file is no checkpoint of the reference, or its weights do not fit the text encoder.
        UsageError: something has to be said that the file does not say, or there is a checkpoint already.
    """
    if (folder / "config.json").exists():
        raise UsageError(f"{folder}: holds a checkpoint already", "give another folder with -o")
    pickled = read_pickled_checkpoint(file)

    from hcq_cli.importers.official.checkpoint import convert
    from hcq_cli.importers.official.description import describe
    from hcq_cli.model import checkpoint

    try:
        model = describe(pickled.weights, pickled.config, type_ids)
        source = text_encoder or model.text_encoder
        if not source:
            raise UsageError("its text encoder is none that hcq knows", "--text-encoder ID|FOLDER")
        caption_encoder = untrained_caption_encoder(
            source, model.max_words, weight_sizes_of(tuple(each.shape) for each in pickled.weights.values())
        )
        network, unused = convert(model, pickled.weights, caption_encoder.transformer, source)
        checkpoint.save(folder, network, caption_encoder, {"imported": model.options.architecture})  # type: ignore[arg-type]
    except DamagedError as error:
        raise DamagedError(f"{file}: {error.message}", error.hint or "check --text-encoder") from error
    except HcqError as error:
        raise type(error)(f"{file}: {error.message}", error.hint) from error
    experts = {name: expert.dim for name, expert in model.options.experts.items()}
    return Imported(model.options.architecture, experts, network.config.bytes_per_video, unused, model.notes)


def untrained_caption_encoder(source: str, max_tokens: int, held: WeightSizes) -> CaptionEncoder:
    """Shape and tokenizer of a text encoder, without its weights: the checkpoint brings its own.

    Args:
        source: id or folder.
        max_tokens: longest caption.
        held: what the checkpoint's weights hold; the encoder must be part of it.

    Raises:
        NotFoundError: they are not on this machine.
        DamagedError: their folder asks for code, a kernel or another file, or for more than the checkpoint holds.
    """
    from transformers import AutoTokenizer

    from hcq_cli.model.text import CaptionEncoder, CaptionTokenizer, TextTransformer
    from hcq_cli.model.text_source import find_text_encoder

    folder = find_text_encoder(source, "", "--text-encoder ", OTHERWISE).folder
    try:
        tokenizer = from_folder(AutoTokenizer, folder, use_fast=True)
        network = network_from_settings(read_settings(folder / "config.json"), held, folder / "config.json")
        caption_tokenizer = CaptionTokenizer(
            tokenizer.backend_tokenizer, max_tokens, tokenizer.pad_token_id or 0, tokenizer.cls_token_id
        )
    except ForeignFileError as error:
        raise DamagedError(f"text encoder {source!r} is refused: {error}", error.hint) from error
    except Exception as error:  # transformers raises many kinds
        message = f"text encoder {source!r} cannot be had: {(str(error).splitlines() or ['?'])[0]}"
        raise NotFoundError(message, OTHERWISE) from error
    return CaptionEncoder(
        TextTransformer(network, tokenizer.cls_token_id), caption_tokenizer, network.config.to_dict()
    )
