"""hcq: search a folder of videos by plain text, at 64 to 256 bytes a video.

    import hcq_cli as hcq
    hcq.open(".hcq").search("a man cooking")

The verbs of the command line are functions here (hcq_cli.api); each name is imported when it is first used, so that
importing hcq takes milliseconds.
"""

# Nothing is imported here but what Python has loaded already: `python -m hcq_cli` runs this file while the current
# folder, which may hold anything, is still first on the path (__main__.py takes it off).
import os

# From 1.29 on onnxruntime tells its maker of every model that is opened, its file's name among it, unless this is set
# before it is loaded; children inherit it. Whoever has set it otherwise is left alone.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
# Threads that wait for others sleep soon instead of spin. Where another process has a core, threads that spin at
# every barrier keep the very thread they wait for from running: a training step of 0.3 s took 12 s. Sleeping at once
# costs an idle machine a tenth (0.71 against 0.64 s a step of the recipe demo, two cores); some microseconds of
# spinning before it cost neither: 0.64 s, and beside a process that never rests 1.35 s, where sleeping at once takes
# 1.08 s.
if "OMP_WAIT_POLICY" not in os.environ:  # read once, when libgomp is loaded (by torch); children inherit both
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")

TYPE_CHECKING = False  # as in typing; type checkers know the name

__version__ = "0.1.0"

_NAMES = {
    "hcq_cli.errors": "HcqError",
    "hcq_cli.workspace": "Workspace",
    "hcq_cli.api.extraction": "extract plan_extraction",
    "hcq_cli.api.planning": "plan_collection",
    "hcq_cli.api.training": "train",
    "hcq_cli.api.fitting": "fit",
    "hcq_cli.api.finding": "make_searchable",
    "hcq_cli.api.publishing": "save_pretrained from_pretrained push_to_hub",
    "hcq_cli.api.encoding": "encode encode_texts",
    "hcq_cli.api.indexing": "build_index add_to_index remove_from_index compact_index open_index verify_index "
    "export_index export_table",
    "hcq_cli.api.updating": "update",
    "hcq_cli.api.words": "export_words words_info",
    "hcq_cli.api.watching": "watch watch_searchable",
    "hcq_cli.api.duplicates": "dedupe",
    "hcq_cli.api.searching": "Searcher",
    "hcq_cli.api.opening": "open_workspace mirrored",
    "hcq_cli.model.confidence": "CUT_OFF",
    "hcq_cli.search.arranging": "sure_enough worth_showing",
    "hcq_cli.search.params": "SearchSettings",
    "hcq_cli.api.answers": "answer_document write_gallery",
    "hcq_cli.api.reporting": "report write_report",
    "hcq_cli.api.serving": "serve",
    "hcq_cli.api.agents": "serve_agents agents_config",
    "hcq_cli.api.clips": "save_clips open_hit thumbnails",
    "hcq_cli.api.evaluation": "evaluate check_captions",
    "hcq_cli.api.features": "open_features verify_features export_features remove_features",
}
"""The names of the Python API, by the module that defines them."""
_HOME = {name: module for module, names in _NAMES.items() for name in names.split()}

__all__ = ["__version__", *_HOME]  # names come lazily, see __getattr__

if TYPE_CHECKING:
    from typing import Any

    from hcq_cli.api.agents import agents_config, serve_agents
    from hcq_cli.api.answers import answer_document, write_gallery
    from hcq_cli.api.clips import open_hit, save_clips, thumbnails
    from hcq_cli.api.duplicates import dedupe
    from hcq_cli.api.encoding import encode, encode_texts
    from hcq_cli.api.evaluation import check_captions, evaluate
    from hcq_cli.api.extraction import extract, plan_extraction
    from hcq_cli.api.features import export_features, open_features, remove_features, verify_features
    from hcq_cli.api.finding import make_searchable
    from hcq_cli.api.fitting import fit
    from hcq_cli.api.indexing import (
        add_to_index,
        build_index,
        compact_index,
        export_index,
        export_table,
        open_index,
        remove_from_index,
        verify_index,
    )
    from hcq_cli.api.opening import mirrored, open_workspace
    from hcq_cli.api.planning import plan_collection
    from hcq_cli.api.publishing import from_pretrained, push_to_hub, save_pretrained
    from hcq_cli.api.reporting import report, write_report
    from hcq_cli.api.searching import Searcher
    from hcq_cli.api.serving import serve
    from hcq_cli.api.training import train
    from hcq_cli.api.updating import update
    from hcq_cli.api.watching import watch, watch_searchable
    from hcq_cli.api.words import export_words, words_info
    from hcq_cli.errors import HcqError
    from hcq_cli.model.confidence import CUT_OFF
    from hcq_cli.search.arranging import sure_enough, worth_showing
    from hcq_cli.search.params import SearchSettings
    from hcq_cli.workspace import Workspace


def __getattr__(name: str) -> "Any":
    from importlib import import_module

    name = "open_workspace" if name == "open" else name  # as in the builtin, which modules of ours are not to lose
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
