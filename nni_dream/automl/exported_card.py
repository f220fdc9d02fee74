"""What is known of an exported model: as JSON for programs, and as a page for people."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Final

from nni_dream.automl.exported_files import CONFIGURATION_FILE, LOCAL, WEIGHTS_FILE
from nni_dream.automl.kept_model import ModelDescription
from nni_dream.automl.vocabulary import N_SPECIAL, PADDING, UNKNOWN
from nni_dream.feedback import score_text

__all__ = ["CARD_FILE", "PAGE_FILE", "Repair", "SearchFacts", "TestScore", "card_of", "metric_of", "page_of"]

CARD_FILE: Final = "card.json"
PAGE_FILE: Final = "README.md"
N_LISTED_CLASSES: Final = 50  # more of them are only counted


@dataclass(frozen=True)
class Repair:
    """A trial on the way to the model."""

    trial: int
    score: float | None
    what: str  # condition of the trial before and action, or where the configuration came from


@dataclass(frozen=True)
class SearchFacts:
    """What the search's journal says of the trial whose model is exported."""

    experiment: str
    trial: int
    rank: int  # among the trials with a score; 1: the best
    n_trials: int  # that have ended
    n_epochs: int  # of this trial
    score: float  # on validation
    seed: int | None
    repairs: tuple[Repair, ...]  # from the seed configuration to this trial
    version: str  # of nni_dream, at the export


@dataclass(frozen=True)
class TestScore:
    """The score on the test split, or why there is none."""

    __test__ = False  # pytest would take it for a test

    score: float | None
    n_samples: int = 0
    reason: str | None = None  # for the card, which is given away: without folders of this machine
    detail: str | None = None  # for the user of this machine


def metric_of(description: ModelDescription) -> str:
    return "mean squared error" if description.classes is None else "accuracy"


def card_of(
    description: ModelDescription,
    facts: SearchFacts,
    test: TestScore,
    *,
    weights: dict[str, Any],
    onnx: dict[str, Any] | None,
    torch_version: str,
) -> dict[str, Any]:
    """Return all facts as JSON values.

    Args:
        weights: ``n_parameters`` and ``sha256`` of the file.
        onnx: ``file``, ``tolerance``, ``largest_difference`` and ``checked_batches``, the numbers of inputs at a time;
            ``None`` where there is no ONNX file.
    """
    search: dict[str, Any] = {**asdict(facts), "repairs": [asdict(repair) for repair in facts.repairs]}
    version = search.pop("version")
    tested = {"score": test.score, "n_samples": test.n_samples} if test.reason is None else {"reason": test.reason}
    return {
        "task": description.task,
        "metric": metric_of(description),
        "validation": {"score": search.pop("score")},
        "test": {"score": None, **tested},
        "search": search,
        "training": {
            "data": {
                name: value for name, value in description.data.items() if name not in LOCAL and value is not None
            },
            "options": description.training,
            "scale": description.scale if description.networks == "task" else None,
            "parameters": description.parameters,
        },
        "weights": {"file": WEIGHTS_FILE, **weights},
        "onnx": onnx,
        "versions": {"nni_dream": version, "torch": torch_version},
    }


def page_of(card: dict[str, Any], description: ModelDescription, name: str) -> str:
    """Return the page in Markdown.

    Args:
        name: Of the model's folder, for the example.
    """
    parts = [
        f"# {_title(description)}",
        _origin(card),
        _scores(card),
        "## Use",
        _use(description, name),
        _inputs(description),
        *_classes(description),
        *([] if card["onnx"] is None else ["## ONNX", _onnx(card["onnx"], description)]),
        "## How it was found",
        _repairs(card),
        "## How it was trained",
        _training(card),
    ]
    return "\n\n".join(parts) + "\n"


def _title(description: ModelDescription) -> str:
    kind = "Text" if description.task == "text_classification" else "Image"
    if description.classes is None:
        return f"{kind} regression, outputs: {description.n_outputs}"
    return f"{kind} classifier, classes: {description.n_outputs}"


def _origin(card: dict[str, Any]) -> str:
    search = card["search"]
    rank = "the best" if search["rank"] == 1 else f"number {search['rank']}"
    return (
        f"Trial {search['trial']} of the experiment {_code(search['experiment'])}, {rank} of {search['n_trials']} "
        f"trials by the score on the validation samples. Written by nni_dream {card['versions']['nni_dream']}."
    )


