"""Codes of a trained model, made as many as a measurement wants."""

from __future__ import annotations

import numpy as np
from handmade import quantizer, random_codes

from hcq_cli.bench.synthetic_codes import NEAREST, extend, neighbours


def test_new_videos_are_old_ones_with_near_codewords() -> None:
    codebooks, _ = quantizer()
    codebooks = codebooks * np.linspace(0.2, 3, codebooks.shape[1], dtype=np.float32)[:, None]  # as after a rotation
    codes, near = random_codes(50), neighbours(codebooks)
    distances = np.linalg.norm(codebooks[:, :, None] - codebooks[:, None], axis=3)
    for s, k in [(0, 0), (3, 7), (7, 15)]:
        others = [other for other in np.argsort(distances[s, k]).tolist() if other != k]
        assert near[s, k].tolist() == others[:NEAREST]
    made = np.concatenate(list(extend(codes, codebooks, 3000)))
    assert made.shape == (3000, codes.shape[1])
    assert np.array_equal(made[:50], codes)
    columns, changed = np.arange(codes.shape[1]), []
    for row in made[50:]:
        kept = codes == row
        possible = (kept | (near[columns, codes] == row[:, None]).any(2)).all(1)  # sources it can come from
        assert possible.any()
        changed.append((~kept[possible]).mean(1).min())
    assert 0.4 < np.mean(changed) < 0.6
    assert np.array_equal(np.concatenate(list(extend(codes, codebooks, 20))), codes[:20])
