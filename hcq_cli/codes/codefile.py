"""The code file: the uint8 codes of a collection with the codebooks they refer to, ids and paths.

Written once by `hcq encode` in bounded memory, then mapped: opening takes milliseconds whatever the size. It can
be searched as it is (`hcq query --codes FILE`) or indexed (`hcq index build`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hcq_cli.codes.container import Container, ContainerWriter, SectionWriter
from hcq_cli.errors import DamagedError, HcqError, sizes
from hcq_cli.files import digest_bytes
from hcq_cli.headers import FilePath, decode
from hcq_cli.packed_strings import PackedStrings

FORMAT = "hcq-codes"
REMEDY = "hcq encode"


@dataclass(frozen=True)
class CodeHeader:
    """Which model made the codes of a file, and how many there are of what. Raises ValueError if that makes no sense.

    Args:
        kind: "videos" or "texts".
        model_hash: of all weights and the config of the model that made them.
        checkpoint: folder of that model when the codes were made.
        levels: L+1, the coarse level and the fine ones.
        M: sub-codebooks a level.
        K: codewords a sub-codebook, at most 256.
        D: common width; d = D/M.
    """

    kind: str
    model_hash: str
    checkpoint: FilePath
    levels: int
    M: int
    K: int
    D: int

    def __post_init__(self) -> None:
        numbers = (self.levels, self.M, self.K, self.D)
        if min(numbers) < 1:
            raise ValueError(f"levels, M, K, D = {numbers} are not all positive numbers")
        if self.K > 256:
            raise ValueError(f"K = {self.K} codewords do not fit a byte")
        if self.D % self.M:
            raise ValueError(f"width {self.D} cannot be cut into {self.M} chunks")
        if self.kind not in ("videos", "texts"):
            raise ValueError(f"kind {self.kind!r} is neither videos nor texts")

    @property
    def S(self) -> int:
        """Sub-quantizers in all, (L+1)·M: bytes a video."""
        return self.levels * self.M

    @property
    def d(self) -> int:
        """Width of a chunk."""
        return self.D // self.M


def relative_to(checkpoint: str, folder: Path) -> str:
    """How to find a checkpoint from `folder`, for when both have moved together."""
    return os.path.relpath(Path(checkpoint).resolve(), folder.resolve())


def source_of(features: str, cutting: Mapping[str, Any], without: Iterable[str]) -> dict[str, Any]:
    """What a code file of videos notes of what it was made of; where another would note the same, none need be made.

    Args:
        features: `FeatureStore.digest`.
        cutting: how videos were cut into time segments, the fields of `Cutting`.
        without: ids of videos that were left out because they are removed from the collection.
    """
    left_out = b"\0".join(id.encode("utf-8", "surrogateescape") for id in sorted(without))
    return {"features": features, "cutting": dict(cutting), "without": digest_bytes(left_out)}


class NamesWriter:
    """Streams the ids and paths of a container's rows.

    Args:
        writer: gets two sections a column, bytes and offsets; open.
    """

    def __init__(self, writer: ContainerWriter) -> None:
        self._columns: dict[str, tuple[SectionWriter, SectionWriter]] = {}
        for name in ("ids", "paths"):
            blob, offsets = writer.section(name, "|u1"), writer.section(f"{name}_offsets", "<u8")
            offsets.write(np.zeros(1, np.uint64))
            self._columns[name] = (blob, offsets)

    def write(self, ids: PackedStrings, paths: PackedStrings) -> None:
        """Append as many ids as paths."""
        for name, strings in (("ids", ids), ("paths", paths)):
            blob, offsets = self._columns[name]
            # A batch counts its bytes from 0, the file goes on from what is written already.
            offsets.write(strings.offsets[1:] + np.uint64(blob.rows))
            blob.write(strings.blob)


def read_names(container: Container, name: str, rows: int) -> PackedStrings:
    """The ids or paths of a container that holds `rows` of them.

    Raises:
        DamagedError: not as many as rows.
    """
    strings = PackedStrings(container.map(name, "|u1"), container.map(f"{name}_offsets", "<u8"), str(container.path))
    if len(strings.offsets) != rows + 1:
        raise DamagedError(f"{container.path}: not as many {name} as its {rows} rows", container.remedy)
    return strings


class CodeWriter(ContainerWriter):
    """Streams a code file.

        with CodeWriter(path, header, codebooks, scale) as writer:
            for batch in batches:
                writer.append(ids, paths, codes)

    Args:
        path: of the code file.
        header: the model that made the codes, and their sizes.
        codebooks: float32 [S, K, d], s = level·M + m; unit codewords.
        scale: float32 [S]; a score is Σ_s scale[s] · ⟨chunk s of the query, codeword code[s]⟩.
        source: what the codes were made of, see `CodeFile.source`.
        drift: see `CodeFile.drift`.

    Raises:
        HcqError: the parts do not fit together.
    """

    def __init__(
        self,
        path: Path,
        header: CodeHeader,
        codebooks: np.ndarray,
        scale: np.ndarray,
        source: Mapping[str, Any] | None = None,
        *,
        drift: float | None = None,
    ) -> None:
        if problem := _misfit(header, codebooks, scale):
            raise HcqError(f"{path}: cannot write such codes: {problem}", "train a checkpoint anew: hcq train")
        self.header, self.videos, self._noted = header, 0, 0
        self._codebooks, self._scale = codebooks, scale
        meta = {
            **asdict(header),
            "checkpoint_relative": relative_to(header.checkpoint, path.parent),
            "source": dict(source or {}),
            **({} if drift is None else {"drift": drift}),
        }
        super().__init__(path, FORMAT, meta)

    def _begin(self) -> None:
        self.add("codebooks", self._codebooks, "<f4")
        self.add("scale", self._scale, "<f4")
        # Codes are by far the most: they go straight into the file, the rest is spooled beside it.
        self._codes = self.section("codes", "|u1", (self.header.S,), in_place=True)
        self._names = NamesWriter(self)
        self._batches = self.section("batches", "<u8", (3,))

    def append(self, ids: Sequence[str], paths: Sequence[str], codes: np.ndarray) -> None:
        """Write a batch: n ids, n absolute paths, uint8 codes [n, S].

        Raises:
            ValueError: not as many of each, or a code of K or more.
        """
        if not len(ids) == len(paths) == len(codes):
            raise ValueError(f"{len(ids)} ids, {len(paths)} paths, {len(codes)} rows of codes")
        if codes.dtype != np.uint8 or codes.max(initial=0) >= self.header.K:
            raise ValueError(f"codes must be uint8 below K = {self.header.K}")
        self._codes.write(codes)
        self._names.write(PackedStrings.of(ids), PackedStrings.of(paths))
        self.videos += len(ids)

    def end_batch(self, digest: bytes) -> None:
        """Note that the rows since the last call are of videos that were encoded together.

        Args:
            digest: of what they were made of, 16 bytes; see `CodeFile.encoded_batches`.
        """
        rows = np.uint64(self.videos - self._noted)
        self._batches.write(np.append(np.frombuffer(digest, "<u8"), rows)[None])
        self._noted = self.videos


def _misfit(header: CodeHeader, codebooks: np.ndarray, scale: np.ndarray) -> str:
    if codebooks.shape != (header.S, header.K, header.d):
        return f"codebooks of {sizes(codebooks.shape)}, the header says {sizes((header.S, header.K, header.d))}"
    if scale.shape != (header.S,):
        return f"scale of {sizes(scale.shape)}, the header says {header.S}"
    if not (np.isfinite(codebooks).all() and np.isfinite(scale).all()):
        return "codebooks or scale hold numbers that are not finite"
    return ""


class CodeFile:
    """An open code file.

    Args:
        container: of format `FORMAT`.

    Attributes:
        header: the model that made the codes, and their sizes.
        codebooks: float32 [S, K, d], verified.
        scale: float32 [S], verified.
        codes: uint8 [N, S], mapped, not verified until `verify`.
        ids: N lazy strings.
        paths: N lazy strings.
    """

    def __init__(self, container: Container) -> None:
        self._container, self.path = container, container.path
        self.header, self.codebooks, self.scale = read_quantizer(container)
        self.codes = container.map("codes", "|u1", (self.header.S,))
        self.ids = read_names(container, "ids", len(self.codes))
        self.paths = read_names(container, "paths", len(self.codes))

    def __len__(self) -> int:
        """N, rows; more than there are videos where those have time segments, too."""
        return len(self.codes)

    @property
    def checkpoints(self) -> list[Path]:
        """Where the model may lie: as seen from this file, then where it was."""
        # A workspace that was moved or copied as a whole has its model beside its codes.
        relative = self._container.meta.get("checkpoint_relative")
        beside = [self.path.parent / relative] if isinstance(relative, str) and relative else []
        return [*beside, Path(self.header.checkpoint)]

    @property
    def source(self) -> dict[str, Any]:
        """What the codes were made of, as `source_of` says it; empty in files of earlier versions."""
        source = self._container.meta.get("source")
        return source if isinstance(source, dict) else {}

    @property
    def drift(self) -> float | None:
        """How far these videos lie from those that the model was made of (`model.drift`).

        None where nobody knows: of few videos, of captions, and in files of earlier versions.
        """
        drift = self._container.meta.get("drift")
        return float(drift) if isinstance(drift, float | int) and 0 <= drift <= 1 else None

    @property
    def digest(self) -> str:
        """Of the file, as hex; known without reading it."""
        return self._container.digest

    def encoded_batches(self) -> dict[bytes, slice]:
        """Which rows were encoded together, by the digest of what they were made of (`model.video_batches`).

        Empty in files of earlier versions. Raises DamagedError where they are not all rows.
        """
        if "batches" not in self._container.sections:
            return {}
        noted = self._container.read("batches", "<u8", (3,))
        ends = np.cumsum(noted[:, 2])
        if len(noted) and (noted[:, 2].max() > len(self) or ends[-1] != len(self)):
            raise DamagedError(f"{self.path}: its batches are not its {len(self)} rows", REMEDY)
        starts = (ends - noted[:, 2]).tolist()
        return {
            digest.tobytes(): slice(*rows) for digest, *rows in zip(noted[:, :2], starts, ends.tolist(), strict=True)
        }

    def verify(self, progress: Callable[[int], None] = lambda _: None) -> None:
        """Check every byte. Raises DamagedError."""
        self._container.verify(progress)

    def batches(self, rows: int = 1 << 16) -> Iterator[tuple[np.ndarray, PackedStrings, PackedStrings]]:
        """Codes uint8 [n, S], ids and paths of `rows` videos at a time."""
        for start in range(0, len(self), rows):
            stop = min(start + rows, len(self))
            yield self.codes[start:stop], self.ids.part(start, stop), self.paths.part(start, stop)


def read_quantizer(container: Container) -> tuple[CodeHeader, np.ndarray, np.ndarray]:
    """The header, codebooks [S, K, d] and scale [S] of a container.

    Raises:
        DamagedError: they are damaged or do not fit together.
    """
    header = decode(CodeHeader, container.meta, container.path, container.remedy)
    codebooks = container.read("codebooks", "<f4", (header.K, header.d))
    scale = container.read("scale", "<f4")
    if problem := _misfit(header, codebooks, scale):
        raise DamagedError(f"{container.path}: {problem}", container.remedy)
    return header, codebooks, scale


def open_codes(path: Path) -> CodeFile:
    """Open a code file for reading.

    Raises:
        NotFoundError: no such file.
        DamagedError: damaged, truncated, foreign, or of a newer version.
    """
    return CodeFile(Container(Path(path), FORMAT, REMEDY))
