"""What a trial says about itself, and its form inside an NNI metric.

The trial process and the dispatcher process share this module's JSON and nothing else.

An NNI metric of ours is a dict: ``default`` is the score, flat numeric keys beside it feed NNI's charts, and the
key ``dream`` holds a whole :class:`TrialFeedback` as JSON text (an object there, shown as a column, takes NNI's web
page down).  An intermediate result carries one epoch, the final result all of them without their per-layer numbers
(of more than 500 the first and the last 250).
Non-finite numbers travel as ``null`` beside a count, so that every message is strict JSON.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError

__all__ = [
    "CHART_KEYS",
    "COUNT_KEYS",
    "FEEDBACK_KEY",
    "MAX_FINAL_EPOCHS",
    "MAX_LAYERS",
    "MAX_NAME_LENGTH",
    "SCORE_WITHOUT_ANY",
    "EpochFeedback",
    "FeedbackError",
    "Json",
    "LayerFeedback",
    "OptimizeMode",
    "TrialFeedback",
    "best_score",
    "epoch_metric",
    "final_metric",
    "final_score",
    "finite_or_none",
    "is_same_training",
    "parse_metric",
    "reported_value",
    "score_of",
    "score_text",
    "thin_layers",
]

Json: TypeAlias = Any  # a value that the json module reads and writes
OptimizeMode: TypeAlias = Literal["maximize", "minimize"]

FEEDBACK_KEY: Final = "dream"
SCHEMA_VERSION: Final = 1
MAX_LAYERS: Final = 160  # weight tensors in one message; keeps an epoch under 20 kB (docs/nni_facts.md, M4)
MAX_NAME_LENGTH: Final = 56  # characters of a layer's name in a message
MAX_FINAL_EPOCHS: Final = 500  # epochs in a final result; about 200 kB, far below the 1 MB of NNI's older channel
SIGNIFICANT_DIGITS: Final = 4  # of every number in a message

# NNI's `default` as long as a trial has had no finite score; NNI takes no NaN for an answer.
SCORE_WITHOUT_ANY: Final[dict[OptimizeMode, float]] = {"maximize": 0.0, "minimize": 1e10}

COUNT_KEYS: Final = ("n_nonfinite_losses", "n_nonfinite_weights", "n_nonfinite_gradients")
CHART_KEYS: Final = (
    "train_loss",
    "val_loss",
    "train_score",
    "val_score",
    "learning_rate",
    "gradient_norm",
    "gradient_ratio",
    "dead_unit_share",
    "zero_gradient_share",
    "weight_norm",
    "update_ratio",
    *COUNT_KEYS,
    "seconds",
)


class FeedbackError(ValueError):
    """A metric carries our key, but not a feedback that this version understands."""


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class LayerFeedback(_Message):
    """One epoch's numbers of each weight tensor with two or more dimensions, in forward order.

    Every list has the same length; ``None`` stands for what was not measured or not finite.
    """

    names: list[str] | None = None  # sent with the first epoch only
    gradient_norms: list[float | None]  # L2, mean over the sampled steps
    zero_gradient_shares: list[float | None]  # share of entries that are exactly zero, 0..1
    dead_unit_shares: list[float | None]  # share of output units whose gradient row is zero, 0..1
    weight_norms: list[float | None]  # L2, at the end of the epoch
    update_ratios: list[float | None]  # |w_end - w_start| / |w_start|, L2


class EpochFeedback(_Message):
    """What one epoch of training showed."""

    epoch: int = Field(ge=0)  # counted from 0
    train_loss: float | None = None
    val_loss: float | None = None
    train_score: float | None = None
    val_score: float | None = None
    n_nonfinite_losses: int = Field(default=0, ge=0)  # of both losses; of the scores where no loss is given
    learning_rate: float | None = None
    seconds: float | None = None
    gradient_norm: float | None = None  # L2 over all measured weight tensors
    gradient_ratio: float | None = None  # input-side layer / output-side layer
    dead_unit_share: float | None = None  # over the units of all layers, 0..1
    zero_gradient_share: float | None = None  # over the entries of all layers, 0..1
    weight_norm: float | None = None
    update_ratio: float | None = None
    n_nonfinite_weights: int = Field(default=0, ge=0)
    n_nonfinite_gradients: int = Field(default=0, ge=0)
    n_layers: int = Field(default=0, ge=0)  # weight tensors measured; `layers` may hold fewer
    layers: LayerFeedback | None = None


class TrialFeedback(_Message):
    """One or more epochs of one trial, and which trial it is.

    ``parameters`` are those the trial really received: NNI's own record can be another trial's.
    """

    version: Literal[1] = SCHEMA_VERSION
    parameters: dict[str, Json] | None = None
    architecture: str | None = None  # RA, EA, XA, NA, TA or OA, when the trial tells it
    planned_epochs: int | None = Field(default=None, ge=1)
    optimize_mode: OptimizeMode | None = None  # by which its final result is the best epoch
    epochs: tuple[EpochFeedback, ...] = ()

    def merge(self, other: TrialFeedback) -> TrialFeedback:
        """Return the union of both, epochs in order; for an epoch that both know, this feedback's stays.

        One later epoch costs no more than a copy of the list: a trial may report ten thousand.
        """
        if len(self.epochs) == 1 and other.epochs and other.epochs[-1].epoch < self.epochs[0].epoch:
            epochs = (*other.epochs, *self.epochs)
        else:
            by_index = {epoch.epoch: epoch for epoch in (*other.epochs, *self.epochs)}
            epochs = tuple(by_index[index] for index in sorted(by_index))
        own = {
            "parameters": other.parameters if self.parameters is None else self.parameters,
            "architecture": self.architecture or other.architecture,
            "planned_epochs": self.planned_epochs or other.planned_epochs,
            "optimize_mode": self.optimize_mode or other.optimize_mode,
        }
        return self.model_copy(update={**own, "epochs": epochs})  # the parts are checked already

    def without_layers(self) -> TrialFeedback:
        """Return the feedback without its per-layer numbers: most of its size, and no decision asks for them."""
        if all(epoch.layers is None for epoch in self.epochs):
            return self
        epochs = tuple(epoch.model_copy(update={"layers": None}) for epoch in self.epochs)
        return self.model_copy(update={"epochs": epochs})

    def summary(self) -> TrialFeedback:
        """Return what a final result and the journal hold of a trial: all epochs without layers.

        Beyond 500 epochs the first 250 and the last 250 are held: convergence and the first abnormal epoch are there.
        """
        if len(self.epochs) <= MAX_FINAL_EPOCHS:
            return self.without_layers()
        half = MAX_FINAL_EPOCHS // 2
        return self.model_copy(update={"epochs": (*self.epochs[:half], *self.epochs[-half:])}).without_layers()


def finite_or_none(value: float | None) -> float | None:
    """Return the number rounded to four significant digits, or ``None`` if it is missing, NaN or infinite."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}")


