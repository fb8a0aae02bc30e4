"""The text encoder of a dual encoder that a person brings as ONNX, `onnx:FOLDER`.

    image.onnx      pictures → vectors; image.json says how pictures are prepared (experts/neural/sidecar.py)
    audio.onnx      or windows of sound, with audio.json
    text.onnx       token ids [B, T], and a mask where it takes one → vectors [B, dim] of the same space
    tokenizer.json  of the tokenizers library; how it truncates and pads is what texts are brought to
    text.json       where it needs telling; every line may be left out, and so may the file:

    {
      "max_tokens": 77,          longest text; default: what tokenizer.json truncates to, else the graph's own length
      "pad_to": 64,              tokens that every text is padded to; default: the graph's own length, else none
      "pad_id": 0,               default: what tokenizer.json pads with, else 0
      "pad_left": false,         whether what pads comes first
      "small_letters": true,     whether the network was trained on small letters alone (SigLIP)
      "output": "text_embeds",   name of the output with the vectors; default: what exporters call it, else the first
      "logit_scale": 100.0,      what cosines were multiplied with in training, and what was added: they calibrate
      "logit_bias": 0.0
    }

Letters: B texts, T tokens, dim the width of the joint space.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experts.neural.onnx_network import check_external_data, open_session
from experts.neural.weights import WeightsError, digest, first_line, read_json
from hcq_cli.fitting.dual_text import LONGEST, DualText, Reading, make_letters_small, write_checked
from hcq_cli.model.export import SAMPLE, silence
from hcq_cli.model.exported_text_encoder import TextReading

TEXT_FILE, TOKENIZER_FILE, RULES_FILE = "text.onnx", "tokenizer.json", "text.json"
OUTPUTS = ("text_embeds", "text_embedding", "sentence_embedding", "text_features", "pooler_output")
"""What exporters call the vector of a text, the likeliest first."""
NUMBERS, SWITCHES = ("max_tokens", "pad_to", "pad_id", "logit_scale", "logit_bias"), ("pad_left", "small_letters")
HINT = "hcq_cli/fitting/dual_onnx.py lists what the file may say"


def write_onnx_text(source: str, folder: Path, path: Path) -> DualText:
    """Write the text encoder of an `onnx:FOLDER`; see `dual.write_dual_text`.

    Args:
        source: as a person gave it.
        folder: that it names.
        path: of the file.

    Raises:
        WeightsError: a file is missing, or cannot be used.
    """
    graph, reading, output, rules = _opened(source, folder)
    exact = _called_directly(folder / TEXT_FILE, reading, output)
    parts = [*sorted(folder.glob("text.*")), folder / TOKENIZER_FILE]
    _join(graph, output, exact.shape[-1])
    with silence():
        deviation = write_checked(graph, reading, path, f"sha256:{digest(parts)}", exact)
    scale = rules.get("logit_scale")
    return DualText(path, exact.shape[-1], scale and float(scale), float(rules.get("logit_bias", 0.0)), deviation)


def onnx_text_width(source: str, folder: Path) -> int:
    """The width of the vectors that the text encoder of an `onnx:FOLDER` gives. Raises as `write_onnx_text`."""
    _, reading, output, _ = _opened(source, folder)
    return _called_directly(folder / TEXT_FILE, reading, output).shape[-1]


def _opened(source: str, folder: Path) -> tuple[Any, Reading, str, dict[str, Any]]:
    """The text graph, how texts become its input, the output with the vectors, and what text.json says."""
    import onnx
    from tokenizers import Tokenizer

    for name in (TEXT_FILE, TOKENIZER_FILE):
        if not (folder / name).is_file():
            raise WeightsError(f"{source}: {folder} holds no {name}", "export the text encoder into it, too")
    check_external_data(folder / TEXT_FILE)
    rules = _rules(folder / RULES_FILE, source)
    try:
        tokenizer, graph = Tokenizer.from_file(str(folder / TOKENIZER_FILE)), onnx.load(folder / TEXT_FILE)
    except Exception as error:  # tokenizers raises bare Exception, protobuf its own
        raise WeightsError(f"{source}: cannot be read ({first_line(error)})", "copy it again") from error
    return graph, _reading(graph, tokenizer, rules), _output(graph, rules, folder), rules


def _rules(path: Path, source: str) -> dict[str, Any]:
    """What text.json says. Raises WeightsError where it makes no sense."""
    rules = read_json(path, source) if path.exists() else {}
    for key, value in rules.items():
        if key not in (*NUMBERS, *SWITCHES, "output"):
            raise WeightsError(f"{path}: {key!r} means nothing", HINT)
        kind = bool if key in SWITCHES else str if key == "output" else float if key.startswith("logit") else int
        number = kind is float and type(value) is int
        if not (number or type(value) is kind) or (kind is int and value < 0):
            raise WeightsError(f"{path}: {key!r} is {value!r}", HINT)
    return rules


def _inputs(graph: Any) -> Any:
    """The inputs of a graph; older exporters list its numbers among them."""
    held = {tensor.name for tensor in graph.graph.initializer}
    return [given for given in graph.graph.input if given.name not in held]


def _role(name: str) -> str:
    """What an input of a text network is for: "mask", "type" (of a token: always 0) or "ids"."""
    return next((role for role in ("mask", "type") if role in name.lower()), "ids")


def _reading(graph: Any, tokenizer: Any, rules: Mapping[str, Any]) -> Reading:
    """How texts become the graph's input: by text.json, else tokenizer.json, else the graph itself."""
    inputs = _inputs(graph)
    fixed = max((dim.dim_value for given in inputs for dim in given.type.tensor_type.shape.dim[1:2]), default=0)
    padding, truncation = tokenizer.padding or {}, tokenizer.truncation or {}
    pad_to = fixed or rules.get("pad_to", padding.get("length") or 0)
    if rules.get("small_letters", False):
        make_letters_small(tokenizer, False)
    how = TextReading(
        max_tokens=pad_to or rules.get("max_tokens", truncation.get("max_length", LONGEST)),
        pad_id=rules.get("pad_id", padding.get("pad_id", 0)),
        cls_id=None,
        pad_to=pad_to,
        pad_left=rules.get("pad_left", padding.get("direction") == "left") and bool(pad_to),
    )
    return Reading(tokenizer, how)


