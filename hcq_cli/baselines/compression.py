"""Post-compression: the dense vectors of a trained model brought to so many bytes afterwards, by Faiss.

What a user could do instead of learning the quantizers with the encoders. Every method is fitted a level at a time on
the levels of training texts and videos together, codes the items, and leaves the queries dense (asymmetric), exactly
as the model's own codes are searched.

Measured on HCT's vectors of a generated set of 2,500 videos at 64 bytes: bringing what PQ and OPQ decode to unit
length again is worth about one point of R@1, dense queries against the signs of ITQ four.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hcq_cli.errors import HcqError, UsageError, needing
from hcq_cli.evaluation.retrieval import RecallPoint, RetrievalMetrics, both_directions
from hcq_cli.evaluation.scores import DenseScores
from hcq_cli.model.encoding import Encoded

Matrix = NDArray[np.float32]
"""float32 [n, D], or as wide as a method's queries and items are."""

KMEANS_ITERATIONS = 25
OPQ_ITERATIONS = 20
OPQ_KMEANS_ITERATIONS = 4
ITQ_ITERATIONS = 50
LSQ_ITERATIONS = 5
"""More fit the training vectors better and others worse: there are no more than a few thousand of them."""
LSQ_SEARCHES = 16


@dataclass(frozen=True)
class FittedMethod:
    """A method fitted on one level; a score is the inner product of what the two give.

    Args:
        queries: float32 [Q, D] → [Q, F], dense.
        items: float32 [N, D] → [N, F], what its code of `code_bytes` bytes says of each.
    """

    queries: Callable[[Matrix], Matrix]
    items: Callable[[Matrix], Matrix]


@dataclass(frozen=True)
class CompressionResult:
    """How the vectors retrieve after compression.

    Args:
        method: its name.
        bytes_per_video: of the codes.
        metrics: text-to-video with videos as codes, video-to-text with texts as codes.
        seconds: to fit and to code.
    """

    method: str
    bytes_per_video: int
    metrics: RetrievalMetrics
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        facts = {"method": self.method, "bytes_per_video": self.bytes_per_video}
        return {**facts, **self.metrics.to_dict(), "seconds": round(self.seconds, 2)}

    def point(self) -> RecallPoint:
        """As it stands beside the model's own codes in a table or a picture."""
        return RecallPoint(f"dense + {self.method}", self.bytes_per_video, self.metrics)


def parse_methods(listed: str) -> list[str]:
    """The methods that a comma-separated list names.

    Raises:
        UsageError: one of them is not known.
    """
    names = [name.strip().lower() for name in listed.split(",") if name.strip()]
    for name in names:
        if name not in METHODS:
            raise UsageError(f"--compress {name}: known are {', '.join(METHODS)}", "hcq eval --compress opq")
    if not names:
        raise UsageError(f"--compress names no method; known are {', '.join(METHODS)}", "hcq eval --compress opq")
    return list(dict.fromkeys(names))


def require_faiss() -> Any:
    """The faiss module.

    Raises:
        NotFoundError: it is not installed.
    """
    with needing("faiss, which compresses, is not installed", "faiss"):
        import faiss
    return faiss


def compress(
    train: NDArray[np.float32],
    test: Encoded,
    weights: Sequence[float],
    method: str,
    bytes_per_video: int,
    seed: int = 0,
) -> CompressionResult:
    """Fit one method, code the test set with it, and retrieve both ways.

    Args:
        train: float32 [n, L+1, D], dense vectors of training texts and videos, each level L2-normalised.
        test: the dense vectors of the test set.
        weights: of the L+1 levels in the score.
        method: one of `METHODS`.
        bytes_per_video: a multiple of L+1; every level gets the same.
        seed: of all randomness of the method.

    Raises:
        NotFoundError: Faiss is not installed.
        HcqError: the method cannot make such codes of such vectors; the message says why.
    """
    require_faiss()
    started, levels = time.monotonic(), train.shape[1]
    if bytes_per_video < levels or bytes_per_video % levels:
        raise UsageError(f"{bytes_per_video} bytes cannot be shared out evenly to {levels} levels")
    if len(train) < 2:
        raise HcqError(f"{method}: there are no two training vectors to fit it on", "hcq eval without --compress")
    queries: dict[str, list[Matrix]] = {"texts": [], "videos": []}
    items: dict[str, list[Matrix]] = {"texts": [], "videos": []}
    for level in range(levels):
        # Faiss reads plain pointers: what it is given must be contiguous, which a level of [n, L+1, D] is not.
        own, texts, videos = (np.ascontiguousarray(x[:, level], np.float32) for x in (train, test.texts, test.videos))
        fitted = METHODS[method](own, bytes_per_video // levels, seed + level)
        for side, vectors in (("texts", texts), ("videos", videos)):
            queries[side].append(fitted.queries(vectors))
            items[side].append(_unit(fitted.items(vectors)))
    t2v = DenseScores(np.stack(queries["texts"], 1), np.stack(items["videos"], 1), weights)
    v2t = DenseScores(np.stack(queries["videos"], 1), np.stack(items["texts"], 1), weights)
    seconds = time.monotonic() - started
    return CompressionResult(method, bytes_per_video, both_directions(t2v, v2t, test.owner), seconds)


def _unit(x: Matrix) -> Matrix:
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), np.float32(1e-12))