def thin_layers(layers: LayerFeedback) -> LayerFeedback:
    """Return at most 160 layers, evenly spaced, the first and the last always among them."""
    n_layers = len(layers.gradient_norms)
    if n_layers <= MAX_LAYERS:
        return layers
    kept = [round(i * (n_layers - 1) / (MAX_LAYERS - 1)) for i in range(MAX_LAYERS)]
    columns = {name: column and [column[i] for i in kept] for name, column in layers}
    return LayerFeedback(**columns)


def epoch_metric(feedback: TrialFeedback, score: float) -> dict[str, Json]:
    """Return the NNI intermediate metric of a feedback that holds exactly one epoch.

    Args:
        score: NNI's ``default``; finite.
    """
    (epoch,) = feedback.epochs
    return {"default": score, **_chart_numbers(epoch), FEEDBACK_KEY: _to_json(feedback)}


def final_metric(feedback: TrialFeedback, score: float, best_epoch: EpochFeedback | None) -> dict[str, Json]:
    """Return the NNI final metric: the best epoch's numbers for the table, the feedback's summary for the tuner.

    Counts of non-finite numbers are the largest of any epoch: the best epoch may have come before the trouble.
    """
    charts = {} if best_epoch is None else _chart_numbers(best_epoch)
    for key in COUNT_KEYS:
        charts[key] = max((getattr(epoch, key) for epoch in feedback.epochs), default=0)
    return {"default": score, **charts, "n_epochs": len(feedback.epochs), FEEDBACK_KEY: _to_json(feedback.summary())}


