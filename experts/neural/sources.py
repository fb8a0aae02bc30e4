"""Which networks the preset `neural` takes, and what is known of the ones worth naming.

No revision is pinned here: none could be checked against the hub where this was written, and an invented one would be
worse than none. `hcq models fetch` resolves `main` once, writes the commit it found into the lock (lock.py), and
extraction uses exactly that commit until it is fetched anew; the commit is part of the identity of every feature.

Chosen so that anyone may use them: DINOv2 and V-JEPA 2 for what is seen, AST for what is heard. V-JEPA 2 is heavy
without a GPU; VideoMAE is a quarter of the work, and not for commercial use.
"""

from __future__ import annotations

PRESET: dict[str, str] = {
    "appearance": "facebook/dinov2-base",
    "motion": "facebook/vjepa2-vitl-fpc64-256",
    "audio": "MIT/ast-finetuned-audioset-10-10-0.4593",
}
"""The experts of the preset `neural`, in the order in which they are run."""

ON_REQUEST: dict[str, str] = {
    "face": "opencv/face_detection_yunet+opencv/face_recognition_sface",
    "speech": "openai/whisper-base",
}
"""Further experts that are networks and take this source if none is given. Faces are biometric data: never in a
preset, only where a person asks for them by name."""

SHORT_IDS: dict[str, str] = {
    "albert-base-v2": "albert/albert-base-v2",
    "bert-base-cased": "google-bert/bert-base-cased",
    "bert-base-uncased": "google-bert/bert-base-uncased",
    "bert-large-cased": "google-bert/bert-large-cased",
    "bert-large-uncased": "google-bert/bert-large-uncased",
    "distilbert-base-cased": "distilbert/distilbert-base-cased",
    "distilbert-base-uncased": "distilbert/distilbert-base-uncased",
    "roberta-base": "FacebookAI/roberta-base",
    "roberta-large": "FacebookAI/roberta-large",
    "xlm-roberta-base": "FacebookAI/xlm-roberta-base",
    "xlnet-base-cased": "xlnet/xlnet-base-cased",
    "xlnet-large-cased": "xlnet/xlnet-large-cased",
}
"""Text encoders that papers name without an owner, and what the hub calls them now."""

LICENCES: dict[str, str] = {
    "facebook/dinov2-small": "Apache-2.0",
    "facebook/dinov2-base": "Apache-2.0",
    "facebook/dinov2-large": "Apache-2.0",
    "openai/clip-vit-base-patch32": "MIT",
    "google/siglip2-base-patch16-224": "Apache-2.0",
    "facebook/vjepa2-vitl-fpc64-256": "MIT",
    "MCG-NJU/videomae-base": "CC-BY-NC-4.0",
    "facebook/timesformer-base-finetuned-k400": "CC-BY-NC-4.0",
    "MIT/ast-finetuned-audioset-10-10-0.4593": "BSD-3-Clause",
    "laion/clap-htsat-unfused": "Apache-2.0",
    "openai/whisper-base": "Apache-2.0",
    "opencv/face_detection_yunet": "MIT",
    "opencv/face_recognition_sface": "Apache-2.0",
}
"""Licence of the weights, as their authors state it; the model card on the hub has the last word."""


def default_source(name: str) -> str | None:
    """The network that the expert `name` takes if none is given; None if it is no network."""
    return PRESET.get(name) or ON_REQUEST.get(name)
