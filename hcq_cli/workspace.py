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

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Workspace:
    """The default places of everything the five verbs hand to each other.

    Args:
        root: the workspace folder (`-w`, `HCQ_WORKSPACE`, default `.hcq`).
    """

    root: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", Path(self.root))  # frozen, and a program may give text

    @property
    def features(self) -> Path:
        """The feature store folder."""
        return self.root / "features"

    @property
    def model(self) -> Path:
        """The checkpoint folder."""
        return self.root / "model"

    @property
    def codes(self) -> Path:
        """The code file of the videos."""
        return self.root / "codes.hcq"

    @property
    def texts(self) -> Path:
        """The code file of the captions."""
        return self.root / "texts.hcq"

    @property
    def index(self) -> Path:
        """The index folder."""
        return self.root / "index"

    @property
    def texts_index(self) -> Path:
        """The index folder of the captions."""
        return self.root / "texts-index"

    @property
    def captions(self) -> Path:
        """The captions that `hcq train` falls back to."""
        return self.root / "captions.jsonl"