def parse_metric(metric: Json) -> TrialFeedback | None:
    """Return the feedback inside an NNI metric, or ``None`` if the metric has no ``dream`` key.

    Raises:
        FeedbackError: If there is such a key, but its content is not a feedback of this version.
    """
    if not isinstance(metric, Mapping) or FEEDBACK_KEY not in metric:
        return None
    try:
        return TrialFeedback.model_validate_json(metric[FEEDBACK_KEY])
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in (FEEDBACK_KEY, *first["loc"]))
        raise FeedbackError(f"{where}: {first['msg']}; expected feedback of version {SCHEMA_VERSION}") from error


def reported_value(metric: Json) -> Json:
    """Return what an NNI metric reports: itself, or a dict's ``default``; of a NumPy array of no dimension its number.

    NNI writes such an array, as ``accuracy.numpy()`` of PyTorch is, as a dict of its own.
    """
    value = metric.get("default", metric) if isinstance(metric, Mapping) else metric
    return value.get("__ndarray__") if isinstance(value, Mapping) and value.get("shape") == [] else value


def score_of(metric: Json) -> float | None:
    """Return the finite number that an NNI metric reports as its score, else ``None``.

    A bool, a string, NaN and infinity are none.
    """
    value = reported_value(metric)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:  # an integer of more than 308 digits
        return None
    return number if math.isfinite(number) else None


def score_text(score: float | None) -> str:
    """Return a score with four decimals, or four digits where decimals would hide it; ``-`` for none."""
    if score is None:
        return "-"
    return f"{score:.4f}" if score == 0 or 1e-3 <= abs(score) < 1e5 else f"{score:.4g}"


def final_score(metric: Json, epochs: Sequence[EpochFeedback], mode: OptimizeMode) -> float | None:
    """Return the score of a final metric; ``None`` also for `SCORE_WITHOUT_ANY` of a trial that never had a score.

    Args:
        epochs: Of the trial, as far as they are known.
    """
    score = score_of(metric)
    is_stand_in = score == SCORE_WITHOUT_ANY[mode] and len(epochs) > 0 and best_score(epochs, mode) is None
    return None if is_stand_in else score


def best_score(epochs: Sequence[EpochFeedback], mode: OptimizeMode) -> float | None:
    """Return the best finite validation score of the epochs, or ``None`` if there is none."""
    scores = [epoch.val_score for epoch in epochs if epoch.val_score is not None]
    if not scores:
        return None
    return max(scores) if mode == "maximize" else min(scores)


def is_same_training(one: TrialFeedback, other: TrialFeedback) -> bool:
    """Whether two trials went through the same numbers in every epoch, all digits that are sent; seconds do not count.

    Trials that tell neither a loss nor a gradient are never taken for the same: scores alone are equal by chance.
    """
    ones, others = ([_training_numbers(epoch) for epoch in feedback.epochs] for feedback in (one, other))
    return ones == others and any(number is not None for epoch in ones for number in epoch[:3])


def _training_numbers(epoch: EpochFeedback) -> tuple[float | None, ...]:
    """What training showed, the numbers first that are hardly ever equal by chance."""
    return (
        epoch.train_loss,
        epoch.val_loss,
        epoch.gradient_norm,
        epoch.train_score,
        epoch.val_score,
        epoch.weight_norm,
        epoch.update_ratio,
    )


def _chart_numbers(epoch: EpochFeedback) -> dict[str, float | int]:
    numbers = {key: getattr(epoch, key) for key in CHART_KEYS}
    return {key: number for key, number in numbers.items() if number is not None}


def _to_json(feedback: TrialFeedback) -> str:
    text = json.dumps(feedback.model_dump(mode="json", exclude_none=True), allow_nan=False, separators=(",", ":"))
    return text.replace("'", r"\u0027")  # NNI's older channel ends a metric at the first single quote
