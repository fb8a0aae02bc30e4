"""Makes `filming` importable from the tests beside it and from the tests of the commands."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
