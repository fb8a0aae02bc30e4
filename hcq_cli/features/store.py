"""The feature store, as the rest of hcq uses it. Begin here.

    folder/
      manifest-00000007.json   names the shards, oldest first, with their lengths and SHA-256 (hcq_cli.files)
      shards/*.h5              immutable HDF5 files of up to 4,096 videos, in columns (shard.py; the bytes: frame.py)
      incoming/*.h5            videos finished since, one file each, of the same format (incoming.py)
      set-aside/               damaged files that were taken out
      failures.jsonl           files that gave nothing (journal.py)
      words.jsonl              what was said and what was written on screen, for people (words.py)
      hashes.jsonl             content hashes of files that are not finished yet
      writer.lock              held by the one writer

Rows are never changed. A newer row of an id overrides an older one (catalog.py says which counts); a row may carry
only some experts, and then the others are taken from older rows of the same content. Writing: writer.py, with
folding.py and merging.py below it. Reading: reader.py.
"""

from __future__ import annotations

from hcq_cli.features.incoming import write_incoming
from hcq_cli.features.journal import Failure, read_failures
from hcq_cli.features.mending import mend_manifest, take_out
from hcq_cli.features.reader import FeatureStore
from hcq_cli.features.records import ExpertInfo, Ragged, VideoFacts, VideoFeatures, VideoRecord, identity
from hcq_cli.features.verifying import Damage, Verified, verify
from hcq_cli.features.writer import FeatureWriter, Folded

__all__ = [
    "Damage",
    "ExpertInfo",
    "Failure",
    "FeatureStore",
    "FeatureWriter",
    "Folded",
    "Ragged",
    "Verified",
    "VideoFacts",
    "VideoFeatures",
    "VideoRecord",
    "identity",
    "mend_manifest",
    "read_failures",
    "take_out",
    "verify",
    "write_incoming",
]
