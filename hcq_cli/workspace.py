"""Where things live by default, so that the five verbs need no paths.

.hcq/
  features/      the feature store           (hcq extract)
  model/         the checkpoint folder       (hcq train)
  codes.hcq      the code file of the videos (hcq encode)
  texts.hcq      the code file of captions   (hcq encode --texts)
  index/         the searchable index        (hcq index build)
  texts-index/   the index of captions       (hcq index build .hcq/texts.hcq)
  captions.jsonl captions a command left here (hcq demo)
"""

from __future__ import annotations

from os import PathLike
from pathlib import Path


class Workspace:
    """The default places of everything the five verbs hand to each other; none of them need be there.

    Args:
        root: the workspace folder (`-w`, `HCQ_WORKSPACE`, default `.hcq`).

    Attributes:
        features: the feature store folder.
        model: the checkpoint folder.
        codes, texts: the code files of the videos and of the captions.
        index, texts_index: the index folders of the videos and of the captions.
        captions: the captions that `hcq train` falls back to.
    """

    def __init__(self, root: str | PathLike[str]) -> None:
        self.root = Path(root)
        self.features = self.root / "features"
        self.model = self.root / "model"
        self.codes = self.root / "codes.hcq"
        self.texts = self.root / "texts.hcq"
        self.index = self.root / "index"
        self.texts_index = self.root / "texts-index"
        self.captions = self.root / "captions.jsonl"

    def next_step(self) -> str:
        """The command that makes the first of what a query needs and is not there yet; that of a query otherwise.

        Only names are looked at: what is there may be damaged, or older than what it was made from.
        """
        resume = " --resume" if (self.model / "resume").is_dir() else " --captions captions.jsonl"
        steps = [
            (["features/manifest-*.json"], "hcq extract VIDEOS"),
            (["model/config.json", "model/next/config.json"], f"hcq train{resume}"),
            (["codes.hcq"], "hcq encode"),
            (["index/manifest-*.json"], "hcq index build"),
        ]
        missing = (step for names, step in steps if not any(any(self.root.glob(name)) for name in names))
        return next(missing, 'hcq query "a man cooking"')

    def __repr__(self) -> str:
        return f"Workspace({str(self.root)!r})"
