"""Tiny networks with random weights, of every kind that an expert takes, saved as a person would have them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

SEEN = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64)
SIDE = 32
CROP = {"size": {"shortest_edge": 36}, "crop_size": {"height": SIDE, "width": SIDE}}
TEXT = dict(
    hidden_size=32,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=32,
    vocab_size=50,
    bos_token_id=1,
    eos_token_id=2,
)


def save(kind: str, folder: Path) -> Path:
    """Make the network `kind` (a name in `KINDS`), the same numbers each time, in `folder`/`kind`."""
    import torch

    place = folder / kind
    if not place.exists():
        torch.manual_seed(sum(kind.encode()))
        model, preparing = KINDS[kind]()
        model.eval().save_pretrained(place)
        if preparing is not None:
            preparing.save_pretrained(place)
    return place


def _dinov2() -> tuple[Any, Any]:
    import transformers as t

    config = t.Dinov2Config(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=SIDE, patch_size=8)
    return t.Dinov2Model(config), t.BitImageProcessor(**CROP)


def _clip() -> tuple[Any, Any]:
    import transformers as t

    vision = dict(**SEEN, image_size=SIDE, patch_size=8)
    return t.CLIPModel(t.CLIPConfig(text_config=TEXT, vision_config=vision, projection_dim=24)), t.CLIPImageProcessor(
        **CROP
    )


def _siglip2() -> tuple[Any, Any]:
    import transformers as t

    vision = dict(**SEEN, image_size=SIDE, patch_size=8)
    processor = t.SiglipImageProcessor(size={"height": SIDE, "width": SIDE})
    return t.SiglipModel(t.SiglipConfig(text_config=TEXT, vision_config=vision)), processor


def _vit() -> tuple[Any, Any]:
    """Without a pooler, as many checkpoints of classifiers are."""
    import transformers as t

    config = t.ViTConfig(**SEEN, image_size=SIDE, patch_size=8)
    return t.ViTModel(config, add_pooling_layer=False), t.ViTImageProcessor(size={"height": SIDE, "width": SIDE})


def _named(*names: str) -> dict[str, Any]:
    return {"id2label": dict(enumerate(names)), "label2id": {name: at for at, name in enumerate(names)}}


def _classifier() -> tuple[Any, Any]:
    import transformers as t

    config = t.ViTConfig(**SEEN, image_size=SIDE, patch_size=8, **_named("dog, hound", "red ball", "pancake"))
    return t.ViTForImageClassification(config), t.ViTImageProcessor(size={"height": SIDE, "width": SIDE})


def _sound_classifier() -> tuple[Any, Any]:
    import transformers as t

    config = t.ASTConfig(**SEEN, max_length=1024, **_named("siren", "bell"))
    return t.ASTForAudioClassification(config), t.ASTFeatureExtractor()


def _actions(kind: str) -> tuple[Any, Any]:
    import transformers as t

    names, seen = _named("cooking", "playing guitar"), dict(**SEEN, image_size=SIDE, patch_size=8)
    if kind == "vivit":
        config = t.VivitConfig(**SEEN, image_size=SIDE, num_frames=4, tubelet_size=[2, 8, 8], **names)
        return t.VivitForVideoClassification(config), t.VivitImageProcessor(**CROP)
    if kind == "timesformer":
        model = t.TimesformerForVideoClassification(t.TimesformerConfig(**seen, num_frames=3, **names))
    else:
        model = t.VideoMAEForVideoClassification(t.VideoMAEConfig(**seen, num_frames=4, tubelet_size=2, **names))
    return model, t.VideoMAEImageProcessor(**CROP)


def _waves() -> tuple[Any, Any]:
    import transformers as t

    layers = dict(conv_dim=[16, 16], conv_kernel=[10, 8], conv_stride=[10, 8], num_feat_extract_layers=2)
    pooled = dict(num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2, classifier_proj_size=16)
    config = t.Wav2Vec2Config(**SEEN, **layers, **pooled, **_named("speech", "song", "noise"))
    return t.Wav2Vec2ForSequenceClassification(config), t.Wav2Vec2FeatureExtractor()


def _whisper_classifier() -> tuple[Any, Any]:
    import transformers as t

    config = _whisper_config(60, 3, 4)
    config.id2label, config.label2id = {0: "English", 1: "Welsh"}, {"English": 0, "Welsh": 1}
    return t.WhisperForAudioClassification(config), t.WhisperFeatureExtractor()


def _convnext() -> tuple[Any, Any]:
    import transformers as t

    config = t.ConvNextConfig(hidden_sizes=[8, 16, 24, 40], depths=[1, 1, 1, 1])
    return t.ConvNextModel(config), t.ViTImageProcessor(size={"height": 64, "width": 64})


def _videomae() -> tuple[Any, Any]:
    import transformers as t

    config = t.VideoMAEConfig(**SEEN, image_size=SIDE, patch_size=8, num_frames=4, tubelet_size=2)
    return t.VideoMAEModel(config), t.VideoMAEImageProcessor(**CROP)


def _timesformer() -> tuple[Any, Any]:
    import transformers as t

    config = t.TimesformerConfig(**SEEN, image_size=SIDE, patch_size=8, num_frames=3)
    return t.TimesformerModel(config), t.VideoMAEImageProcessor(**CROP)


def _vjepa2() -> tuple[Any, Any]:
    import transformers as t

    config = t.VJEPA2Config(
        hidden_size=48,
        num_hidden_layers=1,
        num_attention_heads=2,
        mlp_ratio=2,
        crop_size=SIDE,
        patch_size=8,
        frames_per_clip=6,
        tubelet_size=2,
        pred_hidden_size=48,
        pred_num_hidden_layers=1,
        pred_num_attention_heads=2,
    )
    return t.VJEPA2Model(config), t.VideoMAEImageProcessor(**CROP)


def _ast() -> tuple[Any, Any]:
    import transformers as t

    return t.ASTModel(t.ASTConfig(**SEEN, max_length=1024)), t.ASTFeatureExtractor()


def _clap(fusion: bool = False) -> tuple[Any, Any]:
    import transformers as t

    audio = dict(
        patch_embeds_hidden_size=8,
        hidden_size=64,
        depths=[1, 1, 1, 1],
        num_attention_heads=[1, 1, 2, 2],
        num_mel_bins=64,
        spec_size=256,
        enable_fusion=fusion,
    )
    config = t.ClapConfig(text_config=TEXT, audio_config=audio, projection_dim=16)
    return t.ClapModel(config), t.ClapFeatureExtractor(truncation="fusion" if fusion else "rand_trunc")


def _whisper() -> tuple[Any, Any]:
    import transformers as t

    return t.WhisperModel(_whisper_config(60, 3, 4)), t.WhisperFeatureExtractor()


def _whisper_config(vocabulary: int, end: int, start: int) -> Any:
    import transformers as t

    return t.WhisperConfig(
        d_model=32,
        encoder_layers=1,
        encoder_attention_heads=2,
        decoder_layers=1,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        vocab_size=vocabulary,
        pad_token_id=end,
        bos_token_id=end,
        eos_token_id=end,
        decoder_start_token_id=start,
        tie_word_embeddings=False,
    )


def _speech() -> tuple[Any, Any]:
    """Whisper with its head, a tokenizer of bytes, and all time marks."""
    import torch
    import transformers as t
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    specials = ["<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|translate|>", "<|transcribe|>"]
    specials += ["<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]
    marks = [f"<|{at * 0.02:.2f}|>" for at in range(1501)]
    tokenizer = Tokenizer(models.BPE({letter: at for at, letter in enumerate(letters)}, []))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(), decoders.ByteLevel()
    tokenizer.add_special_tokens(specials)
    tokenizer.add_tokens(marks)
    fast = t.WhisperTokenizerFast(tokenizer_object=tokenizer, eos_token=specials[0], bos_token=specials[0])
    at = {token: fast.convert_tokens_to_ids(token) for token in specials}
    config = _whisper_config(len(letters) + len(specials) + len(marks), at[specials[0]], at[specials[1]])
    model = t.WhisperForConditionalGeneration(config)
    with torch.no_grad():  # speak in small letters for a while, as random weights would not
        spoken = [letters.index(letter) for letter in "abcdefghij"]
        model.proj_out.weight[spoken] *= 8
    rules = model.generation_config
    rules._from_model_config = False  # what is set here counts
    rules.no_timestamps_token_id, rules.is_multilingual = at["<|notimestamps|>"], False
    rules.max_length, rules.eos_token_id, rules.decoder_start_token_id = 30, at[specials[0]], at[specials[1]]
    rules.max_initial_timestamp_index, rules.pad_token_id = 50, at[specials[0]]
    # Whisper's own numbers lie beyond this vocabulary, and CTranslate2 would write where they point to.
    rules.begin_suppress_tokens = [letters.index("Ġ"), at[specials[0]]]
    return model, t.WhisperProcessor(t.WhisperFeatureExtractor(), fast)


def _bert() -> tuple[Any, Any]:
    """A text encoder with its tokenizer."""
    import transformers as t

    from hcq_cli.model.tokenizer import word_piece

    words = word_piece(["a dog jumps over the red ball"], 200)
    marks = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    config = t.BertConfig(**SEEN, vocab_size=words.get_vocab_size(), max_position_embeddings=32)
    return t.BertModel(config), t.PreTrainedTokenizerFast(tokenizer_object=words, **marks)


KINDS = {
    "bert": _bert,
    "speech": _speech,
    "dinov2": _dinov2,
    "clip": _clip,
    "siglip2": _siglip2,
    "vit": _vit,
    "classifier": _classifier,
    "sound-classifier": _sound_classifier,
    "videomae-classifier": lambda: _actions("videomae"),
    "timesformer-classifier": lambda: _actions("timesformer"),
    "vivit-classifier": lambda: _actions("vivit"),
    "wave-classifier": _waves,
    "whisper-classifier": _whisper_classifier,
    "convnext": _convnext,
    "videomae": _videomae,
    "timesformer": _timesformer,
    "vjepa2": _vjepa2,
    "ast": _ast,
    "clap": _clap,
    "clap-fused": lambda: _clap(True),
    "whisper": _whisper,
}
APPEARANCE = ["dinov2", "clip", "siglip2", "vit", "convnext"]
MOTION = ["videomae", "timesformer", "vjepa2"]
AUDIO = ["ast", "clap", "clap-fused", "whisper"]


@cache
def expert_name(kind: str) -> str:
    """Which expert takes it."""
    return "appearance" if kind in APPEARANCE else "motion" if kind in MOTION else "audio"
