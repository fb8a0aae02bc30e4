"""Checks the experts that are networks with their real weights, on a machine that can reach the hub.

    python examples/check_real_weights.py                                fetches and checks all that are listed below
    python examples/check_real_weights.py audio=laion/clap-htsat-unfused only this one
    python examples/check_real_weights.py appearance=/data/my-network    a folder of one's own; nothing is fetched
    python examples/check_real_weights.py laptop                         a preset, and the model made of it

It draws two of the demo's clips, with the face of a person or without, runs each network on them, and checks the
width of the vectors, how many there are and when, that each clip is more like itself than like the other, and, where
a network compares with words, that each clip is nearest to its own (of a dual encoder by the text side that hcq fit
writes), or, where its classes have names, that there are as many. Of the dual encoders and classifiers asked for it
then makes one model, as hcq find does, and asks it for each clip; without a dual encoder it tells the answers only,
since a drawn clip is none that a classifier has learned. A line for each; exit code 1 if one is wrong.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from experts.base import Clip, Expert, State, Tokens
from experts.neural.classes import hub_class_names
from experts.neural.hub import ON_REQUEST
from experts.neural.weights import WeightsError, locate
from experts.registry import load, presets, split_source
from hcq_cli.api.finding import make_searchable
from hcq_cli.api.searching import Searcher
from hcq_cli.demo.clips import DemoClip
from hcq_cli.demo.render import render_clip
from hcq_cli.errors import HcqError
from hcq_cli.extraction.pipeline import extract_video
from hcq_cli.fitting.dual import write_dual_text
from hcq_cli.media.decoder import decoders_for
from hcq_cli.model.exported_text_encoder import ExportedTextEncoder
from hcq_cli.weights import fetch, networks_asked_for
from hcq_cli.workspace import Workspace

WIDTHS = {
    "appearance=facebook/dinov2-base": 768,
    "appearance=openai/clip-vit-base-patch32": 512,
    "appearance=google/siglip2-base-patch16-224": 768,
    "motion=facebook/vjepa2-vitl-fpc64-256": 1024,
    "motion=MCG-NJU/videomae-base": 768,
    "motion=facebook/timesformer-base-finetuned-k400": 768,
    "audio=MIT/ast-finetuned-audioset-10-10-0.4593": 768,
    "audio=laion/clap-htsat-unfused": 512,
    "audio=openai/whisper-base": 512,
    f"face={ON_REQUEST['face']}": 128,
    "dual=openai/clip-vit-base-patch32": 512,
    "dual=google/siglip-base-patch16-224": 768,
    "dual=google/siglip2-base-patch16-224": 768,
    "dual=google/siglip2-base-patch16-naflex": 768,
    "dual=google/siglip2-so400m-patch14-384": 1152,
    "dual=facebook/metaclip-2-worldwide-huge-quickgelu": 1024,
    "dual=microsoft/xclip-base-patch32": 512,
    "dual=google/videoprism-lvt-base-f16r288": 768,
    "dual=laion/clap-htsat-unfused": 512,
    "dual=sentence-transformers/clip-ViT-B-32": 512,
    "objects=microsoft/resnet-18": 1000,
    "objects=MCG-NJU/videomae-base-finetuned-kinetics": 400,
    "objects=facebook/timesformer-base-finetuned-k400": 400,
    "objects=google/vivit-b-16x2-kinetics400": 400,
    "sounds=MIT/ast-finetuned-audioset-10-10-0.4593": 527,
    "sounds=superb/wav2vec2-base-superb-ks": 12,
    "sounds=sanchit-gandhi/whisper-medium-fleurs-lang-id": 102,
}
"""Every network that is checked, and how wide its vectors are."""
SECONDS = 3.0
NIGHT = {"object": "ball", "colour": "red", "motion": "right", "background": "night", "sound": "siren"}
MEADOW = {"object": "star", "colour": "yellow", "motion": "spin", "background": "meadow", "sound": "bark"}
SCENES = [DemoClip(0, "test", NIGHT | {"person": "nobody"}), DemoClip(1, "test", MEADOW | {"person": "bearded man"})]
SEEN = ["a red ball in the night sky", "a yellow star on a green meadow"]
HEARD = ["the sound of a siren", "the sound of a barking dog"]


def look(expert: Expert, paths: list[Path]) -> list[Tokens]:
    """The tokens of each clip."""
    found = [extract_video(str(path), [expert], decoders_for("auto")) for path in paths]
    for each in found:
        if each.error or each.warnings:
            raise SystemExit(f"{expert.name}: {each.error or each.warnings[0].message}")
    return [each.tokens[expert.name] for each in found]


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors [..., D] brought to length 1."""
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def faults(ask: str, expert: Expert, tokens: list[Tokens]) -> Iterator[str]:
    """What is wrong; nothing if all is well."""
    name, source = split_source(ask)
    width = WIDTHS.get(ask, expert.dim)
    if name == "face":
        if tokens[1].state is State.TOKENS and tokens[1].features.shape[1] != width:
            yield f"vectors are {tokens[1].features.shape[1]} wide, not {width}"
        return  # the demo's faces are drawn: whether a network takes them for faces is no promise
    for clip, each in enumerate(tokens):
        if each.state is not State.TOKENS:
            yield f"clip {clip} gave no vector: {each.state}"
            return
        if each.features.shape[1] != width:
            yield f"vectors are {each.features.shape[1]} wide, not {width}"
        if name == "appearance" and each.times.tolist() != [0.0, 1.0, 2.0]:
            yield f"clip {clip} has frames at {each.times.tolist()}, not at 0, 1 and 2 s"
        if (np.diff(each.times) <= 0).any() or each.times[0] < 0 or each.times[-1] > SECONDS:
            yield f"clip {clip} has times {each.times.tolist()}"
    within = min(float((unit(each.features) @ unit(each.features).T).mean()) for each in tokens)
    across = float((unit(tokens[0].features) @ unit(tokens[1].features).T).mean())
    if within <= across:
        yield f"a clip is less like itself ({within:.3f}) than like the other ({across:.3f})"
    yield from wrong_words(name, source, tokens)


