"""A callback for the ``Trainer`` of Hugging Face transformers.

Example::

    arguments = TrainingArguments("output", eval_strategy="epoch", logging_strategy="epoch")
    trainer = Trainer(model, arguments, ..., callbacks=[DreamCallback(monitor="eval_accuracy", mode="max")])
    trainer.train()

``eval_accuracy`` is what ``compute_metrics`` returns as ``accuracy``.
"""

from __future__ import annotations

import logging
import math
from typing import Any, Final

from torch.optim import Optimizer

from nni_dream.feedback import TrialFeedback
from nni_dream.gradient_sampling import present_learning_rate
from nni_dream.integrations.fits import WatchedFits
from nni_dream.integrations.libraries import import_library
from nni_dream.integrations.metric_names import MetricNames

__all__ = ["DreamCallback"]

# The Trainer needs it; transformers itself says so only when one is made.
_accelerate = import_library(("accelerate.optimizer",), extra="transformers")
_library = import_library(("transformers",), extra="transformers")

_logger = logging.getLogger(__name__)

_PREFIX: Final = "eval_"  # of every metric that the Trainer evaluates
_HINT: Final = "; return it from compute_metrics, or name one of these"


class DreamCallback(_library.TrainerCallback):  # type: ignore[misc, name-defined]
    """Reports each evaluation with the gradients, weights and updates since the one before.

    The final result is sent when the training ends or is stopped early.  The Trainer does not tell its callbacks of
    exceptions: after one the result is sent when the process ends, or at :meth:`finish`.

    Args:
        monitor: Name of the metric that the trial is rated by, with or without "eval_" before it.
        mode: "max" or "min".
        val_loss: Name of a metric.  Default: "eval_loss", where it is evaluated.
        n_fits: How many calls of `trainer.train` with the same model make up the trial.
        planned_epochs: How many evaluations there will be.  Default: what the arguments say, if that is one fit.
        monitor_arguments: `parameters`, `architecture`, `samples_per_epoch`, `layer_order`, `reporter` of
            :class:`nni_dream.monitor.FeedbackMonitor`.

    Raises:
        MissingMetricError: After an evaluation without `monitor`.
        ValueError: When a training begins that evaluates nothing.
        NotImplementedError: If the model is sharded over processes.
    """

    def __init__(
        self,
        monitor: str,
        mode: str,
        *,
        val_loss: str | None = None,
        n_fits: int = 1,
        planned_epochs: int | None = None,
        **monitor_arguments: Any,
    ) -> None:
        names = MetricNames(
            _prefixed(monitor),
            mode,
            stated={"val_loss": None if val_loss is None else _prefixed(val_loss)},
            usual={"train_loss": "loss", "val_loss": "eval_loss"},
            hint=_HINT,
        )
        self._fits = WatchedFits(
            names, n_fits=n_fits, planned_epochs=planned_epochs, monitor_arguments=monitor_arguments
        )
        self._start_step = 0
        self._losses: list[tuple[int, float]] = []  # (steps, mean loss over them) of each log since the last row
        self._logged_step = 0
        self._unrated: dict[str, Any] = {}  # metrics of an evaluation that has not brought `monitor` yet
        self._learning_rate: Any = None

    @property
    def feedback(self) -> TrialFeedback | None:
        """What the trial reported, once its final result is sent."""
        return self._fits.feedback

    def finish(self) -> None:
        """Send the final result now; for a program that goes on after an exception of `trainer.train`."""
        self._fits.finish()

    def on_train_begin(
        self, args: Any, state: Any, control: Any, *, model: Any = None, optimizer: Any = None, **_: Any
    ) -> None:
        """Begin to watch the optimizer inside accelerate's."""
        if args.eval_strategy == "no":
            raise ValueError(
                f"eval_strategy is 'no', but {self._fits.names.monitor!r} rates the trial: set it to 'epoch' or 'steps'"
            )
        self._start_step = self._logged_step = state.global_step
        self._losses, self._unrated = [], {}
        self._fits.begin_fit(model, [_inner(optimizer)], planned_epochs=_planned_evaluations(args, state))
        self._optimizer = _inner(optimizer)

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Keep the rate that is used, not the one after the scheduler's step."""
        self._check_rated()
        self._learning_rate = present_learning_rate(self._optimizer)

    def on_log(self, args: Any, state: Any, control: Any, *, logs: Any = None, **_: Any) -> None:
        """Keep the training loss, which the Trainer averages over the steps since its last log."""
        if self._fits.is_open and logs is not None and "loss" in logs:
            self._losses.append((state.global_step - self._logged_step, float(logs["loss"])))
            self._logged_step = state.global_step

    def on_evaluate(self, args: Any, state: Any, control: Any, *, metrics: Any = None, **_: Any) -> None:
        """Close a row.  Several evaluation sets are evaluated one after the other; the row waits for `monitor`."""
        if not self._fits.is_open or state.global_step == self._start_step:  # outside of train(), or before a step
            return
        self._unrated |= metrics or {}
        if self._fits.names.monitor in self._unrated:
            row, self._unrated = self._unrated, {}
            self._fits.end_epoch({**row, **self._mean_loss()}, learning_rate=self._learning_rate)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """After the last fit, report the final result."""
        self._check_rated()
        self._fits.end_fit()

    def _check_rated(self) -> None:
        if self._unrated:
            unrated, self._unrated = self._unrated, {}
            self._fits.names.check(unrated)

    def _mean_loss(self) -> dict[str, float]:
        losses, self._losses = self._losses, []
        n_steps = sum(n for n, _ in losses)
        if n_steps == 0:
            _logger.warning(
                "no training loss was logged since the last evaluation, none is reported; "
                "log as often as you evaluate (logging_strategy, logging_steps)"
            )
            return {}
        return {"loss": sum(n * loss for n, loss in losses) / n_steps}


def _prefixed(name: str) -> str:
    return name if name.startswith(_PREFIX) else f"{_PREFIX}{name}"


def _inner(optimizer: Any) -> Optimizer:
    """The optimizer inside accelerate's wrapper, which itself has the class but not the hooks of one."""
    while isinstance(optimizer, _accelerate.AcceleratedOptimizer):
        optimizer = optimizer.optimizer
    inner: Optimizer = optimizer
    return inner


def _planned_evaluations(args: Any, state: Any) -> int | None:
    if args.eval_strategy == "epoch":
        return math.ceil(state.num_train_epochs) or None
    return math.ceil((state.max_steps - state.global_step) / state.eval_steps) or None
