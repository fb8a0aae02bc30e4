"""What the manifest of an index says: which files a generation is made of, and what is in them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

from hcq_cli.codes.codefile import CodeHeader
from hcq_cli.files import plain_name
from hcq_cli.generations import Generations
from hcq_cli.headers import JSON, Count, Digest, FileName, between
from hcq_cli.model.confidence import ChanceScores

FORMAT, VERSION = "hcq-index", 1
REMEDY = "hcq index build"
NameOrNone = Annotated[Any, lambda name: plain_name(name) if name else ""]
"""The name of a file in the folder; empty for none."""


@dataclass(frozen=True)
class SegmentEntry:
    """What the manifest says of a segment.

    Args:
        file: its name.
        rows: dead ones included.
        removed: dead rows.
        tombstones: name of the file that lists them, or empty.
        items: videos, or captions, that the living rows are of; None in what an earlier hcq wrote.
        columns: name of the file of its columns, or empty; an earlier hcq wrote none.
        words: name of the table of their sentences, or empty.
        sentences: in that table.
        vectors: name of the file with the sentence vectors of some of them, or empty.
        telling: how many of them have one; None where that was not looked for.
    """

    file: FileName
    rows: Count = field(metadata={JSON: "videos"})  # the format is older than rows of time segments
    removed: Count = 0
    tombstones: NameOrNone = ""
    items: Count | None = None
    columns: NameOrNone = ""
    words: NameOrNone = ""
    sentences: Count = 0
    vectors: NameOrNone = ""
    telling: Count | None = None

    def __post_init__(self) -> None:
        if self.removed > self.rows or (self.items or 0) > self.rows - self.removed:
            raise ValueError(f"{self.removed} of {self.rows} rows are removed, {self.items} videos are left")

    @property
    def wants_vectors(self) -> bool:
        """Whether it has words of which nobody has seen if they tell something."""
        return bool(self.words and not self.vectors) and self.telling is None


@dataclass(frozen=True)
class TextEncoderEntry:
    """What the manifest says of the model's text encoder.

    Args:
        file: its name.
        precision: of its weights, one of `exported_text_encoder.PRECISIONS`.
        checked: what was measured against the model when it was exported (`model.export.Checked`).
    """

    file: FileName
    precision: str
    checked: dict[str, float]


@dataclass(frozen=True)
class IndexManifest:
    """The body of a manifest.

    Args:
        header: the model that made the codes, and their sizes.
        checkpoint_relative: the model's folder as seen from the index folder.
        quantizer: name of the file with codebooks and scale.
        segments: in the order of their rows.
        ivf: name of the file with the inverted lists that all segments lie by, or empty.
        text_encoder: the exported text encoder of the model, if there is one.
        digests: of the files, by name (`Container.digest`); empty in what an earlier hcq wrote.
        sources: the code files that it was made of, as seen from the index folder, each with its digest; empty in
            what an earlier hcq wrote.
        chance: chance scores in its living rows; None where the model has none, and in what an earlier hcq wrote.
        own_columns: name of the file with the user's own columns, which new videos are joined with, or empty.
        drift: of the same code files those that know it (`CodeFile.drift`).
        words_of: the same code files, each with the digest of what the words of its videos were read from.
    """

    header: CodeHeader
    checkpoint_relative: str
    quantizer: FileName
    segments: tuple[SegmentEntry, ...]
    # The format's own names are older than the code's.
    ivf: NameOrNone = field(default="", metadata={JSON: "partition"})
    text_encoder: TextEncoderEntry | None = field(default=None, metadata={JSON: "tower"})
    digests: dict[str, Digest] = field(default_factory=dict)
    sources: dict[str, Digest] = field(default_factory=dict)
    own_columns: NameOrNone = ""
    chance: ChanceScores | None = None
    words_of: dict[str, Digest] = field(default_factory=dict)
    drift: dict[str, Annotated[float, between(0, 1)]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As the manifest holds it."""
        document = asdict(self)
        for entry in document["segments"]:
            entry["videos"] = entry.pop("rows")
        document["partition"], document["tower"] = document.pop("ivf"), document.pop("text_encoder")
        return document

    def files(self) -> list[str]:
        """Every file the generation is made of."""
        parts = [
            name
            for entry in self.segments
            for name in (entry.file, entry.tombstones, entry.columns, entry.words, entry.vectors)
            if name
        ]
        shared = [self.quantizer, self.ivf, self.text_encoder.file if self.text_encoder else "", self.own_columns]
        return [*filter(None, shared), *parts]


def generations(folder: Path) -> Generations:
    """The manifests of an index folder."""
    return Generations(folder, FORMAT, VERSION, REMEDY)