def wrong_words(name: str, source: str, tokens: list[Tokens]) -> Iterator[str]:
    """For a network that compares with words: whether each clip is nearest to its own."""
    if name.startswith("dual"):
        yield from wrong_texts(source, tokens)
        return
    if name in ("objects", "sounds") and not source.startswith("onnx:"):
        names = hub_class_names(locate(source))
        if len(names) != tokens[0].features.shape[1]:
            yield f"{len(names)} names for {tokens[0].features.shape[1]} classes"
        return
    kind = next((kind for kind in ("clip", "siglip", "clap") if kind in source.split("/")[-1]), None)
    if kind is None or Path(source).is_dir():
        return
    import torch
    from transformers import AutoModel, AutoProcessor

    from experts.neural.foreign import from_folder, network_from_folder

    folder = locate(source).folder
    words = HEARD if name == "audio" else SEEN
    padding = "max_length" if kind == "siglip" else True
    inputs = from_folder(AutoProcessor, folder)(text=words, padding=padding, return_tensors="pt")
    with torch.inference_mode():
        found = network_from_folder(AutoModel, folder).get_text_features(**inputs)
    texts = unit(getattr(found, "pooler_output", found).numpy())
    nearest = (unit(np.stack([each.features.mean(0) for each in tokens])) @ texts.T).argmax(1).tolist()
    if nearest != [0, 1]:
        yield f"the clips are nearest to {[words[at] for at in nearest]}"


