"""The look-up table of a query: what each codeword of each sub-quantizer adds to a video's score.

Scores are asymmetric distances (Jégou et al., PAMI 2011): the query stays a float vector, only videos are quantized.
With unit codewords the hybrid score of HCQ (Wang et al., WWW 2022, arXiv 2202.03384),
w_0·cos_coarse + (1-w_0)·mean_l cos_l, equals Σ_s table[s, code_s] exactly, so S look-ups rank a video and no float
vector of a video is ever rebuilt.
"""

from __future__ import annotations

import numpy as np

from hcq_cli.errors import HcqError


def tables(levels: np.ndarray, codebooks: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Tabulate the inner products of each query's chunks with the codewords.

    Args:
        levels: float32 [Q, L+1, D], each level L2-normalised.
        codebooks: float32 [S, K, d] unit codewords, s = level·M + m.
        scale: float32 [S], the weight of each sub-quantizer in the score.

    Returns:
        float32 [Q, S, K]; a query's table does not depend on the queries beside it.

    Raises:
        HcqError: they hold numbers that are not finite.
    """
    subquantizers, _, width = codebooks.shape
    chunks = np.ascontiguousarray(levels, np.float32).reshape(len(levels), subquantizers, width, 1)
    # One matrix-vector product each: a BLAS matrix product would round differently with the size of the batch.
    products = np.empty((len(chunks), *codebooks.shape[:2]), np.float32)
    for number, query in enumerate(chunks):
        products[number] = np.matmul(codebooks, query)[..., 0] * scale[:, None]
    if not np.isfinite(products).all():
        raise HcqError("a query's vector holds numbers that are not finite", "check the checkpoint: hcq eval")
    return products


def reconstruct_levels(codes: np.ndarray, codebooks: np.ndarray, levels: int) -> np.ndarray:
    """Rebuild the level vectors of videos from their codes, to search for what is most like them.

    Args:
        codes: uint8 [n, S].
        codebooks: float32 [S, K, d].
        levels: L+1.

    Returns:
        float32 [n, L+1, D], each level L2-normalised.
    """
    # Damaged codes of K or more are taken as the last codeword, as every kernel does.
    codes = np.minimum(codes, codebooks.shape[1] - 1)
    chunks = codebooks[np.arange(len(codebooks)), codes]
    # A level is M unit codewords side by side, so its norm is √M.
    return chunks.reshape(len(codes), levels, -1) / np.float32(np.sqrt(len(codebooks) // levels))
