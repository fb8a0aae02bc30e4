"""Tries one package for real: imports it and lets it do a small piece of the work that hcq needs it for.

Run in a process of its own (`python -P -m hcq_cli.doctor.trials NAME FOLDER`), because a broken package may crash,
hang or print. It imports no other module of hcq. The last line it prints is `MARK` and a JSON document:
{"version", "detail", …} or {"error"}.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

MARK = "@hcq-trial "
SIDE, FRAMES = 32, 12


def _video(folder: Path) -> Path:
    """An uncompressed grey video whose frame i has luma 10 + 20 i; written by hand, so that no encoder is needed."""
    path = folder / "trial.y4m"
    with path.open("wb") as out:
        out.write(f"YUV4MPEG2 W{SIDE} H{SIDE} F4:1 Ip A1:1 C420jpeg\n".encode())
        for frame in range(FRAMES):
            out.write(b"FRAME\n" + bytes([10 + 20 * frame]) * SIDE**2 + b"\x80" * (SIDE**2 // 2))
    return path


def _expect(condition: bool, what: str) -> None:
    if not condition:
        raise RuntimeError(what)


def try_numpy(folder: Path) -> dict[str, Any]:
    """A product of two matrices."""
    import numpy as np

    matrix = np.arange(12, dtype=np.float32).reshape(3, 4)
    _expect(float((matrix @ matrix.T)[0, 0]) == 14, "a matrix product is wrong")
    return {"version": np.__version__}


def try_torch(folder: Path) -> dict[str, Any]:
    """A gradient; and which devices there are."""
    import torch

    x = torch.arange(4.0, requires_grad=True)
    (x * x).sum().backward()
    _expect(x.grad is not None and x.grad.tolist() == [0, 2, 4, 6], "a gradient is wrong")
    cuda = [torch.cuda.get_device_name(at) for at in range(torch.cuda.device_count())]
    if cuda:
        _expect(float(torch.ones(8, device="cuda").sum()) == 8, "a sum on the CUDA device is wrong")
    mps = bool(getattr(torch.backends, "mps", None) and torch.backends.mps.is_available())
    detail = f"{torch.get_num_threads()} threads"
    return {
        "version": torch.__version__,
        "detail": detail,
        "cuda": cuda,
        "cuda_build": torch.version.cuda,
        "mps": mps,
    }


def try_transformers(folder: Path) -> dict[str, Any]:
    """A tiny BERT, once forward."""
    import transformers  # isort: skip
    import torch  # after it, so that a transformers that cannot be imported says so itself

    config = transformers.BertConfig(
        vocab_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    states = transformers.BertModel(config).eval()(torch.tensor([[1, 2, 3]])).last_hidden_state
    _expect(tuple(states.shape) == (1, 3, 8), "a BERT gives states of a wrong shape")
    return {"version": transformers.__version__, "detail": "a BERT runs"}


def try_tokenizers(folder: Path) -> dict[str, Any]:
    """A WordPiece vocabulary, there and back through a file."""
    import tokenizers

    words = tokenizers.Tokenizer(tokenizers.models.WordPiece({"[UNK]": 0, "co": 1, "##ok": 2}, unk_token="[UNK]"))
    words.save(str(folder / "tokenizer.json"))
    again = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    _expect(again.encode("cook").ids == [1, 2], "words are cut wrongly")
    return {"version": tokenizers.__version__}


def try_onnx(folder: Path) -> dict[str, Any]:
    """A graph written and checked."""
    import onnx

    onnx.checker.check_model(_doubling())
    return {"version": onnx.__version__}


def try_onnxruntime(folder: Path) -> dict[str, Any]:
    """A graph run."""
    import numpy as np
    import onnxruntime

    session = onnxruntime.InferenceSession(_doubling().SerializeToString(), providers=["CPUExecutionProvider"])
    doubled = session.run(None, {"x": np.array([1.5, -2], np.float32)})[0]
    _expect(doubled.tolist() == [3, -4], f"a graph gives {doubled.tolist()}")
    return {"version": onnxruntime.__version__}


def _doubling() -> Any:
    """A graph that adds its input to itself."""
    from onnx import TensorProto, helper

    given, made = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in ("x", "y"))
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "doubling", [given], [made])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def try_safetensors(folder: Path) -> dict[str, Any]:
    """An array, there and back through a file."""
    import numpy as np
    import safetensors
    from safetensors.numpy import load_file, save_file

    save_file({"x": np.arange(3)}, folder / "trial.safetensors")
    _expect(load_file(folder / "trial.safetensors")["x"].tolist() == [0, 1, 2], "an array came back changed")
    return {"version": safetensors.__version__}


def try_h5py(folder: Path) -> dict[str, Any]:
    """A checksummed data set, there and back through a file."""
    import h5py
    import numpy as np

    with h5py.File(folder / "trial.h5", "w") as out:
        out.create_dataset("x", data=np.arange(5), chunks=(5,), fletcher32=True)
    with h5py.File(folder / "trial.h5", "r") as source:
        _expect(source["x"][:].tolist() == [0, 1, 2, 3, 4], "a data set came back changed")
    return {"version": h5py.__version__, "detail": f"HDF5 {h5py.version.hdf5_version}"}


def try_av(folder: Path) -> dict[str, Any]:
    """A video decoded, frame by frame."""
    import av

    with av.open(str(_video(folder))) as container:
        lumas = [frame.to_ndarray()[0, 0] for frame in container.decode(video=0)]
    _expect(lumas == [10 + 20 * frame for frame in range(FRAMES)], f"frames came out wrong: {lumas}")
    codec_library = ".".join(map(str, av.library_versions["libavcodec"]))
    ffmpeg = getattr(av, "ffmpeg_version_info", "")
    known = [name for name in ("h264", "hevc", "vp9", "av1", "aac", "opus") if name in av.codecs_available]
    return {
        "version": av.__version__,
        "detail": f"FFmpeg {ffmpeg} (libavcodec {codec_library}); decodes {' '.join(known)}",
    }


def try_decord(folder: Path) -> dict[str, Any]:
    """A video opened, one frame taken from its middle."""
    import decord

    reader = decord.VideoReader(str(_video(folder)))
    _expect(len(reader) == FRAMES, f"a video of {FRAMES} frames has {len(reader)}")
    grey, other = (float(reader[at].asnumpy().mean()) for at in (3, 8))
    _expect(60 < other - grey < 140, f"frames came out wrong: {grey}, {other}")
    return {"version": decord.__version__, "detail": "opens a video"}


def try_cv2(folder: Path) -> dict[str, Any]:
    """The face cascade that the classic expert uses, loaded and run."""
    import cv2
    import numpy as np

    path = Path(cv2.data.haarcascades)  # type: ignore[attr-defined]
    path = path / "haarcascade_frontalface_alt2.xml"
    _expect(path.is_file(), f"its Haar cascade {path.name} is not there")
    cascade = cv2.CascadeClassifier(str(path))
    _expect(not cascade.empty(), f"its Haar cascade {path.name} cannot be loaded")
    cascade.detectMultiScale(np.zeros((64, 64), np.uint8))
    return {"version": cv2.__version__, "detail": "has the Haar cascade for faces"}


TRIALS = {
    "onnx": try_onnx,
    "onnxruntime": try_onnxruntime,
    "numpy": try_numpy,
    "torch": try_torch,
    "transformers": try_transformers,
    "tokenizers": try_tokenizers,
    "safetensors": try_safetensors,
    "h5py": try_h5py,
    "av": try_av,
    "decord": try_decord,
    "cv2": try_cv2,
}
"""By the name under which the package is imported."""


def _try(module: str, folder: Path) -> dict[str, Any]:
    try:
        if module in TRIALS:
            return TRIALS[module](folder)
        return {"version": getattr(importlib.import_module(module), "__version__", None)}
    except BaseException as error:  # whatever it is, it is what shall be told
        reason = " ".join(str(error).split())[:300]
        return {"error": f"{type(error).__name__}: {reason}"}


if __name__ == "__main__":
    outcome = _try(sys.argv[1], Path(sys.argv[2]))
    sys.stdout.write("\n" + MARK + json.dumps(outcome) + "\n")
