"""A process that renders clips: `python -P -m hcq_cli.demo.child`; render.py starts several.

Over stdin it is given one JSON document: seed, folder, and the scenes as [number, split, values]. Over stdout it
tells one JSON line a finished clip: {"clip"}, or {"error"} and ends.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import cv2

from hcq_cli.demo.clips import DemoClip
from hcq_cli.demo.render import render_clip


def main() -> None:
    """Render what is asked for."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt ends
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # nobody listens any more: the parent is gone
    told = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a library prints
    cv2.setNumThreads(1)
    asked = json.load(sys.stdin)
    for scene in (DemoClip(*fields) for fields in asked["scenes"]):
        try:
            render_clip(scene, asked["seed"], Path(asked["folder"]) / scene.file)
        except Exception as error:
            reason = (
                error.strerror
                if isinstance(error, OSError) and error.strerror
                else f"{type(error).__name__}: {error}"
            )
            told.write(json.dumps({"error": f"{scene.file}: {reason}"}) + "\n")
            sys.exit(1)
        told.write(json.dumps({"clip": scene.file}) + "\n")


if __name__ == "__main__":
    main()
