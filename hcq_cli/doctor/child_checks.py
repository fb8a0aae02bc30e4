"""Lets each package, and every scan kernel, do a small piece of the work that hcq needs it for.

Run in a process of its own (`python -P -m hcq_cli.doctor.child_checks NAME FOLDER`), because a broken package or
compiled code may crash, hang or print. NAME is a package as it is imported, or "scan kernel". The last line printed
is `MARK` and a JSON document: {"version", "detail", …} of a package, {"used", "right", "wrong"} of the kernels, or
{"error"} and perhaps {"hint"}.

Nothing of hcq is imported but by the check of the kernels: a package must break by itself, not by way of hcq.
"""

from __future__ import annotations

import importlib
import json
import resource
import sys
from pathlib import Path
from typing import Any

MARK = "@hcq-check "
"""Tells the answer from whatever a package prints when it is imported."""
CHECK_CPU_S = 120
"""Processor time that a check may take; torch and transformers take about ten seconds, however busy the machine."""
SCAN_KERNEL = "scan kernel"
SIDE, FRAMES = 32, 12
"""Of the video that decoders are tried on: pixels, and how many."""


def _write_video(folder: Path) -> Path:
    """An uncompressed grey video (YUV4MPEG2) whose frame i has luma 10 + 20 i."""
    path = folder / "check.y4m"
    # Written by hand, so that a decoder is tried without needing an encoder that may be broken itself.
    with path.open("wb") as out:
        out.write(f"YUV4MPEG2 W{SIDE} H{SIDE} F4:1 Ip A1:1 C420jpeg\n".encode())
        for frame in range(FRAMES):
            out.write(b"FRAME\n" + bytes([10 + 20 * frame]) * SIDE**2 + b"\x80" * (SIDE**2 // 2))
    return path


def _expect(condition: bool, what: str) -> None:
    if not condition:
        raise RuntimeError(what)


def check_numpy(folder: Path) -> dict[str, Any]:
    """A product of two matrices."""
    import numpy as np

    matrix = np.arange(12, dtype=np.float32).reshape(3, 4)
    _expect(float((matrix @ matrix.T)[0, 0]) == 14, "a matrix product is wrong")
    return {"version": np.__version__}


def check_torch(folder: Path) -> dict[str, Any]:
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


def check_transformers(folder: Path) -> dict[str, Any]:
    """A tiny BERT, once forward."""
    import transformers  # isort: skip
    import torch  # after it, so that a transformers that cannot be imported says so itself

    config = transformers.BertConfig(
        vocab_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    states = transformers.BertModel(config).eval()(torch.tensor([[1, 2, 3]])).last_hidden_state
    _expect(tuple(states.shape) == (1, 3, 8), "a BERT gives states of a wrong shape")
    return {"version": transformers.__version__, "detail": "a BERT runs"}


def check_tokenizers(folder: Path) -> dict[str, Any]:
    """A WordPiece vocabulary, there and back through a file."""
    import tokenizers

    words = tokenizers.Tokenizer(tokenizers.models.WordPiece({"[UNK]": 0, "co": 1, "##ok": 2}, unk_token="[UNK]"))
    words.save(str(folder / "tokenizer.json"))
    again = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    _expect(again.encode("cook").ids == [1, 2], "words are cut wrongly")
    return {"version": tokenizers.__version__}


def check_onnx(folder: Path) -> dict[str, Any]:
    """A graph written and checked."""
    import onnx

    onnx.checker.check_model(_doubling())
    return {"version": onnx.__version__}


def check_onnxruntime(folder: Path) -> dict[str, Any]:
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


def check_safetensors(folder: Path) -> dict[str, Any]:
    """An array, there and back through a file."""
    import numpy as np
    import safetensors
    from safetensors.numpy import load_file, save_file

    save_file({"x": np.arange(3)}, folder / "check.safetensors")
    _expect(load_file(folder / "check.safetensors")["x"].tolist() == [0, 1, 2], "an array came back changed")
    return {"version": safetensors.__version__}


def check_h5py(folder: Path) -> dict[str, Any]:
    """A checksummed data set, there and back through a file."""
    import h5py
    import numpy as np

    with h5py.File(folder / "check.h5", "w") as out:
        out.create_dataset("x", data=np.arange(5), chunks=(5,), fletcher32=True)
    with h5py.File(folder / "check.h5", "r") as source:
        _expect(source["x"][:].tolist() == [0, 1, 2, 3, 4], "a data set came back changed")
    return {"version": h5py.__version__, "detail": f"HDF5 {h5py.version.hdf5_version}"}


def check_av(folder: Path) -> dict[str, Any]:
    """A video decoded, frame by frame."""
    import av

    with av.open(str(_write_video(folder))) as container:
        lumas = [frame.to_ndarray()[0, 0] for frame in container.decode(video=0)]
    _expect(lumas == [10 + 20 * frame for frame in range(FRAMES)], f"frames came out wrong: {lumas}")
    codec_library = ".".join(map(str, av.library_versions["libavcodec"]))
    ffmpeg = getattr(av, "ffmpeg_version_info", "")
    known = [name for name in ("h264", "hevc", "vp9", "av1", "aac", "opus") if name in av.codecs_available]
    return {
        "version": av.__version__,
        "detail": f"FFmpeg {ffmpeg} (libavcodec {codec_library}); decodes {' '.join(known)}",
    }


def check_decord(folder: Path) -> dict[str, Any]:
    """A video opened, one frame taken from its middle."""
    import decord

    reader = decord.VideoReader(str(_write_video(folder)))
    _expect(len(reader) == FRAMES, f"a video of {FRAMES} frames has {len(reader)}")
    grey, other = (float(reader[at].asnumpy().mean()) for at in (3, 8))
    _expect(60 < other - grey < 140, f"frames came out wrong: {grey}, {other}")
    return {"version": decord.__version__, "detail": "opens a video"}


def check_cv2(folder: Path) -> dict[str, Any]:
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


def check_scan_kernels(folder: Path) -> dict[str, Any]:
    """Which kernels give the plain sum and its order, which do not, and which one is used.

    Raises:
        HcqError: the environment asks for one that is not there.
    """
    import numpy as np

    from hcq_cli.scan.blocks import WIDTH, Blocks
    from hcq_cli.scan.kernels import kernel, kernels
    from hcq_cli.scan.topk import stack

    rng = np.random.default_rng(0)
    codes = rng.integers(0, 256, (3, 8, WIDTH), dtype=np.uint8)
    tables = rng.normal(size=(2, 8, 256)).astype(np.float32)
    rows = codes.transpose(0, 2, 1).reshape(-1, 8)
    # The reference: each code looked up in its table and added in float64, ties in the order of the rows.
    sums = np.stack([table[np.arange(8), rows].astype(np.float64).sum(1) for table in tables])
    wanted = np.argsort(-sums, axis=1, kind="stable")[:, :10]
    right: list[str] = []
    wrong: list[str] = []
    for name, candidate in kernels().items():
        found = stack(candidate.topk(Blocks(codes, len(rows)), tables, 10))
        same = np.array_equal(found.rows, wanted) and np.allclose(found.scores, np.take_along_axis(sums, wanted, 1))
        (right if same else wrong).append(name)
    return {"used": kernel().name, "right": right, "wrong": wrong}


CHECKS = {
    "onnx": check_onnx,
    "onnxruntime": check_onnxruntime,
    "numpy": check_numpy,
    "torch": check_torch,
    "transformers": check_transformers,
    "tokenizers": check_tokenizers,
    "safetensors": check_safetensors,
    "h5py": check_h5py,
    "av": check_av,
    "decord": check_decord,
    "cv2": check_cv2,
    SCAN_KERNEL: check_scan_kernels,
}
"""By the name under which the package is imported. One that is not here is imported, and no more."""


def run(name: str, folder: Path) -> dict[str, Any]:
    """What a check told, or {"error"} and perhaps {"hint"}.

    Args:
        name: of a package, or SCAN_KERNEL.
        folder: where it may write.
    """
    try:
        if name in CHECKS:
            return CHECKS[name](folder)
        return {"version": getattr(importlib.import_module(name), "__version__", None)}
    except BaseException as error:  # a package may even call sys.exit; whatever it is, it is what shall be told
        hint = getattr(error, "hint", None)
        if hint is not None:  # an HcqError, told by its tag and not its class: hcq is not imported here
            return {"error": str(error), "hint": hint}
        reason = " ".join(str(error).split())[:300]
        return {"error": f"{type(error).__name__}: {reason}"}


if __name__ == "__main__":
    # The kernel ends what takes more by SIGXCPU.
    resource.setrlimit(resource.RLIMIT_CPU, (CHECK_CPU_S, resource.getrlimit(resource.RLIMIT_CPU)[1]))
    outcome = run(sys.argv[1], Path(sys.argv[2]))
    # On a line of its own: what was printed before it may end without one.
    sys.stdout.write("\n" + MARK + json.dumps(outcome) + "\n")