def _scores(card: dict[str, Any]) -> str:
    test = card["test"]
    if test["score"] is None:
        tested = f"No score on test: {test['reason']}."
    else:
        tested = (
            f"The {test['n_samples']} test samples were scored at the export, with these weights; no decision of the "
            "search has seen them."
        )
    rows = [f"| validation | {score_text(card['validation']['score'])} |"]
    if test["score"] is not None:
        rows.append(f"| test | {score_text(test['score'])} |")
    table = "\n".join([f"| samples | {card['metric']} |", "|---|---|", *rows])
    return f"{table}\n\n{tested} The search chose by the validation score, which for that reason tends to be too good."


def _use(description: ModelDescription, name: str) -> str:
    example = '["a text", "another text"]' if description.task == "text_classification" else '["a.png", "b.png"]'
    show = "answer" if description.classes is None else "answer.label, answer.probability"
    return (
        "```python\nfrom nni_dream.automl import load\n\n"
        f"model = load({json.dumps(name)})\nfor answer in model.predict({example}):\n    print({show})\n```\n\n"
        "It needs the Python package `nni_dream[automl]`, but no training data, no experiment and no GPU."
    )


def _inputs(description: ModelDescription) -> str:
    if description.task == "text_classification":
        return (
            f"Inputs: strings. The vocabulary has {len(description.terms or ())} terms; all other words count as one "
            "unknown word."
        )
    channels, height, width = description.image_shape or (0, 0, 0)
    shape = "(N, height, width)" if channels == 1 else f"(N, height, width, {channels})"
    pictures = {1: "; pictures become grey", 3: "; pictures become RGB"}.get(channels, "")
    return (
        f"Inputs: paths of pictures, PIL images, or arrays of uint8 from 0 to {description.largest_pixel}, "
        f"{shape}{pictures}. The training images are {height} pixels high and {width} wide; others are resized to "
        "that, bilinear and antialiased, and their shape is not kept."
    )


def _classes(description: ModelDescription) -> list[str]:
    if description.classes is None:
        return []
    if len(description.classes) > N_LISTED_CLASSES:
        return [f"The {len(description.classes)} classes are in `{CONFIGURATION_FILE}`."]
    return [f"Classes: {_code(json.dumps(description.classes, ensure_ascii=False))}"]


def _onnx(onnx: dict[str, Any], description: ModelDescription) -> str:
    if description.task == "text_classification":
        inputs = (
            f"`ids`, int64 (N, L), numbers of terms: {PADDING} fills short texts up, {UNKNOWN} is every unknown word, "
            f"and from {N_SPECIAL} on come the `terms` of `{CONFIGURATION_FILE}` (`model.prepare(texts).long()`)"
        )
    else:
        channels, height, width = description.image_shape or (0, 0, 0)
        inputs = f"`pixels`, uint8 (N, {channels}, {height}, {width}), from 0 to {description.largest_pixel}"
    outputs = "`numbers`" if description.classes is None else "`probabilities` and `logits`"
    return (
        f"`{onnx['file']}` takes {inputs}; it gives {outputs}. ONNX Runtime and PyTorch were compared on random inputs "
        f"in batches of {', '.join(map(str, onnx['checked_batches']))}: they differed by "
        f"{onnx['largest_difference']:.1e} at most, of the largest output or of 1 where that is less; "
        f"{onnx['tolerance']:.0e} was allowed."
    )


def _repairs(card: dict[str, Any]) -> str:
    rows = []
    for step in card["search"]["repairs"]:
        rows.append(f"| {step['trial']} | {score_text(step['score'])} | {_cell(step['what'])} |")
    return "\n".join(["| trial | validation | step |", "|---|---|---|", *rows])


def _training(card: dict[str, Any]) -> str:
    training = card["training"]
    facts = {"data": training["data"], "options": training["options"], "scale": training["scale"]}
    told = "\n".join(f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in facts.items() if value)
    return (
        f"{card['search']['n_epochs']} epochs; the weights are those after the best of them on the validation samples. "
        f"{card['weights']['n_parameters']} parameters.\n\n"
        f"```\n{told}\nparameters: {json.dumps(training['parameters'], ensure_ascii=False)}\n```"
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _code(text: str) -> str:
    """As code in Markdown, whatever characters it has."""
    fence = "`"
    while fence in text:
        fence += "`"
    return f"{fence} {text} {fence}" if "`" in text else f"`{text}`"
