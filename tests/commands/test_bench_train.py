"""`hcq bench train` and `hcq bench encode` on shapes small enough to be over at once."""

import pytest

SMALL = ["--set", "model.width=32", "--set", "text.width=32", "--set", "quantizer.codebooks=4"]
SHAPES = ["--experts", "look:8,sound:6", "--tokens", "3", "--rounds", "2", "--threads", "1"]


@pytest.mark.long
def test_both_print_what_the_model_costs_beside_its_encoders(hcq) -> None:
    shown = hcq("bench", "train", *SMALL, "--set", "training.batch_size=8", *SHAPES, "--words", "5", "--json").json
    assert shown["batch_size"] == 8 and shown["whole_s"] > 0 and shown["bare_s"] > 0
    assert shown["videos_per_second"] > 0 and shown["ratio"] > 0
    told = hcq("bench", "encode", *SMALL, *SHAPES, "--batch-size", "4")
    assert "times the bare video encoder" in told.out and "4 videos" in told.out


def test_experts_that_make_no_sense_are_named(hcq) -> None:
    done = hcq("bench", "encode", "--experts", "look", code=2)
    assert "'look'" in done.err and "NAME:DIM" in done.err