def _signs(x: Matrix) -> Matrix:
    return np.where(x > 0, np.float32(1), np.float32(-1))


def _bits(train: Matrix) -> int:
    """Bits a code: 8, or fewer where there are fewer vectors than 256 codewords; it takes a byte all the same."""
    return min(8, int(np.log2(len(train))))


def lsh(train: Matrix, code_bytes: int, seed: int) -> FittedMethod:
    """Locality-sensitive hashing: signs after a random rotation (Charikar, STOC 2002).

    The rotation is orthogonal as far as there are dimensions.
    """
    faiss = require_faiss()
    rotation = faiss.RandomRotationMatrix(train.shape[1], 8 * code_bytes)
    rotation.init(seed + 1)
    return FittedMethod(rotation.apply, lambda x: _signs(rotation.apply(x)))


def itq(train: Matrix, code_bytes: int, seed: int) -> FittedMethod:
    """Iterative quantization: principal axes, rotated so that the signs lose least (Gong and Lazebnik, CVPR 2011)."""
    faiss, bits = require_faiss(), 8 * code_bytes
    if bits > min(train.shape):
        raise HcqError(
            f"itq makes at most one bit a dimension: {bits} bits a level of {train.shape[1]} dimensions "
            f"and {len(train)} training vectors are too many",
            "leave itq out, or compress to fewer bytes",
        )
    transform = faiss.ITQTransform(train.shape[1], bits, True)
    # By itself Faiss trains on a sample of the vectors; here all take part, as in every other method.
    transform.max_train_per_dim = max(transform.max_train_per_dim, -(-len(train) // train.shape[1]))
    transform.itq.max_iter, transform.itq.seed = ITQ_ITERATIONS, seed + 1
    transform.train(train)
    return FittedMethod(transform.apply, lambda x: _signs(transform.apply(x)))


def pq(train: Matrix, code_bytes: int, seed: int) -> FittedMethod:
    """A product quantizer of `code_bytes` sub-codebooks, by k-means (Jégou et al., TPAMI 2011)."""
    quantizer = _product_quantizer(train, code_bytes, seed)
    quantizer.train(train)
    return FittedMethod(lambda x: x, lambda x: quantizer.decode(quantizer.compute_codes(x)))


def opq(train: Matrix, code_bytes: int, seed: int) -> FittedMethod:
    """A product quantizer after a learned rotation (Ge et al., CVPR 2013), trained in turn."""
    faiss = require_faiss()
    if len(train) < train.shape[1]:
        # Faiss does not refuse such a set: it would write beyond its memory.
        raise HcqError(
            f"opq needs a training vector a dimension: {len(train)} are too few for {train.shape[1]}",
            "leave opq out, or train on more captions",
        )
    rotation, inside = faiss.OPQMatrix(train.shape[1], code_bytes), _product_quantizer(train, code_bytes, seed)
    rotation.pq, rotation.max_train_points = inside, len(train)
    rotation.niter, rotation.niter_pq, rotation.niter_pq_0 = OPQ_ITERATIONS, OPQ_KMEANS_ITERATIONS, KMEANS_ITERATIONS
    rotation.train(train)
    # Faiss holds a bare pointer to `inside` and Python owns it: without this a freed quantizer would be reached.
    rotation.pq = None
    # What was learned inside belongs to an earlier rotation and few iterations: the codewords are fitted once more.
    last = pq(rotation.apply(train), code_bytes, seed)
    return FittedMethod(rotation.apply, lambda x: last.items(rotation.apply(x)))


def lsq(train: Matrix, code_bytes: int, seed: int) -> FittedMethod:
    """Local search quantization: a sum of `code_bytes` codewords (Martinez et al., ECCV 2016 and 2018).

    A level at a time is all it can take: its memory grows with the square of sub-codebooks times codewords.
    """
    faiss = require_faiss()
    quantizer = faiss.LocalSearchQuantizer(train.shape[1], code_bytes, _bits(train))
    quantizer.random_seed = seed + 1
    quantizer.train_iters, quantizer.encode_ils_iters = LSQ_ITERATIONS, LSQ_SEARCHES
    quantizer.train(train)
    return FittedMethod(lambda x: x, lambda x: quantizer.decode(quantizer.compute_codes(x)))


def _product_quantizer(train: Matrix, code_bytes: int, seed: int) -> Any:
    faiss = require_faiss()
    if train.shape[1] % code_bytes:
        raise HcqError(
            f"{code_bytes} bytes a level do not divide its {train.shape[1]} dimensions", "compress to other bytes"
        )
    quantizer = faiss.ProductQuantizer(train.shape[1], code_bytes, _bits(train))
    quantizer.cp.niter, quantizer.cp.seed = KMEANS_ITERATIONS, seed + 1
    # Every vector takes part; that there are few of them for so many codewords is known.
    quantizer.cp.min_points_per_centroid, quantizer.cp.max_points_per_centroid = 1, len(train)
    return quantizer


METHODS: dict[str, Callable[[Matrix, int, int], FittedMethod]] = {
    "lsh": lsh,
    "itq": itq,
    "pq": pq,
    "opq": opq,
    "lsq": lsq,
}
"""By the name that `--compress` knows: training vectors of a level, bytes a code, seed → the method, fitted."""
