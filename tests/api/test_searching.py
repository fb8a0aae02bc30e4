"""A Searcher decides what is opened and what encodes, and notices a new generation."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import hcq_cli as hcq
from hcq_cli.api.serving import Answers
from hcq_cli.errors import DamagedError, NotFoundError, UsageError
from hcq_cli.model.exported_text_encoder import ExportedTextEncoder


def ids(answer) -> list[str]:
    return [hit.id for hit in answer.hits]


def test_texts_are_answered_together_as_one_by_one(workspace):
    searcher = hcq.Searcher(workspace, hcq.SearchSettings(threads=1))
    queries = ["a red ball", "a bell", "birds"]
    together = searcher.texts(queries, k=5)
    assert [ids(answer) for answer in together] == [ids(searcher.text(query, k=5)) for query in queries]
    assert searcher.kind == "videos" and searcher.lists == 0


def test_a_new_generation_is_noticed_at_the_next_query(workspace):
    searcher = hcq.Searcher(workspace)
    first = searcher.text("a red ball", k=1)
    assert not searcher.refresh()
    hcq.remove_from_index(workspace, ids(first))
    again = searcher.text("a red ball", k=1)
    assert ids(again) != ids(first)
    assert again.videos_searched == first.videos_searched - 1


@pytest.fixture
def own_columns(workspace) -> Path:
    """A table of own columns, with which the index is built."""
    table = workspace.root / "own.csv"
    table.write_text("video,liked\nclip-0001.mp4,yes\nclip-0002.mp4,yes\n")
    hcq.build_index(workspace, columns=table)
    return table


def test_a_filter_by_a_column_that_is_gone_is_refused_each_time(workspace, own_columns):
    searcher = hcq.Searcher(workspace, hcq.SearchSettings(where="liked = true"))
    assert len(ids(searcher.text("a red ball"))) == 2
    hcq.build_index(workspace, columns=Path("none"))
    for _ in range(2):
        with pytest.raises(UsageError, match="no column 'liked'"):
            searcher.text("a red ball")
    searcher.change(where=None)
    assert len(ids(searcher.text("a red ball"))) == 10 and searcher.collection.generation == 4


def test_where_there_are_no_columns_is_said_what_makes_them(workspace):
    with pytest.raises(UsageError, match="no column 'duration'") as error:
        hcq.Searcher(workspace, hcq.SearchSettings(columns=("duration",)))
    assert error.value.hint == "hcq index build makes them, of features"


def test_a_server_forgets_a_question_about_a_column_that_is_gone(workspace, own_columns):
    answers = Answers(hcq.Searcher(workspace))
    assert len(answers.texts(["a red ball"], 10, {"where": "liked = true"})[0]["hits"]) == 2
    hcq.build_index(workspace, columns=Path("none"))
    assert answers.facts()["videos"] == 14
    assert len(answers.texts(["a red ball"], 10, {})[0]["hits"]) == 10
    with pytest.raises(UsageError, match="no column 'liked'"):
        answers.texts(["a red ball"], 10, {"where": "liked = true"})
    hcq.build_index(workspace, columns=own_columns)  # and knows one that has come
    assert len(answers.texts(["a red ball"], 10, {"where": "liked = true"})[0]["hits"]) == 2


def test_a_filter_that_cannot_be_applied_is_refused_each_time(workspace, own_columns):
    searcher = hcq.Searcher(workspace)
    for file in workspace.index.glob("columns-*"):
        file.write_bytes(file.read_bytes()[:-8] + bytes(8))
    for _ in range(2):
        with pytest.raises(DamagedError):
            searcher.change(where="liked = true")
    assert len(ids(searcher.text("a red ball"))) == 10


def test_an_index_that_was_built_anew_is_noticed_though_its_generation_has_the_same_number(workspace):
    shutil.rmtree(workspace.index)
    hcq.build_index(workspace, text_side="none")
    searcher = hcq.Searcher(workspace)
    assert searcher.collection.generation == 1 and not searcher.refresh()
    shutil.rmtree(workspace.index)
    hcq.build_index(workspace, [workspace.texts], index=workspace.index, text_side="none")
    assert searcher.refresh() and searcher.collection.generation == 1
    assert searcher.kind == "texts" and searcher.like("clip-0001.mp4#1", k=1).hits


@pytest.mark.parametrize("kind", ["videos", "texts"])
def test_an_index_that_is_built_anew_while_its_text_side_is_opened_is_opened_again(workspace, kind, monkeypatch):
    answer = hcq.Searcher(workspace, hcq.SearchSettings(find=kind)).text("a red ball", k=3)
    searcher = hcq.Searcher(workspace, hcq.SearchSettings(find=kind))
    prepare, opened = ExportedTextEncoder.prepare, []

    def prepare_late(encoder: ExportedTextEncoder) -> None:
        opened.append(encoder)
        if len(opened) == 1:
            workspace.index.rename(workspace.index.with_name("old"))
            shutil.copytree(workspace.index.with_name("old"), workspace.index)
        prepare(encoder)

    monkeypatch.setattr(ExportedTextEncoder, "prepare", prepare_late)
    assert ids(searcher.text("a red ball", k=3)) == ids(answer)
    assert len(set(map(id, opened))) == 2


def test_like_finds_an_id_in_the_other_index(workspace):
    texts = hcq.Searcher(workspace, hcq.SearchSettings(find="texts"))
    assert texts.kind == "texts"
    assert len(texts.like("clip-0001.mp4", k=3).hits) == 3  # a video, whose codes lie in the index of videos
    with pytest.raises(NotFoundError, match=r"clip-0999\.mp4"):
        texts.like("clip-0999.mp4")
    quoted = texts.composed('"a red ball"', 3, likes=["clip-0001.mp4", "clip-0002.mp4"])  # they narrow no sentences
    assert len(quoted.hits) == 3


def test_a_code_file_is_searched_without_an_index(workspace):
    searcher = hcq.Searcher(workspace, hcq.SearchSettings(codes=workspace.codes))
    assert ids(searcher.text("a red ball", k=1)) == ["clip-0012.mp4"]
    assert not searcher.refresh()


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"find": "songs"}, "it is videos or texts"),
        ({"find": "texts", "index": Path("index")}, "holds videos, no texts"),
        ({"codes": Path("a"), "index": Path("b")}, "exclude each other"),
        ({"nprobe": 3, "exact": True}, "exclude each other"),
    ],
)
def test_settings_that_contradict_are_refused(workspace, settings, reason):
    if settings.get("index") == Path("index"):
        settings = {**settings, "index": workspace.index}
    with pytest.raises(UsageError, match=reason):
        hcq.Searcher(workspace, replace(hcq.SearchSettings(), **settings))


def test_what_is_missing_is_told_with_what_makes_it(tmp_path):
    with pytest.raises(NotFoundError) as error:
        hcq.Searcher(hcq.Workspace(tmp_path), hcq.SearchSettings(find="texts"))
    assert error.value.hint.startswith("hcq encode --texts")


def test_a_query_loads_no_torch(workspace):
    script = (
        "import sys, hcq_cli as hcq\n"
        f"hcq.Searcher(hcq.Workspace({str(workspace.root)!r})).text('a red ball')\n"
        "assert not {'torch', 'transformers', 'h5py', 'cv2', 'av'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
