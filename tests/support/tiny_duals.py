"""Tiny dual encoders with random weights, each with its own kind of tokenizer, saved as a person would have them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tiny_networks import CROP, SEEN, SIDE

LETTERS = "abcdefghijklmnopqrstuvwxyz"
TEXT = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48)
SQUARE = {"size": {"height": SIDE, "width": SIDE}}


def save(kind: str, folder: Path) -> Path:
    """Make the dual encoder `kind` (a name in `KINDS`), the same numbers each time, in `folder`/`kind`."""
    import torch

    place = folder / kind
    if not place.exists():
        torch.manual_seed(sum(kind.encode()))
        model, tokenizer, preparing = KINDS[kind]()
        # Larger than they are made: random networks else give nearly one vector for all texts.
        with torch.no_grad():
            for weight in model.parameters():
                if weight.ndim > 1:
                    weight *= 3
        model.eval().save_pretrained(place)
        tokenizer.save_pretrained(place)
        preparing.save_pretrained(place)
    return place


def _byte_vocabulary(first: list[str], suffix: str = "") -> dict[str, int]:
    from tokenizers import pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [*first, *letters, *(letter + suffix for letter in letters if suffix)]
    return {word: at for at, word in enumerate(words)}


def _clip_tokenizer() -> Any:
    import transformers as t

    # The marks at the end, as in CLIP's own vocabulary: networks of its first days take the largest id for the end.
    words = [*_byte_vocabulary([], "</w>"), "<|startoftext|>", "<|endoftext|>"]
    return t.CLIPTokenizer({word: at for at, word in enumerate(words)}, [], model_max_length=77)


def _clip(old: bool = False) -> tuple[Any, Any, Any]:
    import transformers as t

    tokenizer = _clip_tokenizer()
    ids = dict(bos_token_id=tokenizer.bos_token_id, pad_token_id=1, vocab_size=len(tokenizer))
    text = dict(**TEXT, **ids, eos_token_id=2 if old else tokenizer.eos_token_id, max_position_embeddings=77)
    vision = dict(**SEEN, image_size=SIDE, patch_size=8)
    config = t.CLIPConfig(text_config=text, vision_config=vision, projection_dim=24)
    return t.CLIPModel(config), tokenizer, t.CLIPImageProcessor(**CROP)


def _metaclip2() -> tuple[Any, Any, Any]:
    import transformers as t

    tokenizer = t.XLMRobertaTokenizer(_unigrams(["<s>", "<pad>", "</s>", "<unk>"], ["<mask>"]), model_max_length=77)
    text = dict(**TEXT, vocab_size=len(tokenizer), eos_token_id=2, bos_token_id=0, pad_token_id=1)
    vision = dict(**SEEN, image_size=SIDE, patch_size=8)
    config = t.MetaClip2Config(text_config=text, vision_config=vision, projection_dim=24)
    return t.MetaClip2Model(config), tokenizer, t.CLIPImageProcessor(**CROP)


def _unigrams(first: list[str], last: list[str]) -> list[tuple[str, float]]:
    words = [*first, "▁", *LETTERS, *("▁" + letter for letter in LETTERS), "▁dog", "▁a", *last]
    return [(word, -float(at % 9)) for at, word in enumerate(dict.fromkeys(words))]


def _siglip() -> tuple[Any, Any, Any]:
    import transformers as t

    tokenizer = _t5_like()
    text = dict(**TEXT, vocab_size=len(tokenizer), max_position_embeddings=64, pad_token_id=1, eos_token_id=1)
    vision = dict(**SEEN, image_size=SIDE, patch_size=8)
    config = t.SiglipConfig(text_config=text, vision_config=vision)
    return t.SiglipModel(config), tokenizer, t.SiglipImageProcessor(**SQUARE)


def _t5_like() -> Any:
    """The tokenizer of SigLIP as its folder on the hub has it: no mask, padded with the end."""
    import transformers as t
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    tokenizer = Tokenizer(models.Unigram(_unigrams(["<unk>", "</s>"], []), unk_id=0))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 1)])
    names = dict(unk_token="<unk>", eos_token="</s>", pad_token="</s>", model_max_length=64)
    return t.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names, model_input_names=["input_ids"])


def _siglip2() -> tuple[Any, Any, Any]:
    import transformers as t

    words = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁", *LETTERS]
    tokenizer = t.Siglip2Tokenizer({word: at for at, word in enumerate(words)}, [], model_max_length=64)
    text = dict(**TEXT, vocab_size=len(words), max_position_embeddings=64, pad_token_id=0, eos_token_id=1)
    vision = dict(**SEEN, patch_size=8, num_patches=16)
    processor = t.Siglip2ImageProcessor(patch_size=8, max_num_patches=16)
    return t.Siglip2Model(t.Siglip2Config(text_config=text, vision_config=vision)), tokenizer, processor


def _clap() -> tuple[Any, Any, Any]:
    import transformers as t

    tokenizer = t.RobertaTokenizer(_byte_vocabulary(["<s>", "<pad>", "</s>", "<unk>", "<mask>"]), [])
    audio = dict(
        patch_embeds_hidden_size=8,
        hidden_size=64,
        depths=[1, 1, 1, 1],
        num_attention_heads=[1, 1, 2, 2],
        num_mel_bins=64,
        spec_size=256,
    )
    text = dict(**TEXT, vocab_size=len(tokenizer), max_position_embeddings=42, pad_token_id=1)
    config = t.ClapConfig(text_config=text, audio_config=audio, projection_dim=16)
    return t.ClapModel(config), tokenizer, t.ClapFeatureExtractor(truncation="rand_trunc")


def _xclip() -> tuple[Any, Any, Any]:
    import transformers as t

    tokenizer = _clip_tokenizer()
    ids = dict(bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, vocab_size=len(tokenizer))
    vision = dict(**SEEN, image_size=SIDE, patch_size=8, num_frames=4, mit_hidden_size=24, mit_num_attention_heads=2)
    config = t.XCLIPConfig(
        text_config=dict(**TEXT, **ids),
        vision_config=dict(**vision, mit_intermediate_size=32),
        projection_dim=24,
        prompt_num_attention_heads=2,
    )
    return t.XCLIPModel(config), tokenizer, t.VideoMAEImageProcessor(**CROP)


def _videoprism() -> tuple[Any, Any, Any]:
    import transformers as t

    tokenizer = t.VideoPrismTokenizer(_unigrams(["<pad>", "</s>", "<unk>"], []), extra_ids=0, model_max_length=64)
    vision = dict(hidden_size=32, num_attention_heads=2, intermediate_size=48, image_size=SIDE, num_frames=4)
    layers = dict(num_spatial_layers=1, num_temporal_layers=1, num_auxiliary_layers=1, tubelet_size=[1, 8, 8])
    config = t.VideoPrismConfig(text_config=dict(**TEXT, vocab_size=len(tokenizer)), vision_config=vision | layers)
    return t.VideoPrismClipModel(config), tokenizer, _VideoSettings()


class _VideoSettings:
    """What the folder of a network for videos alone says of its pictures; its own processor wants torchvision."""

    def save_pretrained(self, folder: Path) -> None:
        import json

        settings = {**SQUARE, "do_normalize": False, "video_processor_type": "LlavaOnevisionVideoProcessor"}
        (folder / "video_preprocessor_config.json").write_text(json.dumps(settings))


KINDS = {
    "clip": _clip,
    "clip-old": lambda: _clip(True),
    "metaclip2": _metaclip2,
    "siglip": _siglip,
    "siglip2": _siglip2,
    "clap": _clap,
    "xclip": _xclip,
    "videoprism": _videoprism,
}
PICTURES = ["clip", "clip-old", "metaclip2", "siglip", "siglip2"]
CLIPS = ["xclip", "videoprism"]
SOUND = ["clap"]
