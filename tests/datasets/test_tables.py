"""Tables are read whatever the exporter thought of quotation marks; what cannot be told names its line."""

from __future__ import annotations

import csv
import io
import resource
from pathlib import Path

import pytest
from caption_files import put, read

from hcq_cli.datasets.captions import read_captions
from hcq_cli.datasets.tables import FIELD_LINES

UNCLOSED = "quotation mark is not closed"


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_csv(tmp_path: Path, delimiter: str) -> None:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter)
    writer.writerows(
        [
            ["Video", "extra", "Caption", "split"],
            ["a.mp4", "1", 'says "hi", then; goes | on\tthere', "test"],
            [],
            ["b.mp4", "2", "two\nlines", ""],
            ["a.mp4", "3", "again", "test"],
        ]
    )
    videos, problems = read(tmp_path, out.getvalue())
    assert problems == []
    assert videos == {
        "a.mp4": (['says "hi", then; goes | on there', "again"], "test"),
        "b.mp4": (["two lines"], None),
    }


@pytest.mark.parametrize(
    ("text", "video", "caption"),
    [
        ("videoid,contentUrl,page_dir,name\n21179416,https://x/a.mp4,006,Aerial shot\n", "21179416", "Aerial shot"),
        ('id,subject,script,descriptions\n46GP8,HR43,"A person, cooking.",A;B\n', "46GP8", "A person, cooking."),
        (
            "VideoID,Start,End,WorkerID,Source,AnnotationTime,Language,Description\n"
            "mv89,33,46,5,clean,55,Slovene,Papagaj.\nmv89,33,46,5,clean,55,English,A bird.\n",
            "mv89_33_46",
            "A bird.",
        ),
        ("sep=;\r\nFile Name;Description\r\na.mp4;A bird.\r\n", "a.mp4", "A bird."),
    ],
    ids=["WebVid", "Charades", "MSVD", "Excel"],
)
def test_tables_of_data_sets(tmp_path: Path, text: str, video: str, caption: str) -> None:
    assert read(tmp_path, text) == ({video: ([caption], None)}, [])


def test_a_text_that_is_too_long_is_named_for_it(tmp_path: Path) -> None:
    videos, problems = read(tmp_path, f"video,caption\na,{'word ' * 40_000}\nb,good\n")
    assert list(videos) == ["b"] and problems == [(2, "has a text of more than 131,072 characters")]


def test_csv_problems_name_the_line_they_begin_on(tmp_path: Path) -> None:
    videos, problems = read(
        tmp_path,
        b'video,caption\na,"two\nlines"\nb,\nc,x,y\n,nameless\nd,\xff\ne\nf,good\n',
    )
    assert list(videos) == ["a", "f"]
    assert [line for line, _ in problems] == [4, 5, 6, 7, 8]
    wanted = ["empty caption", "3 fields", 'no "video"', "not UTF-8: save the file as UTF-8", 'no "caption"']
    assert all(want in message for want, (_, message) in zip(wanted, problems, strict=True)), problems


def test_tab_separated_texts_keep_quotation_marks_that_quote_nothing(tmp_path: Path) -> None:
    lines = [
        "a cat sleeps",
        '"hello there" says a man',
        'a "quoted" word',
        '"go home, she shouts',
        "rain on a roof",
        '5" nails in a box',
        '"stop! cries a boy',
        'he says "stop"',
        '"',
    ]
    rows = "".join(f"clip-{n}.mp4\t{line}\r\n" for n, line in enumerate(lines))
    videos, problems = read(tmp_path, "video\tcaption\r\n" + rows)
    assert problems == [(10, "the caption of 'clip-8.mp4' is '\"': is there none?")]
    assert [captions for captions, _ in videos.values()] == [[line] for line in lines]


def test_tab_separated_texts_that_are_quoted_are_read_by_the_rules(tmp_path: Path) -> None:
    table = 'video\tcaption\tsplit\na\t"a ""cat"" sleeps"\ttrain\nb\t"one\n\ntwo"\ttest\nc\t"x\ty"\t\n'
    assert read(tmp_path, table) == (
        {"a": (['a "cat" sleeps'], "train"), "b": (["one two"], "test"), "c": (["x y"], None)},
        [],
    )


@pytest.mark.parametrize("separator", [",", ";", "|"])
@pytest.mark.parametrize(
    "wrong",
    [
        '"go home she shouts',  # never closed, or by the next mark that happens to come
        '"hello" says a man',
        '"',
    ],
)
def test_a_stray_quotation_mark_costs_its_line_and_names_it(tmp_path: Path, separator: str, wrong: str) -> None:
    texts = ["a dog", wrong, "rain", 'nails of 5"', '"quoted"', "a car"]
    rows = "".join(f"clip-{n}.mp4{separator}{text}\n" for n, text in enumerate(texts))
    videos, problems = read(tmp_path, f"video{separator}caption\n{rows}")
    assert [captions[0] for captions, _ in videos.values()] == ["a dog", "rain", 'nails of 5"', "quoted", "a car"]
    assert len(problems) == 1 and problems[0][0] == 3 and UNCLOSED in problems[0][1]


def test_an_end_of_file_within_quotes_and_a_text_of_too_many_lines_name_the_line(tmp_path: Path) -> None:
    ended = 'video,caption\na,one\nb,"two\nthree\n'
    videos, problems = read(tmp_path, ended)
    assert list(videos) == ["a"] and [line for line, _ in problems] == [3, 4] and UNCLOSED in problems[0][1]
    long = "\n".join(["word"] * FIELD_LINES)
    fits, too_long = f'a,"{long}"\n', f'b,"{long}\nword\nword"\n'
    videos, problems = read(tmp_path, f"video,caption\n{fits}{too_long}c,good\n")
    assert list(videos) == ["a", "c"] and problems[0][0] == 2 + FIELD_LINES and UNCLOSED in problems[0][1]


def test_megabytes_after_a_stray_quotation_mark_are_read_in_little_memory(tmp_path: Path) -> None:
    rows = "".join(f"video{n},a man in a red shirt walks over the green grass of a park\n" for n in range(60_000))
    path = put(tmp_path, f'video,caption\nodd,"never closed\n{rows}')
    before = resource.getrusage(resource.RUSAGE_SELF)
    captions = read_captions(path)
    after = resource.getrusage(resource.RUSAGE_SELF)
    assert len(captions.videos) == 60_000 and [problem.line for problem in captions.problems] == [2]
    assert after.ru_utime - before.ru_utime < 5
    assert after.ru_maxrss - before.ru_maxrss < 150 * 1024  # KiB; the captions themselves are most of it


def test_several_captions_a_line_have_a_column_each(tmp_path: Path) -> None:
    videos, problems = read(
        tmp_path,
        "file_name,caption_1,caption_2,Caption 3\na.mp4,a dog,a hound,\nb.mp4,a cat\nc.mp4,,,\n",
    )
    assert videos == {"a.mp4": (["a dog", "a hound"], None), "b.mp4": (["a cat"], None)}
    assert problems == [(4, "empty caption for 'c.mp4'")]
    videos, _ = read(tmp_path, "video,caption,caption,split\na.mp4,a dog,a hound,test\n")
    assert videos == {"a.mp4": (["a dog", "a hound"], "test")}


def test_a_table_may_have_very_many_columns(tmp_path: Path) -> None:
    header, cells = ",".join(f"f{number}" for number in range(20_000)), ",1" * 20_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    assert read(tmp_path, f"video,caption,{header}\na,a dog{cells}\n") == ({"a": (["a dog"], None)}, [])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_utime - before < 5
