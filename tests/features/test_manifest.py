"""The manifest of a store: an entry comes back as it was written, and names nothing but a file in shards/."""

from __future__ import annotations

from pathlib import Path

import pytest
from feature_samples import video

from hcq_cli.errors import DamagedError
from hcq_cli.features.manifest import ShardEntry, entries_of, generations, open_shards
from hcq_cli.features.writer import FeatureWriter
from hcq_cli.files import Manifest, digest_file


def test_entries_describe_the_shards(tmp_path: Path) -> None:
    with FeatureWriter(tmp_path) as writer:
        writer.add_videos([video("a"), video("b")])
    manifest = generations(tmp_path).read()
    (entry,) = entries_of(manifest, tmp_path)
    path = entry.path(tmp_path)
    assert entry == ShardEntry.of(path, 2)
    assert (entry.nbytes, entry.sha256) == (path.stat().st_size, digest_file(path))
    (shard,) = open_shards(tmp_path, [entry], generation=manifest.generation)
    assert list(shard.text("videos/id")) == ["a", "b"]
    wrong = ShardEntry(entry.name, 3, entry.nbytes, entry.sha256)
    with pytest.raises(DamagedError, match="is not the file that the manifest names"):
        open_shards(tmp_path, [wrong], generation=manifest.generation)


@pytest.mark.parametrize("name", ["../x.h5", "/x.h5", "", ".", None, 3])
def test_an_entry_that_leads_elsewhere_is_refused(name: object, tmp_path: Path) -> None:
    body = {"shards": [{"name": name, "videos": 1, "bytes": 1, "sha256": "0" * 64}]}
    with pytest.raises(DamagedError, match="makes no sense"):
        entries_of(Manifest(7, body), tmp_path)
