"""The words of an index, looked into and handed on: `hcq words info`, `hcq words export`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from hcq_cli.api.progress import SILENT, Progress
from hcq_cli.errors import NotFoundError, UsageError
from hcq_cli.workspace import Workspace

if TYPE_CHECKING:
    from hcq_cli.search.index import Index
    from hcq_cli.words.sentences import Sentence


@dataclass(frozen=True)
class WordsInfo:
    """What words an index holds.

    Args:
        index: its folder.
        videos: with any words.
        sentences: in all, by source.
        languages: of sentences that say theirs, by how many there are.
        bytes: of the tables.
    """

    index: Path
    videos: int
    sentences: dict[str, int]
    languages: dict[str, int]
    bytes: int


@dataclass(frozen=True)
class WordsExport:
    """What was written.

    Args:
        output: the file or folder; None for standard output.
        videos: with words of the sources asked for.
        sentences: in all.
    """

    output: Path | None
    videos: int
    sentences: int


def words_info(workspace: Workspace, index: Path | None = None) -> WordsInfo:
    """Count the words of an index.

    Raises:
        NotFoundError: there is no index, or no words in it.
        DamagedError: it is damaged.
    """
    opened = _open(workspace, index)
    videos, sources, languages = 0, Counter[str](), Counter[str]()
    for _, _, sentences in _by_video(opened):
        videos += 1
        sources.update(each.source for each in sentences)
        languages.update(each.language for each in sentences if each.language)
    size = sum((opened.path / entry.words).stat().st_size for entry in opened.manifest.segments if entry.words)
    return WordsInfo(opened.path, videos, dict(sources), dict(languages.most_common()), size)


def export_words(
    workspace: Workspace,
    videos: Sequence[str] = (),
    *,
    format: str = "srt",
    sources: Sequence[str] = (),
    languages: Sequence[str] = (),
    output: Path | None = None,
    stream: IO[str] | None = None,
    index: Path | None = None,
    progress: Progress = SILENT,
) -> WordsExport:
    """Write what is said, shown and told of videos.

    Args:
        videos: ids, paths or short names; default: all.
        format: srt, vtt, or jsonl (a line a sentence).
        sources: of those alone: speech, ocr, subtitles, caption, name; default: all that have a time for subtitles,
            all for jsonl.
        languages: of those alone, as files of subtitles are named (`pt` is `pt-BR`, too); default: all, and what
            names none.
        output: a file for one video or for jsonl, else a folder with a file a video, as `talk.mp4.srt`.
        stream: where it goes without `output`; one video's subtitles, or jsonl.
        index: another index than the workspace's.

    Raises:
        NotFoundError: there is no index, no words in it, or no such video.
        UsageError: no such format or source, a name may mean several videos, or many files have nowhere to go.
    """
    from hcq_cli.files import atomic_open, atomic_path, remove_leftovers
    from hcq_cli.words.export import FORMATS, exported, file_of
    from hcq_cli.words.sentences import SOURCES

    for name, known in ((format, FORMATS), *((source, SOURCES) for source in sources)):
        if name not in known:
            raise UsageError(f"{name!r}: known are {', '.join(known)}")
    one_file = format == "jsonl" or len(videos) == 1
    if output is None and (stream is None or not one_file):
        raise UsageError("subtitles of several videos need a folder", f"hcq words export --format {format} -o FOLDER")
    opened = _open(workspace, index)
    wanted = _meant(opened, videos)
    count = written = 0
    tidied = set[Path]()
    with ExitStack() as stack:
        bar = stack.enter_context(progress.progress("exporting", opened.videos, "videos"))
        whole = stack.enter_context(atomic_open(output)) if output and one_file else None
        for id, path, found in _by_video(opened, wanted):
            bar.advance()
            kept = [each for each in found if each.source in (sources or SOURCES) and _spoken(each, languages)]
            if format != "jsonl":
                kept = [each for each in kept if each.start_s is not None]
            if not kept:
                continue
            count, written = count + 1, written + len(kept)
            text = exported(kept, format, id=id, path=path)
            if stream is not None and output is None:
                stream.writelines(text)
            elif whole is not None:
                whole.writelines(piece.encode("utf-8", "surrogateescape") for piece in text)
            elif output is not None:  # a folder; each file whole or not at all
                file = output / file_of(id, format)
                if file.parent not in tidied:  # once: a folder of many files takes long to list
                    remove_leftovers(file.parent)
                    tidied.add(file.parent)
                with atomic_path(file) as temporary:
                    temporary.write_bytes("".join(text).encode("utf-8", "surrogateescape"))
        if (videos or languages) and not count:  # before a file that is there is replaced
            asked = [*(f"of {id}" for id in videos), *(f"in {language}" for language in languages)]
            raise NotFoundError(f"{opened.path}: no such words {', '.join(asked)}", "hcq words info")
    return WordsExport(output, count, written)


def _spoken(sentence: Sentence, languages: Sequence[str]) -> bool:
    """Whether a sentence is in one of these languages; of none in any."""
    said = sentence.language.lower()
    return not languages or any(said == one or said.startswith(f"{one}-") for one in map(str.lower, languages))


def _open(workspace: Workspace, index: Path | None) -> Index:
    from hcq_cli.search.index import Index

    opened = Index.open(index or workspace.index)
    if not opened.sentences:
        raise NotFoundError(f"{opened.path}: holds no words", "hcq index build")
    return opened


def _meant(index: Index, names: Sequence[str]) -> set[str]:
    """The ids that are meant by some names; none for all videos."""
    from hcq_cli.codes.ids import video_of
    from hcq_cli.search.examples import locate
    from hcq_cli.search.meant_ids import did_you_mean, similar_ids

    found = set()
    for name in names:
        id, rows = locate(index, name)
        if not rows:
            raise NotFoundError(f"{index.path}: holds no {name!r}{did_you_mean(similar_ids(index.ids(), name))}")
        found.add(video_of(id))
    return found


def _by_video(index: Index, wanted: set[str] | None = None) -> Iterator[tuple[str, str, list[Sentence]]]:
    """Id, path and sentences of each video that can be found, of those `wanted` or of all."""
    from hcq_cli.codes.ids import video_of
    from hcq_cli.search.index_words import IndexWords

    for row, sentences in IndexWords(index).by_video():
        name, path = row
        if not wanted or video_of(name) in wanted:
            yield video_of(name), path, sentences
