"""Which network a configuration means."""

from __future__ import annotations

from hcq_cli.model.config import ModelConfig
from hcq_cli.model.hcq import HCQ, DualEncoder
from hcq_cli.model.siblings.dcmh import DCMH
from hcq_cli.model.siblings.hct import HCT
from hcq_cli.model.siblings.jpq import JPQ
from hcq_cli.model.text import TextEncoder

NETWORKS: dict[str, type[DualEncoder]] = {"hcq": HCQ, "hct": HCT, "jpq": JPQ, "dcmh": DCMH}


def build(config: ModelConfig, text_encoder: TextEncoder) -> DualEncoder:
    """The untrained network of `config.kind`."""
    return NETWORKS[config.kind](config, text_encoder)
