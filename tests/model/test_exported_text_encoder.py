"""The file of an exported text encoder: damage is named, and what it says of itself is checked."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_models import config, model

from hcq_cli.errors import DamagedError, HcqError, ReplacedError
from hcq_cli.model.export import export_text_encoder
from hcq_cli.model.exported_text_encoder import ExportedTextEncoder, TextEncoderHeader, TextReading

WHERE = Path("tower.hcq")


def test_damage_is_named(tmp_path: Path) -> None:
    path = tmp_path / "tower.hcq"
    export_text_encoder(model(), path)
    whole = path.read_bytes()
    for at in (70, len(whole) // 2, len(whole) - 5000, len(whole) - 3):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        with pytest.raises(DamagedError, match=r"tower\.hcq"):
            ExportedTextEncoder(path).verify()
    path.write_bytes(whole[:-9])
    with pytest.raises(DamagedError, match=r"tower\.hcq"):
        ExportedTextEncoder(path)
    path.write_bytes(whole)
    path.rename(tmp_path / "renamed.hcq")
    with pytest.raises(HcqError, match=r"renamed\.hcq.*cannot be run"):
        ExportedTextEncoder(tmp_path / "renamed.hcq", lasting=True).prepare()


def test_its_weights_are_checked_when_it_is_opened(tmp_path: Path) -> None:
    """They are small enough to be, and one changed bit of them would be a wrong answer that nobody notices."""
    path = tmp_path / "tower.hcq"
    export_text_encoder(model(), path)
    whole, weights = path.read_bytes(), ExportedTextEncoder(path).file.sections["weights"]
    for at in (weights.offset, weights.offset + weights.nbytes // 2, weights.offset + weights.nbytes - 1):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(DamagedError, match=r"tower\.hcq: section 'weights' is damaged"):
            ExportedTextEncoder(path).prepare()


def test_a_text_that_is_asked_for_again_is_not_encoded_again(tmp_path: Path) -> None:
    export_text_encoder(model(), path := tmp_path / "tower.hcq")
    encoder = ExportedTextEncoder(path)
    first, other = encoder.encode(["a dog"]), encoder.encode(["a red ball", "a dog"])
    assert encoder.encode(["a dog"]) is first and abs(other[1] - first[0]).max() < 1e-5
    assert abs(encoder.encode(["a red ball"]) - other[:1]).max() < 1e-5
    assert encoder.encode([]).shape == (0, *first.shape[1:])


def test_graph_and_weights_are_of_one_file(tmp_path: Path) -> None:
    """Another model's file comes under the same name between the two: nothing is mixed."""
    path = tmp_path / "tower.hcq"
    export_text_encoder(model(1), path)
    opened = ExportedTextEncoder(path)
    export_text_encoder(model(2), path)
    with pytest.raises(ReplacedError, match="was replaced while it was opened"):
        opened.prepare()
    path.unlink()
    with pytest.raises(ReplacedError, match="was replaced while it was opened"):
        opened.prepare()


def test_what_it_says_of_itself_is_checked() -> None:
    side = TextEncoderHeader("a" * 64, 4, 32, (TextReading(30, 0, 2),))
    assert TextEncoderHeader.from_json(side.to_json(), WHERE) == side
    for wrong in ({"levels": -1}, {"width": "x"}, {"precision": "int1"}, {"max_tokens": -3}, {"pad_left": 1}):
        with pytest.raises(DamagedError, match=next(iter(wrong))):
            TextEncoderHeader.from_json({**side.to_json(), **wrong}, WHERE)
    two = TextEncoderHeader("a" * 64, 4, 32, (TextReading(30, 0, 2), TextReading(64, 1, None, 64, True)))
    assert TextEncoderHeader.from_json(two.to_json(), WHERE) == two and two.to_json()["max_tokens"] == 30
    with pytest.raises(DamagedError, match="more"):
        TextEncoderHeader.from_json({**two.to_json(), "more": [{}]}, WHERE)
    assert config().text.max_tokens == 32
