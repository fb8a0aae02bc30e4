"""Video→text and video→video from outside: real clips, real experts, a model of random weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import run_hcq
from concept_features import sentence_encoder
from followed_folder import FollowedFolder
from handmade import names, random_codes, write_codes
from in_process import run_here
from loaded_modules import NETWORKS, loaded_by
from tiny_classifiers import colour_classifier, loudness_classifier

from hcq_cli.codes.codefile import open_codes
from hcq_cli.errors import EXIT_NOT_FOUND
from hcq_cli.search.video_query import encode_video

Run = Callable[..., Any]
SENTENCES = ["a man cooking", "a dog in the snow", "two people dance", "red ball", "the sound of rain"]
EXPERTS = ["appearance", "audio"]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, clips: Path) -> Path:
    """Features of six clips at 2 frames a second, a checkpoint that knows them, both code files and both indexes."""
    root = tmp_path_factory.mktemp("ws") / ".hcq"

    def run(*arguments: str) -> None:
        run_hcq(*arguments, "-w", root, cwd=root.parent)

    run("extract", str(clips), "--experts", ",".join(EXPERTS), "--sample-fps", "2")
    save_checkpoint(root)
    run("encode")
    run("index", "build")
    captions = [{"video": f"clip{n}.mp4", "caption": line} for n, line in enumerate(SENTENCES)]
    (root / "captions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in captions))
    run("encode", "--texts", str(root / "captions.jsonl"))
    run("index", "build", str(root / "texts.hcq"))
    return root


def save_checkpoint(root: Path, seed: int = 0, folder: str = "model", **identities: str) -> None:
    import torch

    from hcq_cli.features.store import FeatureStore
    from hcq_cli.model import checkpoint, text
    from hcq_cli.model.config import ExpertConfig, ModelConfig, QuantizerConfig, TextConfig, VideoConfig
    from hcq_cli.model.hcq import HCQ

    torch.manual_seed(seed)
    known = FeatureStore.open(root / "features").experts
    config = ModelConfig(
        width=32,
        levels=3,
        text=TextConfig(layers=1, heads=2, width=32, ffn=32),
        video=VideoConfig(layers=1, heads=2, ffn=32),
        quantizer=QuantizerConfig(codebooks=4, codewords=32),
        experts={n: ExpertConfig(known[n].dim, identities.get(n, known[n].identity)) for n in EXPERTS},
    )
    caption_encoder = text.build(config.text, SENTENCES)
    checkpoint.save(root / folder, HCQ(config, caption_encoder.transformer), caption_encoder)


def float_scores(root: Path, codes: str, row: int) -> dict[str, float]:
    """The hybrid score of the dense levels of a stored video with each coded item, from float codewords."""
    from hcq_cli.datasets.batches import collate
    from hcq_cli.features.store import FeatureStore
    from hcq_cli.model.checkpoint import load

    model, store = load(root / "model"), FeatureStore.open(root / "features")
    levels = model.encode_videos(collate(store.read([row], EXPERTS), 30))[0]
    file, scores = open_codes(root / codes), {}
    for at, name in enumerate(file.ids):
        item = np.concatenate([file.codebooks[s, code] for s, code in enumerate(file.codes[at])]).reshape(4, 32)
        cosines = (levels * item).sum(1) / np.linalg.norm(levels, axis=1) / np.linalg.norm(item, axis=1)
        scores[name] = 0.25 * cosines[0] + 0.75 * cosines[1:].mean()
    return scores


def stored_levels(root: Path, name: str) -> np.ndarray:
    """The vectors of a video whose features are stored."""
    from hcq_cli.datasets.batches import collate
    from hcq_cli.features.store import FeatureStore
    from hcq_cli.model.video_side import open_video_encoder

    model, store = open_video_encoder(root / "model"), FeatureStore.open(root / "features")
    tokens = store.read([store.row(name)], list(model.config.experts))
    return model.encode_video_queries(collate(tokens, model.config.video.max_tokens))


def test_neither_encoding_nor_a_video_as_a_query_loads_torch(workspace: Path, clips: Path) -> None:
    modules, out = loaded_by(["encode", "-o", "again.hcq"], workspace.parent)
    assert "onnxruntime" in modules and not modules & NETWORKS
    again, codes = (open_codes(path) for path in (workspace.parent / "again.hcq", workspace / "codes.hcq"))
    assert list(again.ids) == list(codes.ids) and (again.codes == codes.codes).all()
    clip = next(path for path in sorted(clips.iterdir()) if path.suffix == ".mp4")
    modules, out = loaded_by(["query", "--video", str(clip), "--json"], workspace.parent)
    assert "onnxruntime" in modules and not modules & NETWORKS
    assert json.loads(out)["hits"][0]["score"] > 0


def test_sentences_that_fit_a_video(hcq: Run, workspace: Path, clips: Path) -> None:
    from hcq_cli.features.store import FeatureStore

    found = hcq("query", "-w", workspace, "--video", clips / "clip2.mp4", "--find", "texts", "--json").json
    assert found["video"] == str(clips / "clip2.mp4") and found["videos_searched"] == len(SENTENCES)
    assert found["ms"]["extract"] > 0
    row = FeatureStore.open(workspace / "features").row("clip2.mp4")
    assert row is not None
    wanted = float_scores(workspace, "texts.hcq", row)
    assert [hit["id"] for hit in found["hits"]] == sorted(wanted, key=lambda name: -wanted[name])
    assert max(abs(hit["score"] - wanted[hit["id"]]) for hit in found["hits"]) < 1e-5
    assert {hit["text"] for hit in found["hits"]} == set(SENTENCES)
    shown = hcq("query", "-w", workspace, "--video", clips / "clip2.mp4", "--find", "texts", "-k", "1")
    assert found["hits"][0]["text"] in shown.out and "texts searched" in shown.err


def test_videos_like_a_file_or_an_id(hcq: Run, workspace: Path, clips: Path, tmp_path: Path) -> None:
    from hcq_cli.features.store import FeatureStore

    copy = tmp_path / "somewhere else.mp4"
    copy.write_bytes((clips / "clip3.mp4").read_bytes())
    hits = hcq("query", "-w", workspace, "--video", copy, "--json").json["hits"]
    row = FeatureStore.open(workspace / "features").row("clip3.mp4")
    assert row is not None
    wanted = float_scores(workspace, "codes.hcq", row)
    assert [hit["id"] for hit in hits] == sorted(wanted, key=lambda name: -wanted[name])
    assert max(abs(hit["score"] - wanted[hit["id"]]) for hit in hits) < 1e-5
    by_id = hcq("query", "-w", workspace, "--like", "clip3.mp4", "--find", "texts", "--json").json
    assert by_id["find"] == "texts" and len(by_id["hits"]) == len(SENTENCES)
    caption = by_id["hits"][0]["id"]
    back = hcq("query", "-w", workspace, "--like", caption, "--find", "videos", "--json").json["hits"]
    score = next(hit["score"] for hit in back if hit["id"] == "clip3.mp4")
    assert score == pytest.approx(by_id["hits"][0]["score"], abs=1e-6)
    others = hcq("query", "-w", workspace, "--like", caption, "--find", "texts", "--json").json["hits"]
    assert caption not in [hit["id"] for hit in others] and len(others) == len(SENTENCES) - 1


def test_a_picture_is_a_video_of_one_frame(
    hcq: Run, workspace: Path, kept: Path, clips: Path, tmp_path: Path
) -> None:
    import av

    with av.open(str(clips / "clip3.mp4")) as opened:
        next(opened.decode(video=0)).to_image().save(tmp_path / "photo.jpg")
    found = hcq("query", "-w", workspace, "--image", "photo.jpg", "--json").json
    assert found["image"] == "photo.jpg" and "video" not in found and len(found["hits"]) == 6
    assert hcq("query", "-w", workspace, "--video", "photo.jpg", "--json").json["hits"] == found["hits"]
    # A model that knows motion and sound alone has nothing to see in it.
    refused = hcq("query", "-w", kept, "--image", "photo.jpg", code=1).err
    assert "nothing in it that the model's experts see or hear" in refused


def test_texts_find_texts_with_the_text_side_of_the_videos(hcq: Run, workspace: Path) -> None:
    hits = hcq("query", "-w", workspace, "red ball", "--find", "texts", "--json").json["hits"]
    assert hits[0]["text"] == "red ball"


def test_what_is_missing_or_does_not_fit(hcq: Run, workspace: Path, clips: Path, tmp_path: Path) -> None:
    video, ask = clips / "clip0.mp4", ["query", "-w", workspace, "--video"]
    write_codes(tmp_path / "new" / "codes.hcq", names(3), random_codes(3))
    missing = hcq("query", "-w", "new", "--video", video, "--find", "texts", "--json", code=10).json
    assert "hcq encode --texts" in missing["hint"] and "hcq index build new/texts.hcq" in missing["hint"]
    assert "holds videos" in hcq(*ask, video, "--find", "texts", "--index", workspace / "index", code=2).err
    assert "no such file" in hcq(*ask, "nowhere.mp4", code=10).err
    assert "is a folder" in hcq(*ask, clips, code=2).err
    (tmp_path / "junk.mp4").write_bytes(b"no video at all")
    assert "junk.mp4" in hcq(*ask, tmp_path / "junk.mp4", code=1).err
    hcq(*ask, video, "--find", "sounds", code=2)
    hcq(*ask, video, "--like", "clip0.mp4", code=2)


def test_another_model_or_other_experts_are_refused(hcq: Run, workspace: Path, clips: Path, tmp_path: Path) -> None:
    save_checkpoint(workspace, seed=1, folder="other")
    ask = ["query", "-w", workspace, "--video", clips / "clip0.mp4"]
    assert "holds codes of model" in hcq(*ask, "--ckpt", workspace / "other", code=4).err
    save_checkpoint(workspace, folder="older", audio="audio|0.1||frames_per_second=None|")
    hcq("encode", "-w", workspace, "--ckpt", workspace / "older", "-o", tmp_path / "older.hcq")
    refused = hcq(*ask, "--codes", tmp_path / "older.hcq", code=2).err
    assert "trained on audio features" in refused and "audio|0.1" in refused
    assert "no expert 'smell'" in hcq(*ask, "--experts", "smell=x", code=2).err


def test_the_experts_of_a_fitted_model_are_found_where_it_was_made_of_files(tmp_path: Path) -> None:
    files = [colour_classifier(tmp_path), loudness_classifier(tmp_path)]
    for file, lines in zip(files, ("red\ndog\nball\n", "over\njumps\n"), strict=True):
        file.with_suffix(".labels.txt").write_text(lines, "utf-8")
    FollowedFolder(tmp_path).add("in/a.mp4", "in/b.mp4", "in/c.mp4")
    sources = ["--concepts", ",".join(f"onnx:{file}" for file in reversed(files))]
    at = ("-w", tmp_path / "w")
    run_here("find", tmp_path / "in", "dog", *sources, "--text-encoder", sentence_encoder(tmp_path), *at, "--json")
    asked = ["query", "--video", tmp_path / "in" / "c.mp4", *at]
    found = run_here(*asked, "--json").json["hits"]
    assert len(found) == 3
    assert encode_video(tmp_path / "w/model", tmp_path / "in/c.mp4").levels == pytest.approx(
        stored_levels(tmp_path / "w", "c.mp4"), abs=1e-6
    )
    moved = files[0].rename(tmp_path / "moved.onnx")
    said = run_here(*asked, code=EXIT_NOT_FOUND).err
    assert "its objects features is not there any more" in said and "--experts objects=SOURCE" in said
    moved.with_suffix(".labels.txt").write_text("red\ndog\nball\n", "utf-8")
    named = run_here(*asked, "--experts", f"objects=onnx:{moved}", "--json").json["hits"]
    assert named == found


@pytest.mark.long
def test_long_videos_in_stretches(hcq: Run, workspace: Path, tmp_path: Path) -> None:
    codes, index = tmp_path / "stretches.hcq", tmp_path / "stretches"
    done = hcq("encode", "-w", workspace, "--segment-s", "1", "-o", codes, "--json").json
    assert (done["videos"], done["moments"]) == (6, 9)  # 1.6, 1.8 and 2.0 s are longer than a window and a half
    hcq("index", "build", codes, "--index", index)
    hits = hcq("query", "-w", workspace, "--index", index, "red ball", "--json").json["hits"]
    assert len(hits) == 6 and [hit["rank"] for hit in hits] == list(range(1, 7))
    assert len({hit["path"] for hit in hits}) == 6, "each video once"
    whole = next(hit for hit in hits if hit["id"] == "clip0.mp4")
    assert "time_s" not in whole
    cut = next(hit for hit in hits if hit["id"] == "clip5.mp4")
    assert cut["segment"].startswith("clip5.mp4#t=") and cut["start_s"] <= cut["time_s"] in (0.0, 0.5, 1.0)
    assert cut["time_s"] < cut["end_s"] <= 2.1
    moments = hcq("query", "-w", workspace, "--index", index, "red ball", "--by", "segment", "--json").json["hits"]
    assert [hit["id"] for hit in moments].count("clip5.mp4") >= 1 and len(moments) >= 6
    ask = ["query", "-w", workspace, "--index", index, "red ball", "-k", "2", "--save-clips", tmp_path / "clips"]
    saved = hcq(*ask, "--json").json["clips"]
    assert [clip["rank"] for clip in saved] == [1, 2] and all(Path(clip["path"]).is_file() for clip in saved)
    assert "clip " in hcq(*ask).err and len(list((tmp_path / "clips").iterdir())) == 4
    assert "for one query" in hcq("query", "-w", workspace, "-", "--save-clips", tmp_path, code=2).err
    assert "there are 2 hits" in hcq(*ask[:-2], "--open", "3", code=2).err
    assert "video or segment" in hcq("query", "-w", workspace, "red ball", "--by", "frame", code=2).err
    like = hcq("query", "-w", workspace, "--index", index, "--like", cut["segment"], "--json", "-k", "9").json["hits"]
    assert len(like) == 5 and not any(hit["path"].endswith("clip5.mp4") for hit in like)
    top = hcq("query", "-w", workspace, "--index", index, "red ball", "--json", "-k", "3").json["hits"]
    assert top == hits[:3]
    whole = hcq("query", "-w", workspace, "--index", index, "--like", "clip5.mp4", "--json", "-k", "9").json["hits"]
    assert len(whole) == 5 and not any(hit["path"].endswith("clip5.mp4") for hit in whole)
    wrong = hcq("query", "-w", workspace, "--index", index, "--like", "Clip5.mp4#t=0,9", "--json", code=10).json
    assert "'clip5.mp4'" in wrong["error"] and wrong["hint"] == "hcq query --like clip5.mp4"
    assert hcq("index", "remove", "clip5.mp4", "clip0.mp4", "--index", index, "--json").json["removed"] == 5
    info = hcq("index", "info", "--index", index, "--json").json
    assert (info["videos"], info["rows"], info["moments"]) == (4, 10, 6)
    anew = hcq("encode", "-w", workspace, "--segment-s", "1.1", "-o", codes, "--json").json["codes_written"]
    change = hcq("index", "add", codes, "--index", index, "--json").json
    assert (change["removed"], change["rows"], change["videos"]) == (10, anew, 6), (
        "no moment of an earlier cut is left"
    )
    hcq("encode", "-w", workspace, "-o", codes)
    change = hcq("index", "add", codes, "--index", index, "--json").json
    assert (change["removed"], change["videos"]) == (anew, 6)
    assert hcq("index", "info", "--index", index, "--json").json["moments"] == 0
    hits = hcq("query", "-w", workspace, "--index", index, "red ball", "--json").json["hits"]
    assert sorted(hit["id"] for hit in hits) == [f"clip{n}.mp4" for n in range(6)]
    hcq("encode", "-w", workspace, "--segment-s", "5", "--texts", workspace / "captions.jsonl", code=2)
