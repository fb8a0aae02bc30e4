"""A small dual encoder that has learned something: CLIP's two towers, trained on the demo's captioned clips."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from hcq_cli.demo.clips import DemoClip, compose
from hcq_cli.demo.grammar import captions
from hcq_cli.demo.render import draw_frames

SIDE, SEED, CLIPS = 64, 5, 240
STEPS, BATCH = 200, 64
FRAMES = 10
SHAPE = dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=2, intermediate_size=128)


def frames(clip: DemoClip, count: int = 3) -> np.ndarray:
    """A few frames of a clip, uint8 [count, height, width, 3]."""
    drawn = list(draw_frames(clip, np.random.default_rng([SEED, clip.number]), FRAMES))
    return np.stack([drawn[at] for at in np.linspace(0, FRAMES - 1, count).astype(int)])


def pictures(clip: DemoClip) -> np.ndarray:
    """Frames as the processor of the network would have them: float32 [3, 3, SIDE, SIDE]."""
    small = [cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for frame in frames(clip)]
    return ((np.stack(small).astype(np.float32) / 255 - 0.5) / 0.25).transpose(0, 3, 1, 2)


def tokenizer(sentences: list[str]) -> Any:
    """CLIP's kind of tokenizer, with the words of some sentences."""
    from tokenizers import trainers
    from transformers import CLIPTokenizer

    marks = ["<|startoftext|>", "<|endoftext|>"]
    learner = CLIPTokenizer().backend_tokenizer
    how = dict(vocab_size=900, end_of_word_suffix="</w>", special_tokens=marks, show_progress=False)
    trainer = trainers.BpeTrainer(**how)
    learner.train_from_iterator(sentences, trainer)
    model = json.loads(learner.to_str())["model"]
    return CLIPTokenizer(model["vocab"], [tuple(pair) for pair in model["merges"]], model_max_length=77)


def train(folder: Path) -> Path:
    """Train it and save it as `save_pretrained` does; the same numbers each time on one machine."""
    import torch
    import transformers as t

    torch.manual_seed(SEED)
    shown = [clip for clip in compose(CLIPS, SEED) if clip.split == "train"]
    said = [captions(clip, SEED) for clip in shown]
    words = tokenizer([sentence for each in said for sentence in each])
    text = dict(vocab_size=len(words), bos_token_id=words.bos_token_id, eos_token_id=words.eos_token_id)
    config = t.CLIPConfig(
        text_config=SHAPE | text,
        vision_config=SHAPE | dict(image_size=SIDE, patch_size=16),
        projection_dim=64,
    )
    model = t.CLIPModel(config)
    pixels = torch.from_numpy(np.stack([pictures(clip) for clip in shown]))
    ids = [[words(sentence)["input_ids"] for sentence in each] for each in said]
    optimizer, rng = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=0.05), np.random.default_rng(SEED)
    plan = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.5e-3, STEPS, pct_start=0.1)
    for _ in range(STEPS):
        chosen = rng.choice(len(shown), BATCH, replace=False)
        rows = [ids[at][rng.integers(len(ids[at]))] for at in chosen]
        padded = torch.full((BATCH, max(map(len, rows))), words.pad_token_id)
        for at, row in enumerate(rows):
            padded[at, : len(row)] = torch.tensor(row)
        looked = pixels[chosen, rng.integers(pixels.shape[1])]
        loss = model(input_ids=padded, pixel_values=looked, return_loss=True).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        plan.step()
    model.eval().save_pretrained(folder)
    words.save_pretrained(folder)
    mean, std = [0.5] * 3, [0.25] * 3
    square = {"height": SIDE, "width": SIDE}
    t.CLIPImageProcessor(size=square, do_center_crop=False, image_mean=mean, image_std=std).save_pretrained(folder)
    return folder