def _output(graph: Any, rules: Mapping[str, Any], folder: Path) -> str:
    """The name of the output with the vectors. Raises WeightsError."""
    names = [each.name for each in graph.graph.output]
    wanted = rules.get("output") or next((name for name in OUTPUTS if name in names), names[0])
    if wanted not in names:
        raise WeightsError(f"{folder / RULES_FILE}: there is no output {wanted!r}", f"it has {', '.join(names)}")
    return str(wanted)


def _called_directly(path: Path, reading: Reading, output: str) -> NDArray[np.float32]:
    """The graph's own vectors of `SAMPLE`, of length 1: float32 [n, 1, dim]. Raises WeightsError."""
    session, rows = open_session(path, "cpu"), []
    for text in SAMPLE:
        ids, mask = (part.numpy() for part in reading.inputs([text]))
        given = {"ids": ids, "mask": mask, "type": ids * 0}
        wanted = {each.name: each.type.removeprefix("tensor(").rstrip(")") for each in session.get_inputs()}
        types = {"int64": np.int64, "int32": np.int32, "float": np.float32, "bool": np.bool_}
        try:
            feed: dict[str, Any] = {name: given[_role(name)].astype(types[kind]) for name, kind in wanted.items()}
            (found,) = session.run([output], feed)
        except Exception as error:  # onnxruntime's own, without a common base
            raise WeightsError(f"{path}: cannot read a text: {first_line(error)}", HINT) from error
        if found.ndim != 2:
            what = f"{path}: its output {output!r} is {list(found.shape)}, not one vector a text"
            raise WeightsError(what, 'name another in text.json: "output"')
        rows.append(found / np.linalg.norm(found, axis=-1, keepdims=True))
    return np.stack(rows).astype(np.float32)


def _join(graph: Any, output: str, width: int) -> None:
    """Let a graph take ids and mask, as exported text encoders do, and give vectors of length 1 as "levels"."""
    from onnx import TensorProto, helper, numpy_helper

    body, before, inputs = graph.graph, [], _inputs(graph)
    for given in inputs:
        role, kind = _role(given.name), given.type.tensor_type.elem_type
        made = f"hcq_{given.name}"
        if role == "type":
            zero = numpy_helper.from_array(np.zeros(1, np.int64), "hcq_zero")
            before += [
                helper.make_node("Constant", [], ["hcq_zero"], value=zero),
                helper.make_node("Mul", ["ids", "hcq_zero"], [made]),
            ]
        before.append(helper.make_node("Cast", [made if role == "type" else role], [given.name], to=kind))
    shape = numpy_helper.from_array(np.array([-1, 1, width]), "hcq_shape")
    after = [
        helper.make_node("LpNormalization", [output], ["hcq_unit"], axis=-1, p=2),
        helper.make_node("Constant", [], ["hcq_shape"], value=shape),
        helper.make_node("Reshape", ["hcq_unit", "hcq_shape"], ["levels"]),
    ]
    nodes = [*before, *body.node, *after]
    del body.node[:], body.input[:], body.output[:]
    body.node.extend(nodes)
    body.input.extend(
        helper.make_tensor_value_info(name, kind, ["B", "T"])
        for name, kind in (("ids", TensorProto.INT64), ("mask", TensorProto.BOOL))
    )
    body.output.append(helper.make_tensor_value_info("levels", TensorProto.FLOAT, ["B", 1, width]))
