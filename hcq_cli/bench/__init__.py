"""Measurements: how fast a search is on this machine and what it is compared with; what extraction and a model cost.

`search`, `synthetic_codes` and `faiss_engines` time searches; `model_cost` times a training step and the encoding of
videos beside the bare encoders. `extraction` times a whole extraction beside decoding alone. All give dataclasses
of figures, which `hcq bench` prints.
"""
