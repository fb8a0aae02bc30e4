"""Tiny dual encoders as `onnx:FOLDER`: graphs that a person would have exported, tokenizer and rules beside them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import tiny_duals


def save(root: Path, kind: str = "clip") -> Path:
    """The tiny dual encoder `kind` of pictures as image.onnx and text.onnx in `root`/`kind`-onnx."""
    import torch
    from transformers import AutoModel

    folder, source = root / f"{kind}-onnx", tiny_duals.save(kind, root)
    if folder.exists():
        return folder
    folder.mkdir()
    # What is no part of the traced module would be a constant of its graph, and constants learn nothing.
    model = AutoModel.from_pretrained(source).eval().requires_grad_(False)

    class Pictures(torch.nn.Module):
        def forward(self, pixel_values):
            return model.get_image_features(pixel_values=pixel_values).pooler_output

    class Texts(torch.nn.Module):
        def forward(self, input_ids, attention_mask):
            return model.get_text_features(input_ids=input_ids, attention_mask=attention_mask).pooler_output

    def export(network, arguments, name, inputs, output, axes):
        torch.onnx.export(
            network,
            arguments,
            str(folder / name),
            input_names=inputs,
            output_names=[output],
            dynamic_axes={**dict.fromkeys(inputs, axes), output: {0: "B"}},
            opset_version=17,
            dynamo=False,
        )

    with torch.no_grad():
        export(Pictures(), torch.zeros(1, 3, 32, 32), "image.onnx", ["pixel_values"], "image_embeds", {0: "B"})
        ids = torch.tensor([[7, 5, 1]])
        names = ["input_ids", "attention_mask"]
        export(Texts(), (ids, ids * 0 + 1), "text.onnx", names, "text_embeds", {0: "B", 1: "T"})
    shutil.copy(source / "tokenizer.json", folder)
    rules = {"max_tokens": 77, "pad_id": 513, "logit_scale": 100, "logit_bias": -1.5}
    (folder / "text.json").write_text(json.dumps(rules))
    (folder / "image.json").write_text(json.dumps({"size": 32, "mean": [0.5, 0.5, 0.5], "std": 0.25}))
    return folder
