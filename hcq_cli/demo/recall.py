"""Recall of the demo: every test caption against the codes of the test clips, its own clip the only right one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hcq_cli.codes.codefile import CodeFile
from hcq_cli.demo.clips import DemoClip
from hcq_cli.evaluation.metrics import Metrics, summarise, text_to_video_ranks
from hcq_cli.scan.blocks import RowMajorCodes
from hcq_cli.scan.kernels import scan
from hcq_cli.scan.table import tables
from hcq_cli.search.text_encoder import TextEncoder


def measure_recall(
    file: CodeFile, tower: TextEncoder, tests: Sequence[DemoClip], sentences: Sequence[Sequence[str]]
) -> Metrics:
    """Search the test clips' codes, as they stand in the code file, with all their captions.

    Args:
        file: codes of all clips.
        tower: encodes the captions.
        tests: the clips that are the pool.
        sentences: the captions of each.

    Returns:
        Text-to-video recalls and ranks; ties are averaged.
    """
    row = {name: at for at, name in enumerate(file.ids)}
    codes = np.stack([file.codes[row[scene.file]] for scene in tests])
    queries = [line for lines in sentences for line in lines]
    owner = np.repeat(np.arange(len(tests)), [len(lines) for lines in sentences])
    found = scan([RowMajorCodes(codes)], tables(tower.encode(queries), file.codebooks, file.scale), len(tests))
    scores = np.empty(found.scores.shape)
    np.put_along_axis(scores, found.rows, found.scores, axis=1)
    return summarise(text_to_video_ranks(scores, owner))