def wrong_texts(source: str, tokens: list[Tokens]) -> Iterator[str]:
    """For a dual encoder: whether what hcq fit writes to read texts puts each clip nearest to its own words."""
    words = HEARD if load([f"dual={source}"])[0].sampling.audio_hz else SEEN
    with tempfile.TemporaryDirectory() as folder:
        text = write_dual_text(source, Path(folder) / "text.hcq")
        texts = ExportedTextEncoder(text.path).encode(words)[:, 0]
    print(f"      reads as the network to {text.deviation:.1g}; logit scale {text.scale}, bias {text.bias}")
    if texts.shape[1] != tokens[0].features.shape[1]:
        yield f"texts are {texts.shape[1]} wide"
        return
    nearest = (unit(np.stack([unit(each.features).mean(0) for each in tokens])) @ texts.T).argmax(1).tolist()
    if nearest != [0, 1] and not Path(source).is_dir():
        yield f"the clips are nearest to {[words[at] for at in nearest]}"


def check(ask: str, paths: list[Path]) -> bool:
    """Fetch a network if it is one of the hub, run it, tell; whether all is well."""
    source = split_source(ask)[1]
    if not Path(source).exists() and not source.startswith("onnx:"):
        for hub in networks_asked_for([source] if "+" not in source else source.split("+")):
            fetch(hub, print)
    expert = load([ask])[0]
    begun = time.monotonic()
    expert.prepare("auto")
    loaded_s = time.monotonic() - begun
    expert.extract(Clip(0.0, 1.0, False, False))
    begun = time.monotonic()
    tokens = look(expert, paths)
    wrong = list(faults(ask, expert, tokens))
    counts = ", ".join(f"{len(each)} × {each.features.shape[1]}" for each in tokens)
    ran_s = time.monotonic() - begun
    print(f"{'WRONG' if wrong else 'ok':6}{ask}: {counts}, loaded in {loaded_s:.1f} s, ran {ran_s:.1f} s")
    for line in wrong:
        print(f"      {line}")
    return not wrong


def check_model(asks: list[str], folder: Path, place: Path) -> bool:
    """Make one model of dual encoders and classifiers, as `hcq find` does, and ask it for each clip."""
    sources = [split_source(ask) for ask in asks]
    dual = [source for name, source in sources if name.startswith("dual")]
    concepts = [source for name, source in sources if name.startswith(("objects", "sounds"))]
    seen = any(not load([f"dual={source}"])[0].sampling.audio_hz for source in dual)
    workspace, words = Workspace(place), SEEN if seen or not dual else HEARD
    begun = time.monotonic()
    made = make_searchable(workspace, folder, concepts=concepts, dual=dual, workers=1).fitted
    assert made is not None
    searcher = Searcher(workspace)
    best = [searcher.text(each, k=1).hits[0].id for each in words]
    right = best == [scene.file for scene in SCENES]
    wrong = bool(dual) and not right and not any(Path(source).is_dir() for source in dual)
    found = ", ".join(f"{each!r}: {id}" for each, id in zip(words, best, strict=True))
    took_s = time.monotonic() - begun
    print(f"{'WRONG' if wrong else 'ok':6}a model of {', '.join(made.experts)}: {found}; {took_s:.1f} s in all")
    return not wrong


def main(asks: list[str]) -> int:
    """Check the experts asked for, or all; the exit code: 0 if all are well."""
    well = []
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / scene.file for scene in SCENES]
        for scene, path in zip(SCENES, paths, strict=True):
            render_clip(scene, 0, path)
        together = [presets.get(each, [each]) for each in asks]
        named = [ask for each in together for ask in each]
        well += [check(ask, paths) for ask in named or WIDTHS]
        models = together if any(each in presets for each in asks) else [named]
        for at, each in enumerate(models):
            if fitting := [ask for ask in each if ask.startswith(("dual", "objects", "sounds"))]:
                with tempfile.TemporaryDirectory() as place:
                    well.append(check_model(fitting, Path(folder), Path(place) / str(at)))
    return 0 if all(well) else 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (HcqError, WeightsError) as error:
        sys.exit(f"{error}\n→ {error.hint}")
