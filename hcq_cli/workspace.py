"""Where things live by default, so that the verbs need no paths.

.hcq/
  features/      the feature store           (hcq extract)
  model/         the checkpoint folder       (hcq train, or without captions hcq fit), with those it has replaced in
                 earlier/
  codes.hcq      the code file of the videos (hcq encode)
  texts.hcq      the code file of captions   (hcq encode --texts)
  index/         the searchable index        (hcq index build)
  texts-index/   the index of captions       (hcq index build .hcq/texts.hcq)
  captions.jsonl captions a command left here (hcq demo)
  duplicates.json what hcq dedupe found last
  evaluation.json what hcq eval measured last
"""

from __future__ import annotations

import re
from os import PathLike, fspath
from pathlib import Path

from hcq_cli.errors import UsageError

ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/")


def is_address(place: str | PathLike[str]) -> bool:
    """Whether a place is an address of fsspec (s3://bucket/ws), and no folder; also one that `Path` has shortened."""
    return ADDRESS.match(fspath(place)) is not None


class Workspace:
    """The default places of everything that the verbs hand to each other; none of them need be there.

    Args:
        root: the workspace folder (`-w`, `HCQ_WORKSPACE`, default `.hcq`).

    Attributes:
        features: the feature store folder.
        model: the checkpoint folder.
        codes, texts: the code files of the videos and of the captions.
        index, texts_index: the index folders of the videos and of the captions.
        captions: the captions that `hcq train` falls back to.
        duplicates, evaluation: what `hcq dedupe` found and `hcq eval` measured last.

    Raises:
        UsageError: it is an address.
    """

    def __init__(self, root: str | PathLike[str]) -> None:
        if is_address(root):
            raise UsageError(f"{root}: is an address, no folder", "with hcq.mirrored(ADDRESS) as workspace: …")
        self.root = Path(root)
        self.features = self.root / "features"
        self.model = self.root / "model"
        self.codes = self.root / "codes.hcq"
        self.texts = self.root / "texts.hcq"
        self.index = self.root / "index"
        self.texts_index = self.root / "texts-index"
        self.captions = self.root / "captions.jsonl"
        self.duplicates = self.root / "duplicates.json"
        self.evaluation = self.root / "evaluation.json"

    def has(self, part: Path) -> bool:
        """Whether features, model, codes or index are there, by the names of their files; they may be damaged."""
        names = {self.features: ["manifest-*.json"], self.model: ["config.json", "next/config.json"]}
        names |= {self.index: ["manifest-*.json"]}
        return part.is_file() if part == self.codes else any(any(part.glob(name)) for name in names[part])

    def step_towards(self, part: Path) -> str:
        """The first command that is still to be run for features, model, codes or index to be there."""
        if part == self.index:
            return "hcq index build" if self.has(self.codes) else self.step_towards(self.codes)
        if not self.has(self.features):
            return "hcq extract VIDEOS"
        if part == self.model or not self.has(self.model):
            resume = (self.model / "resume").is_dir()
            return "hcq train --resume" if resume else "hcq train --captions captions.jsonl"
        return "hcq encode"

    def __repr__(self) -> str:
        return f"Workspace({str(self.root)!r})"
