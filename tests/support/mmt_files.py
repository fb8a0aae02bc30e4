"""Makes files in the layout of MMT's published features: HDF5 files of videos, split lists, tar archives."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
from pathlib import Path

import h5py
import numpy as np

from hcq_cli.importers.mmt import MmtOptions, MmtReport, import_mmt

WIDTHS = {"s3d": 1024, "vggish": 128, "face": 512, "rgb": 2048, "scene": 2208, "speech": 300, "ocr": 300}
CAPTIONS = [["a", "man", "cooks"], ["somebody", "is", "cooking", "pasta"], ["in", "a", "kitchen"]]


def features(video: int, expert: str, rows: int, width: int | None = None) -> np.ndarray:
    rng = np.random.default_rng((video, len(expert), ord(expert[0])))
    return rng.normal(size=(rows, width or WIDTHS[expert])).astype(np.float32)


def h5_bytes(datasets: dict[str, object]) -> bytes:
    """An HDF5 file of these datasets at its root; lists of words become variable-length strings."""
    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        for key, value in datasets.items():
            if isinstance(value, list):
                file.create_dataset(key, data=np.array(value, object), dtype=h5py.string_dtype())
            else:
                file.create_dataset(key, data=value)
    return out.getvalue()


def video_bytes(number: int, absent: tuple[str, ...] = (), captions=None, experts=None, widths=None) -> bytes:
    """One video as MMT stores it: times of s3d and vggish as [begin, end], absent experts as NaN."""
    data: dict[str, object] = {}
    for expert in experts or WIDTHS:
        rows, width = 2 + number % 3, (widths or {}).get(expert, WIDTHS[expert])
        if expert in absent:
            data[f"features.{expert}"] = np.full((1, width), np.nan, np.float32)
            data[f"features_t.{expert}"] = np.full((1, 2), -1.0)
            continue
        data[f"features.{expert}"] = features(number, expert, rows, width)
        begins = np.arange(rows, dtype=np.float32)
        timed = expert in ("s3d", "vggish")
        data[f"features_t.{expert}"] = np.stack([begins, begins + 1], 1) if timed else np.full((rows, 2), -1.0)
    for at, words in enumerate(CAPTIONS if captions is None else captions):
        data[f"raw_captions.{at}"] = words
        data[f"raw_captions_t.{at}"] = np.zeros((len(words), 2))
    return h5_bytes(data)


def h5_name(video: str) -> str:
    return f"vid_feat_files/mult_h5/{video[0]}/{video[1]}/{video[2]}/{video}.h5"


def msrvtt(videos: int = 9, small: bool = True) -> dict[str, bytes]:
    """A small MSR-VTT with all three splits: by name within the data set's folder."""
    experts = ["s3d", "vggish", "face", "ocr"] if small else list(WIDTHS)
    names = [f"video{n}" for n in range(videos)]
    files = {
        h5_name(name): video_bytes(n, absent=("face",) if n == 1 else (), experts=experts)
        for n, name in enumerate(names)
    }
    third = videos // 3
    lists = {
        "train_list_jsfusion.txt": names[third:],
        "val_list_jsfusion.txt": names[:third],
        "train_list_miech.txt": names[third : 2 * third],
        "test_list_miech.txt": names[:third],
        "train_list.txt": names[2 * third :],
        "val_list.txt": names[third : 2 * third],
        "test_list.txt": names[:third],
    }
    for name, listed in lists.items():
        files[f"symlinked-feats/{name}"] = "".join(f"{video}\n" for video in listed).encode()
    chosen = dict.fromkeys(names[:third], 2)
    files["symlinked-feats/jsfusion_val_caption_idx.pkl"] = pickle.dumps(chosen, protocol=2)
    return files


def unpack(files: dict[str, bytes], folder: Path) -> Path:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def pack(files: dict[str, bytes], path: Path, top: str, mode: str = "w:gz") -> Path:
    """A tar archive of these files under the folder `top`."""
    with tarfile.open(path, mode) as archive:
        for name, data in files.items():
            add(archive, f"{top}/{name}" if top else name, data)
    return path


def add(archive: tarfile.TarFile, name: str, data: bytes, **header: object) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    for key, value in header.items():
        setattr(member, key, value)
    archive.addfile(member, io.BytesIO(data))


def imported(source: Path, folder: Path, **options) -> MmtReport:
    """Import `source` into `folder`/store and `folder`/captions.jsonl."""
    return import_mmt(source, MmtOptions(folder / "store", folder / "captions.jsonl", **options))


def json_lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]
