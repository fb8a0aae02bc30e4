"""Which method trains which kind of model."""

from __future__ import annotations

from hcq_cli.model.hcq import HCQ, DualEncoder
from hcq_cli.model.siblings.dcmh import DCMH
from hcq_cli.model.siblings.jpq import JPQ
from hcq_cli.training.method import HCQMethod, Method
from hcq_cli.training.recipe import Recipe
from hcq_cli.training.siblings import DCMHMethod, HCTMethod, JPQMethod


def method(network: DualEncoder, recipe: Recipe) -> Method:
    """How `network` is trained: by its class; a network that is none of the others is HCT."""
    if isinstance(network, HCQ):
        return HCQMethod(network, recipe)
    if isinstance(network, JPQ):
        return JPQMethod(network, recipe)
    if isinstance(network, DCMH):
        return DCMHMethod(network, recipe)
    return HCTMethod(network, recipe)
