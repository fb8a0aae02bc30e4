"""From folders, files, globs and lists to the videos to extract, each with its id.

The id of a video is its path below the root of the collection that it lies in (hcq_cli/collection.py), whatever it
was named by; outside of all roots, its bare name. Of two different files with the same id the later one gets the
names of its parent folders in front, as many as it takes. The same file reached in two ways counts once.

Nothing is opened here but the heads of files whose names leave it open whether they are videos.
"""

from __future__ import annotations

import fnmatch
import glob
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from pathlib import Path

from hcq_cli.collection import Roots
from hcq_cli.errors import NotFoundError
from hcq_cli.media.sniffing import is_moving_gif, is_text, is_video, read_head

SUFFIXES = frozenset(
    {".264", ".265", ".266", ".3g2", ".3gp", ".3gpp", ".amv", ".apng", ".asf", ".avi", ".avs2", ".divx"}
    | {".drc", ".dv", ".dvr-ms", ".evo", ".f4v", ".flv", ".gxf", ".h264", ".h265", ".h266", ".hevc", ".insv"}
    | {".ismv", ".ivf", ".lrf", ".lrv", ".m1v", ".m2p", ".m2t", ".m2ts", ".m2v", ".m4v", ".mj2", ".mjpeg"}
    | {".mjpg", ".mk3d", ".mkv", ".mov", ".mp2v", ".mp4", ".mp4v", ".mpe", ".mpeg", ".mpeg4", ".mpg", ".mpv"}
    | {".mpv2", ".mxf", ".nsv", ".nut", ".obu", ".ogm", ".ogv", ".ogx", ".qt", ".rm", ".rmvb", ".tod", ".tp"}
    | {".trp", ".ts", ".mts", ".vc1", ".vob", ".vro", ".vvc", ".webm", ".wmv", ".wtv", ".xvid", ".y4m"}
)
"""What counts as a video in a folder; a file named itself may have any name."""
SHARED_SUFFIXES: dict[str, Callable[[bytes], bool]] = {
    ".ts": lambda head: not is_text(head),  # TypeScript
    ".mts": lambda head: not is_text(head),
    ".gif": is_moving_gif,  # else a picture
    ".ogg": is_video,  # else a sound
    ".mod": is_video,  # camcorders, and music
    ".dat": is_video,  # video CDs, and anything
}
"""Suffixes that other files have, too, and what tells by its first bytes whether one is a video."""
OTHER_SUFFIXES = frozenset(
    {".7z", ".aac", ".aiff", ".ass", ".bmp", ".bz2", ".c", ".cfg", ".conf", ".cpp", ".css", ".csv"}
    | {".doc", ".docx", ".epub", ".flac", ".gz", ".h", ".h5", ".heic", ".hcq", ".htm", ".html", ".ini"}
    | {".ipynb", ".java", ".jpeg", ".jpg", ".js", ".json", ".jsonl", ".log", ".m3u", ".m3u8", ".m4a"}
    | {".md", ".mid", ".mp3", ".nfo", ".npy", ".npz", ".odt", ".onnx", ".opus", ".pdf", ".png"}
    | {".ppt", ".pptx", ".pt", ".pth", ".py", ".rar", ".rb", ".rs", ".rst", ".safetensors", ".sh"}
    | {".srt", ".sub", ".svg", ".tar", ".tex", ".tif", ".tiff", ".toml", ".ttf", ".tsv", ".tsx", ".txt"}
    | {".vtt", ".wav", ".webp", ".wma", ".xls", ".xlsx", ".xml", ".yaml", ".yml", ".zip", ".zst"}
)
"""Files with these are no videos, and are not looked into."""
LEFT_OUT_FOLDERS = (
    *("$recycle.bin", "#recycle", "@recycle", ".recycle", "recycler", ".trash", ".trash-*", ".trashes", ".trashed-*"),
    *("#snapshot", ".snapshot", ".snapshots", "@recently-snapshot", ".zfs", ".stversions", ".dropbox.cache"),
    *("@eadir", ".@__thumb", ".thumbnails", ".thumbs", "@transcode", ".appledouble", ".spotlight-v100"),
    *(".temporaryitems", ".fseventsd", ".documentrevisions-v100", "system volume information", "lost+found"),
)
"""Folders in which systems, network drives and telephones keep what was thrown away, previews and copies."""
LEFT_OUT_FILES = ("._*", ".trashed-*", ".pending-*", "*.lrv", "*.lrf")
"""Files of that kind: what macOS keeps beside a file, what a telephone has in its bin, previews of action cameras."""

