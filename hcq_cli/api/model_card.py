"""The model card of a checkpoint for others: what it was made of, how well it finds, how it is used."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

    from hcq_cli.api.evaluation import Evaluation
    from hcq_cli.evaluation.retrieval import RecallPoint
    from hcq_cli.model.checkpoint import CheckpointHeader

CARD = """---
{{ card_data }}
---

# {{ name }}

Finds videos by text. A model of hcq, kind `{{ kind }}`
([Hybrid Contrastive Quantization](https://arxiv.org/abs/2202.03384)), which keeps {{ bytes }} bytes of a video.

{% for what, value in facts if value %}- {{ what }}: {{ value }}
{% endfor %}
## How well it finds

{% if rows %}{{ measured_on }}. Recall in percent; MedR is the median rank of the right video.

| vectors | bytes a video | text to video R@1 | R@5 | R@10 | MedR | video to text R@1 |
|---|---|---|---|---|---|---|
{% for row in rows %}| {{ row | join(" | ") }} |
{% endfor %}{% for warning in warnings %}
Note: {{ warning }}.
{% endfor %}{% else %}Not measured: no videos with captions were at hand.
{% endif %}
## Use

{% if "/" in place %}`hcq models fetch {{ place }}` once, then on features of the same experts:

{% else %}On features of the same experts:

{% endif %}```console
$ hcq encode --ckpt {{ place }}
$ hcq index build
$ hcq query "a man cooking"
```

The vocabulary and the vectors in the weights come from the data that it was made of.
"""
"""The model card, for jinja; `card_data` is what the hub sorts models by."""
PLACE = re.compile("(^|[:=])/.*/")
"""The folders of a path, alone or in a source (onnx:/home/me/network.onnx)."""


def model_card(header: CheckpointHeader, place: str, licence: str, dataset: str, measured: Evaluation | None) -> str:
    """The card of a checkpoint, as text.

    Args:
        header: of the checkpoint.
        place: the name of its folder, or its id on the hub.
        licence, dataset: as `publishing.save_pretrained` takes them.
        measured: how well it finds; None where that was not measured.
    """
    from huggingface_hub import ModelCard, ModelCardData

    name = place.rpartition("/")[2]
    data = ModelCardData(
        license=licence.strip().lower(),
        library_name="hcq",
        tags=["video-retrieval", "text-to-video", "quantization"],
        model_name=name,
        eval_results=_results(measured, dataset) if measured else None,
    )
    measured_on = ""
    if measured is not None:
        found = measured.measured
        measured_on = f"{found.videos:,} videos, {found.texts:,} captions, split {measured.split}"
    card = ModelCard.from_template(
        data,
        template_str=CARD,
        name=name,
        place=place,
        kind=header.config.kind,
        bytes=f"{header.config.bytes_per_video:,}",
        facts=_facts(header, dataset),
        measured_on=measured_on,
        rows=[_row(point) for point in measured.points] if measured else [],
        warnings=[warning.rstrip(".") for warning in measured.warnings] if measured else [],
    )
    return f"{card.content}\n"


def _facts(header: CheckpointHeader, dataset: str) -> list[tuple[str, str]]:
    """What a reader wants to know before the figures; an empty one is left out."""
    about, text = header.about, header.config.text
    # An identity is name|version|weights|sampling|…
    weights = {name: [*expert.identity.split("|"), "", ""][2] for name, expert in header.config.experts.items()}
    experts = [f"{name} ({PLACE.sub('', source)})" if source else name for name, source in weights.items()]
    recipe = about.get("recipe")
    return [
        ("made of", dataset),
        ("videos trained on", str(about.get("videos") or "")),
        ("experts", ", ".join(experts)),
        ("text encoder", PLACE.sub("", text.encoder)),
        ("recipe", str(recipe.get("name", "")) if isinstance(recipe, dict) else ""),
        ("hash", f"`{header.hash}`"),
    ]


def _row(point: RecallPoint) -> list[str]:
    t2v, v2t = point.metrics.t2v, point.metrics.v2t
    figures = (t2v.R1, t2v.R5, t2v.R10, t2v.MedR, v2t.R1)
    return [point.name, f"{point.bytes_per_video:,}", *(f"{figure:.1f}" for figure in figures)]


def _results(measured: Evaluation, dataset: str) -> list[EvalResult]:
    """The recalls of the codes, as the hub lists them."""
    from huggingface_hub import EvalResult

    figures = measured.measured.quantized.t2v
    return [
        EvalResult(
            task_type="text-to-video-retrieval",
            dataset_type="own",
            dataset_name=dataset or "own videos",
            dataset_split=measured.split,
            metric_type=f"recall_at_{k}",
            metric_value=round(value, 2),
        )
        for k, value in ((1, figures.R1), (5, figures.R5), (10, figures.R10))
    ]


def without_places(value: Any) -> Any:
    """A value of JSON, of whose paths the names alone are left: others need not know this machine's folders."""
    if isinstance(value, dict):
        return {key: without_places(each) for key, each in value.items()}
    if isinstance(value, list):
        return [without_places(each) for each in value]
    return PLACE.sub(r"\1", value) if isinstance(value, str) else value
