"""When HCQ's codewords start anew, follow, or stay; and what the first epoch learns from."""

from __future__ import annotations

import pytest
import torch
from small_models import model

from hcq_cli.model.encoding import Encoded
from hcq_cli.training import recipe as recipes
from hcq_cli.training.losses import BatchEmbeddings, Pairs
from hcq_cli.training.method import HCQMethod


def method(*settings: str) -> HCQMethod:
    return HCQMethod(model().network, recipes.load("default", ["training.epochs=10", *settings]))


def vectors(count: int, seed: int = 0) -> torch.Tensor:
    drawn = torch.randn(count, 4, 32, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(drawn, dim=-1)


def moved(settings: tuple[str, ...], finished: int) -> tuple[bool, bool]:
    """Whether codewords moved after an epoch, and whether they forgot where they had been."""
    one, other = method(*settings), method(*settings)
    with torch.no_grad():
        other.network.quantizer.codewords.normal_(generator=torch.Generator().manual_seed(5))
    before = one.network.quantizer.codewords.clone()
    for each in (one, other):
        used = each.on_epoch_end(vectors(200), finished)
        assert used.active == 16 and 0 < used.share <= 100
    words = [each.network.quantizer.codewords for each in (one, other)]
    return not torch.equal(words[0], before), torch.equal(*words)


@pytest.mark.parametrize(
    ("settings", "finished", "wanted"),
    [
        (("codebook.refit=0",), 1, (True, True)),  # from random vectors: what was there before does not count
        (("codebook.refit=0",), 2, (True, False)),
        (("codebook.refit=0.5", "codebook.refit_every=2"), 4, (True, True)),
        (("codebook.refit=0.5", "codebook.refit_every=2"), 5, (True, False)),
        (("codebook.refit=0.5", "codebook.refit_every=2"), 6, (True, False)),
        (("codebook.refit=0", "codebook.until=0.5"), 6, (False, False)),
        (("codebook.refit=0", "codebook.update=gradient"), 2, (False, False)),
    ],
)
def test_when_codewords_move_and_when_they_start_anew(
    settings: tuple[str, ...], finished: int, wanted: tuple[bool, bool]
) -> None:
    assert moved(settings, finished) == wanted


def test_few_vectors_use_few_codewords_and_say_so() -> None:
    few = method()
    assert few.on_train_start(16) == [] and int(few.network.quantizer.active) == 16
    assert "5 training vectors are fewer than 16 codewords" in few.on_train_start(5)[0]
    assert int(few.network.quantizer.active) == 5


def test_the_first_epoch_is_dense_alone() -> None:
    trained = method()
    texts, videos = vectors(6, 1).requires_grad_(), vectors(6, 2).requires_grad_()
    pairs = Pairs(torch.arange(6), torch.arange(6))
    first, later = (trained.training_step(BatchEmbeddings(texts, videos), pairs, epoch) for epoch in (0, 5))
    with torch.no_grad():
        trained.network.quantizer.codewords.normal_()
    again, changed = (trained.training_step(BatchEmbeddings(texts, videos), pairs, epoch) for epoch in (0, 5))
    assert torch.equal(first.loss, again.loss) and not torch.equal(later.loss, changed.loss)


def test_the_last_fit_can_be_left_out() -> None:
    def embed(limit: int) -> Encoded:
        raise AssertionError("nothing is embedded")

    assert method("codebook.final=0").on_train_end(embed) is None