EXCLUDED = "excluded"
"""Why something is passed over that a person's own pattern leaves out."""


@dataclass(frozen=True)
class FailedFile:
    """Something named or found that gives no features.

    Args:
        path: as given or found.
        error: why, for people.
        known: whether that is remembered from an earlier run.
    """

    path: str
    error: str
    known: bool = False


@dataclass(frozen=True)
class PassedOver:
    """What was found in a folder and left out.

    Args:
        path: of the file or folder.
        reason: why, for people.
    """

    path: str
    reason: str


@dataclass
class Inputs:
    """What was found.

    Args:
        videos: to extract, each file once: by its id (unless the store has that for another one), in their order, the
            path; absolute, through the root where it lies in one.
        unusable: what was named or found and cannot be read.
        passed_over: trash, previews, and files that look like videos and are not named like one.
        named: paths of the videos that were named themselves, by no folder, pattern or list.
        folders: those searched that hold any video, as the collection calls them, each with what of it could not be
            listed.
        roots: of the collection, with the folders that were named.
        everything: whether trash and previews were taken in.
        exclude: patterns of what was left out.
    """

    videos: dict[str, str] = field(default_factory=dict)
    unusable: list[FailedFile] = field(default_factory=list)
    passed_over: list[PassedOver] = field(default_factory=list)
    named: frozenset[str] = frozenset()
    folders: dict[str, list[str]] = field(default_factory=dict)
    roots: tuple[str, ...] = ()
    everything: bool = False
    exclude: tuple[str, ...] = ()


def read_list(data: bytes) -> list[str]:
    """The names in a list: one a line, or separated by NUL bytes if it has any; empty ones are passed over."""
    if b"\0" in data:
        return [os.fsdecode(name) for name in data.split(b"\0") if name]
    return [os.fsdecode(name) for name in data.replace(b"\r\n", b"\n").split(b"\n") if name]


def find_inputs(
    names: Iterable[str],
    roots: Iterable[str] = (),
    *,
    listed: Iterable[str] = (),
    everything: bool = False,
    exclude: Iterable[str] = (),
) -> Inputs:
    """Find the videos that names (folders, files, globs) stand for.

    Args:
        names: as a person gave them.
        roots: of the collection so far.
        listed: more names, from a list: what is removed from a collection is not brought back by them.
        everything: take in trash and previews, too.
        exclude: patterns of files and folders to leave out of folders: `*.proxy.mp4` by the name, `raw/*` by the path
            below the root.

    Raises:
        NotFoundError: there is nothing at all.
    """
    names, listed = list(names), list(listed)
    search = _Search(Roots(roots), everything, tuple(each.rstrip("/") for each in exclude))
    for name in names:
        search.find(name)
    named = frozenset(item.path for item in search.found if item.named)
    for name in listed:
        search.find(name)
    unusable = list(dict.fromkeys(search.unusable))
    # A file that exists and cannot be read is a failure of that file; what is not there at all is the caller's error.
    if not search.found and not any(os.path.lexists(item.path) and not os.path.isdir(item.path) for item in unusable):
        told = "; ".join(f"{item.path}: {item.error}" for item in unusable[:3])
        raise NotFoundError(
            told if names or listed else "the list of videos is empty",
            "give a folder of videos, a file, or --from LIST",
        )
    return Inputs(
        _distinct(search.found),
        unusable=unusable,
        passed_over=search.passed_over,
        named=named,
        folders=search.folders,
        roots=tuple(search.roots.folders),
        everything=everything,
        exclude=search.exclude,
    )


