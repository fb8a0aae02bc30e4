"""The demo's folder: what it holds, and whose it is, so that nothing of anybody else's is ever touched.

DIR/
  demo.json       which demo this is (seed, number of clips, renderer)
  clips/          the rendered clips
  .hcq/           the workspace that `hcq query -w` searches
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from hcq_cli.demo.clips import DemoClip
from hcq_cli.demo.grammar import captions
from hcq_cli.errors import DamagedError, UsageError
from hcq_cli.files import need_folder, read_regular, write_json, write_text
from hcq_cli.workspace import Workspace


@dataclass(frozen=True)
class Identity:
    """What decides every pixel of a demo.

    Args:
        videos: how many clips.
        seed: of everything random.
        renderer: version of the drawing, the sounds and the grammar.
    """

    videos: int
    seed: int
    renderer: str


@dataclass(frozen=True)
class DemoFolder:
    """The places in a demo's folder.

    Args:
        root: the folder.
    """

    root: Path

    @property
    def clips(self) -> Path:
        """Where the clips are."""
        return self.root / "clips"

    @property
    def workspace(self) -> Workspace:
        """What the verbs share."""
        return Workspace(self.root / ".hcq")

    def open(self, wanted: Identity, fresh: bool) -> None:
        """Make the folder this demo's, or see that it is.

        Args:
            wanted: the demo that is about to run.
            fresh: delete what an earlier demo left here.

        Raises:
            UsageError: it is somebody else's folder, or holds another demo.
            NotRegularError: its folder of clips is a link, through which files elsewhere would be replaced.
        """
        need_folder(self.clips)
        found = self._found()
        if found is not None and fresh:
            shutil.rmtree(self.clips, ignore_errors=True)
            shutil.rmtree(self.workspace.root, ignore_errors=True)
        elif found is not None and found != asdict(wanted):
            shown = ", ".join(f"{name} {value}" for name, value in found.items())
            raise UsageError(
                f"{self.root}: holds another demo ({shown})", "add --fresh to replace it, or name a folder"
            )
        elif found is None and self.root.exists() and (not self.root.is_dir() or any(self.root.iterdir())):
            raise UsageError(f"{self.root}: is there already and is no demo's folder", "hcq demo SOME-NEW-FOLDER")
        # First of all, so that a kill leaves a folder that is known as a demo's.
        write_json(self.root / "demo.json", asdict(wanted))
        self.clips.mkdir(exist_ok=True)

    def _found(self) -> dict[str, object] | None:
        try:
            found = json.loads(read_regular(self.root / "demo.json"))
        except (OSError, ValueError, DamagedError):
            return None
        return found if isinstance(found, dict) else None

    def write_captions(self, clips: Sequence[DemoClip], seed: int) -> Path:
        """Write what every clip shows, in words and (for whoever wants to count) as values."""
        lines = [{"video": s.file, "split": s.split, "captions": captions(s, seed), "shows": s.values} for s in clips]
        write_text(self.workspace.captions, "".join(json.dumps(line) + "\n" for line in lines))
        return self.workspace.captions