@dataclass(frozen=True)
class _Found:
    """A video as it was come upon: where it really lies, whether by a link, and whether it was named itself."""

    id: str
    path: str
    real: str
    link: bool
    named: bool = False


class _Search:
    """Collects what names stand for.

    Args:
        roots: of the collection; folders that are named join them.
        everything: whether trash and previews are taken in.
        exclude: patterns of what is left out of folders.
    """

    def __init__(self, roots: Roots, everything: bool, exclude: tuple[str, ...]) -> None:
        self.roots, self.everything, self.exclude = roots, everything, exclude
        self.found: list[_Found] = []
        self.unusable: list[FailedFile] = []
        self.passed_over: list[PassedOver] = []
        self.folders: dict[str, list[str]] = {}

    def find(self, name: str) -> None:
        """What one name stands for: a folder, a file, or a pattern of either."""
        # What exists is taken as it is: a name may hold the characters of a pattern.
        if os.path.isdir(name):
            self._folder(os.path.abspath(name))
        elif os.path.lexists(name):
            self._named_file(os.path.abspath(name), named=True)
        elif glob.has_magic(name):
            matches = sorted(glob.glob(name, recursive=True))
            for match in map(os.path.abspath, matches):
                self._folder(match) if os.path.isdir(match) else self._named_file(match)
            if not matches:
                self.unusable.append(FailedFile(name, "no file matches"))
        else:
            self.unusable.append(FailedFile(name, "no such file or folder"))

    def _named_file(self, path: str, named: bool = False) -> None:
        # Not resolved outside the roots: a person finds the file again under the name that was given.
        place = self.roots.place(os.path.dirname(path), os.path.realpath(os.path.dirname(path)))
        folder, below = place or (os.path.dirname(path), "")
        name = os.path.basename(path)
        self._file(os.path.join(folder, name), os.path.join(below, name), os.path.realpath(path), named=named)

    def _file(self, path: str, id: str, real: str, named: bool = False) -> None:
        link = os.path.islink(path)
        try:
            mode = os.stat(path).st_mode
        except OSError as error:
            told = f"broken symbolic link to {os.readlink(path)}" if link else error.strerror or str(error)
            self.unusable.append(FailedFile(path, told))
            return
        # A link to a file of the collection is that file.
        if link and (place := self.roots.place(os.path.dirname(real), os.path.dirname(real))) is not None:
            folder, below = place
            path, id = os.path.join(folder, os.path.basename(real)), os.path.join(below, os.path.basename(real))
        if not stat.S_ISREG(mode):
            self.unusable.append(FailedFile(path, "not a regular file"))
        elif not os.access(path, os.R_OK):
            self.unusable.append(FailedFile(path, "permission denied"))
        else:
            self.found.append(_Found(id, path, real, link=link, named=named))

    def _folder(self, named: str) -> None:
        """All videos below a folder, links followed; and what could not be listed."""
        before, roots = len(self.found), self.roots
        self.roots = roots.with_folder(named)
        top = self._place(named, os.path.realpath(named))[0]
        unlisted, looked_like = list[FailedFile](), len(self.passed_over)
        # Links last: what lies in the folder itself is not called by the name of a link to it.
        waiting, links, visited = [named], list[str](), set[str]()
        while waiting or links:
            place = waiting.pop() if waiting else links.pop(0)
            real = os.path.realpath(place)
            if real in visited:  # a link back to where we were
                continue
            visited.add(real)
            try:
                entries = sorted(os.scandir(place), key=lambda entry: entry.name)
            except OSError as error:
                unlisted.append(FailedFile(place, error.strerror or str(error)))
                continue
            folder, below = self._place(place, real)
            folders = list[str]()
            for entry in entries:
                if self._excluded(entry, below):
                    continue
                if _holds(entry.is_dir):
                    if self._left_out(entry, LEFT_OUT_FOLDERS):
                        continue
                    (links if entry.is_symlink() else folders).append(entry.path)
                elif self._is_input(entry):
                    real_file = os.path.realpath(entry.path) if entry.is_symlink() else os.path.join(real, entry.name)
                    self._file(os.path.join(folder, entry.name), os.path.join(below, entry.name), real_file)
            waiting += reversed(folders)
        self.unusable += unlisted
        if len(self.found) > before:
            self.folders.setdefault(top, []).extend(item.path for item in unlisted)
        else:
            self.roots = roots  # nothing is known of it yet
            if not unlisted:
                self.unusable.append(FailedFile(named, _no_videos(self.passed_over[looked_like:])))

    def _place(self, folder: str, real: str) -> tuple[str, str]:
        # Inside a root that was named, a link may lead out of all of them: what lies there is called by the link.
        return self.roots.place(folder, real) or (folder, os.path.basename(folder))

    def _is_input(self, entry: os.DirEntry[str]) -> bool:
        """Whether a file in a folder is to be extracted; if not, and it looks like a video, that is noted."""
        suffix = os.path.splitext(entry.name)[1].lower()
        if suffix in SUFFIXES or suffix in SHARED_SUFFIXES:
            if self._left_out(entry, LEFT_OUT_FILES):
                return False
            told_by = SHARED_SUFFIXES.get(suffix)
            return told_by is None or not _holds(entry.is_file) or told_by(read_head(entry.path))
        if suffix not in OTHER_SUFFIXES and _holds(entry.is_file) and is_video(read_head(entry.path, 1 << 12)):
            self.passed_over.append(PassedOver(entry.path, "looks like a video and is not named like one"))
        return False

    def _excluded(self, entry: os.DirEntry[str], below: str) -> bool:
        """Whether a pattern that was given leaves an entry out, by its name or by its path below the root."""
        matches = _pattern(self.exclude).match if self.exclude else None
        if matches is None or not (matches(entry.name) or matches(os.path.join(below, entry.name))):
            return False
        self.passed_over.append(PassedOver(entry.path, EXCLUDED))
        return True

    def _left_out(self, entry: os.DirEntry[str], patterns: tuple[str, ...]) -> bool:
        if self.everything or not _pattern(patterns).match(entry.name.lower()):
            return False
        self.passed_over.append(PassedOver(entry.path, "trash, a preview or a system's own copy"))
        return True


@cache
def _pattern(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(fnmatch.translate, patterns)))  # one for all: it is asked of every file


def _holds(test: Callable[[], bool]) -> bool:
    try:
        return test()
    except OSError:  # of a link that leads to itself
        return False


def _no_videos(passed_over: Sequence[PassedOver]) -> str:
    told = "no videos in this folder (a video's name ends in .mp4 .mkv .mov .avi .webm .mpg .ts .wmv or the like)"
    if passed_over and all(item.reason == EXCLUDED for item in passed_over):
        told = "everything in this folder is excluded (hcq update remembers --exclude)"
    if passed_over:
        names = ", ".join(os.path.basename(item.path) for item in passed_over[:3])
        told += f"; passed over: {len(passed_over)} ({names}{', …' if len(passed_over) > 3 else ''})"
    return told


def _distinct(found: Sequence[_Found]) -> dict[str, str]:
    """Each file once (itself rather than a link to it), each id once, sorted by id."""
    by_file: dict[str, _Found] = {}
    # Sorting is stable: files before links, and otherwise in the order in which they were found.
    for item in sorted(found, key=lambda item: item.link):
        by_file.setdefault(item.real, item)
    # Backwards, so that of a path found twice the first place counts.
    order = {item.path: at for at, item in reversed(list(enumerate(found)))}
    paths: dict[str, str] = {}
    for item in sorted(by_file.values(), key=lambda item: order[item.path]):
        paths[next(id for id in longer_ids(item.id, item.path) if id not in paths)] = item.path
    return dict(sorted(paths.items()))


def longer_ids(id: str, path: str) -> Iterator[str]:
    """The ids that a file can have, shortest first: its own, then with one more parent folder in front each."""
    yield id
    parts = Path(path).parts
    own = len(Path(id).parts)
    for at in range(len(parts) - own - 1, 0, -1):
        yield Path(*parts[at:]).as_posix()
    for number in count(2):  # not even the whole path is free
        yield f"{Path(path).as_posix()}#{number}"
