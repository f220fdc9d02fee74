"""Watches the training of one trial, and reports what every epoch showed.

Example::

    monitor = FeedbackMonitor(model, optimizer, optimize_mode="maximize", planned_epochs=20)
    for epoch in range(20):
        train_loss = train(model, optimizer)
        val_loss, val_score = validate(model)
        monitor.end_epoch(train_loss=train_loss, val_loss=val_loss, val_score=val_score)
    monitor.finish()

Gradients are read at a few steps of each epoch, as the optimizer applies them: after unscaling, accumulation and
clipping.  Training is not changed: the same seed gives the same weights with and without a monitor, bit for bit.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias, get_args

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from nni_dream.feedback import (
    SCORE_WITHOUT_ANY,
    EpochFeedback,
    Json,
    OptimizeMode,
    TrialFeedback,
    epoch_metric,
    final_metric,
    finite_or_none,
)
from nni_dream.gradient_sampling import GradientReader, merge_sums, present_learning_rate
from nni_dream.layer_numbers import fetch_layers, layer_feedback, pooled_numbers
from nni_dream.measured_weights import ForwardOrder, find_weights, named_parameters, unwrap
from nni_dream.reporting import TrialReporter, current_parameters
from nni_dream.tensor_statistics import take_free, tensor_norms
from nni_dream.weight_updates import UpdateMeter

__all__ = ["ARCHITECTURES", "FeedbackMonitor", "Number"]

_logger = logging.getLogger(__name__)

Number: TypeAlias = float | Tensor  # a tensor has one entry

ARCHITECTURES: Final = ("RA", "EA", "XA", "NA", "TA", "OA")


class FeedbackMonitor:
    """Measures a model's gradients, weights and updates epoch by epoch, and reports them with the scores.

    To be made after the model is on its device and before the first step; weights may still be loaded in between.
    Parameters that are unfrozen later, or handed to a watched optimizer later, are measured from then on.

    Args:
        model: Plain, compiled, in `DataParallel` or in `DistributedDataParallel`; there only rank 0 reports.
        optimizer: One, or a sequence; each is read at its own steps.
        optimize_mode: Whether `val_score` is better when larger ("maximize") or smaller ("minimize").
        planned_epochs: How many there will be if nobody stops the trial.
        parameters: The trial's hyperparameters.  Default: those NNI handed to this trial.
        architecture: RA, EA, XA, NA, TA or OA, where the parameters do not tell it.
        samples_per_epoch: Steps at which gradients are read, from the second epoch on.
        layer_order: Names of the weights in forward order.  Default: watched in the first forward pass.
        reporter: Default: one that sends to NNI, and outside NNI to the log.

    Raises:
        TypeError: If an optimizer is none of torch, or the parameters are not JSON.
        ValueError: If an argument is out of its range, the model has no weight of two dimensions, or an optimizer
            has none of the model's parameters.
        NotImplementedError: If the model is sharded over processes (FSDP, DTensor).
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer | Sequence[Optimizer],
        *,
        optimize_mode: OptimizeMode = "maximize",
        planned_epochs: int | None = None,
        parameters: dict[str, Json] | None = None,
        architecture: str | None = None,
        samples_per_epoch: int = 4,
        layer_order: Sequence[str] | None = None,
        reporter: TrialReporter | None = None,
    ) -> None:
        _check_choice("optimize_mode", optimize_mode, get_args(OptimizeMode))
        _check_choice("architecture", architecture, (None, *ARCHITECTURES))
        if samples_per_epoch < 1:
            raise ValueError(f"samples_per_epoch is {samples_per_epoch}, expected 1 or more")
        if planned_epochs is not None and (planned_epochs != int(planned_epochs) or planned_epochs < 1):
            raise ValueError(f"planned_epochs is {planned_epochs}, expected a whole number, 1 or more")
        self._mode = optimize_mode
        self._trial = TrialFeedback(
            parameters=current_parameters() if parameters is None else parameters,
            architecture=architecture,
            planned_epochs=planned_epochs,
            optimize_mode=optimize_mode,
        )
        _check_json(self._trial.parameters or {})
        self._samples_per_epoch = samples_per_epoch
        self._reporter = TrialReporter() if reporter is None else reporter

        plain_model = unwrap(model)
        self._weights = find_weights(plain_model)
        self._parameters = named_parameters(plain_model)
        self._order = ForwardOrder(model, self._weights, layer_order)
        self._updates = UpdateMeter({weight.name: weight.parameter for weight in self._weights})
        self._readers: list[GradientReader] = []
        try:
            self._watch_all(optimizer if isinstance(optimizer, (list, tuple)) else (optimizer,))
        except BaseException:  # nobody gets this monitor: nobody could remove its hooks
            self.close()
            raise

        self._epochs: list[EpochFeedback] = []
        self._last_score = SCORE_WITHOUT_ANY[optimize_mode]  # finite
        self._best_score = SCORE_WITHOUT_ANY[optimize_mode]
        self._best_epoch: EpochFeedback | None = None
        self._epoch_start = time.perf_counter()
        self._is_finished = False
        self._has_warned = False  # of an epoch without a step

    def watch(self, optimizer: Optimizer) -> None:
        """Read the gradients that one more optimizer applies; a watched one is not read twice.

        Raises:
            TypeError: If it is not an optimizer of torch.
            ValueError: If it has none of the model's parameters.
        """
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"optimizer is of type {type(optimizer).__name__}, expected a torch.optim.Optimizer")
        if any(reader.optimizer is optimizer for reader in self._readers):
            return
        held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        if held.isdisjoint(map(id, self._parameters.values())):
            raise ValueError(f"the {type(optimizer).__name__} optimizer has none of the model's parameters")
        reader = GradientReader(
            optimizer,
            {id(weight.parameter): weight for weight in self._weights},
            samples_per_epoch=self._samples_per_epoch,
            on_sample=self._on_sample,
        )
        self._readers.append(reader)

    def end_epoch(
        self,
        *,
        train_loss: Number | None = None,
        val_loss: Number | None = None,
        train_score: Number | None = None,
        val_score: Number | None = None,
        learning_rate: Number | None = None,
    ) -> EpochFeedback:
        """Close one epoch: measure, report to NNI, return what was measured.

        NNI's `default` is the validation score; when that is not finite, the last finite one of this trial, and
        :data:`nni_dream.feedback.SCORE_WITHOUT_ANY` before there was one.

        Args:
            val_score: Needed to maximize.  To minimize, it defaults to `val_loss`.
            learning_rate: Default: that of the first parameter group of the first optimizer that made a step, at its
                last step.

        Raises:
            RuntimeError: After :meth:`finish`.
            ValueError: If there is no validation score, or what is given is not one number.
        """
        if self._is_finished:
            raise RuntimeError("end_epoch() after finish(): the final result is already sent")
        given = {"train_loss": train_loss, "val_loss": val_loss, "train_score": train_score, "val_score": val_score}
        numbers = {name: _to_float(name, value) for name, value in given.items() if value is not None}
        score = self._validation_score(numbers)
        rate = self._learning_rate() if learning_rate is None else _to_float("learning_rate", learning_rate)
        reported: dict[str, Any] = {name: finite_or_none(number) for name, number in numbers.items()}
        reported["val_score"] = finite_or_none(score)
        epoch = EpochFeedback(
            epoch=len(self._epochs),
            **reported,
            n_nonfinite_losses=_n_nonfinite_losses(numbers),
            learning_rate=finite_or_none(rate),
            seconds=finite_or_none(self._lap_seconds()),
            **self._measure(),
        )
        self._epochs.append(epoch)
        self._keep_score(score, epoch)
        if _is_reporting_process():
            message = self._trial.model_copy(update={"epochs": (epoch,)})
            self._reporter.report_intermediate(epoch_metric(message, self._last_score))
        return epoch

    def finish(self) -> TrialFeedback:
        """Send the final result, whose `default` is the best validation score, and :meth:`close`.

        A second call sends nothing; without any epoch nothing is sent either.

        Returns:
            All epochs, with their layers.
        """
        feedback = self._trial.model_copy(update={"epochs": tuple(self._epochs)})
        if self._is_finished:
            return feedback
        self._is_finished = True
        self.close()
        if not self._epochs:
            _logger.warning("finish() before any end_epoch(): no final result is sent")
        elif _is_reporting_process():
            self._reporter.report_final(final_metric(feedback, self._best_score, self._best_epoch))
        return feedback

    def close(self) -> None:
        """Remove all hooks from the model and the optimizers, and the copy of the weights; what was measured stays."""
        self._order.stop()
        self._updates.stop()
        for reader in self._readers:
            reader.close()

    def _watch_all(self, optimizers: Sequence[Optimizer]) -> None:
        if not optimizers:
            raise ValueError("no optimizer is given: gradients are read at the steps of one")
        for optimizer in optimizers:
            self.watch(optimizer)

    def _on_sample(self) -> None:
        self._order.stop()
        self._updates.start()

    @torch.no_grad()
    def _measure(self) -> dict[str, Any]:
        """Return the measured fields of an ``EpochFeedback``, and begin to measure the next epoch."""
        is_first = not self._epochs
        if is_first:
            self._order.stop()
            self._weights = self._order.sorted_weights()
        if not any(reader.n_steps for reader in self._readers):
            self._warn_of_no_step()
        norms, updates = self._updates.end_epoch()
        others = {name: parameter for name, parameter in self._parameters.items() if name not in norms}
        norms = norms | dict(zip(others, take_free(tensor_norms(list(others.values()))), strict=True))
        layers, n_nonfinite_weights = fetch_layers(
            self._weights,
            self._parameters,
            norms=norms,
            gradients=merge_sums(reader.end_epoch() for reader in self._readers),
            updates=updates,
        )
        return {
            **pooled_numbers(layers),
            "n_nonfinite_weights": n_nonfinite_weights,
            "layers": layer_feedback(layers, with_names=is_first),
        }

    def _warn_of_no_step(self) -> None:
        if not self._has_warned:
            _logger.warning(
                "no step of a watched optimizer in this epoch, so that no gradient was read: give the monitor, or its "
                "watch(), the optimizer whose step() is called (logged once)"
            )
        self._has_warned = True

    def _validation_score(self, numbers: Mapping[str, float]) -> float:
        if "val_score" in numbers:
            return numbers["val_score"]
        if self._mode == "maximize":
            raise ValueError(
                "end_epoch() got no val_score: it is what a trial with optimize_mode='maximize' is rated by"
            )
        if "val_loss" not in numbers:
            raise ValueError("end_epoch() got neither val_score nor val_loss: one of them is what a trial is rated by")
        return numbers["val_loss"]

    def _keep_score(self, score: float, epoch: EpochFeedback) -> None:
        if not math.isfinite(score):
            return
        self._last_score = score
        is_better = score > self._best_score if self._mode == "maximize" else score < self._best_score
        if self._best_epoch is None or is_better:
            self._best_score, self._best_epoch = score, epoch

    def _learning_rate(self) -> float | None:
        stepped = [reader.learning_rate for reader in self._readers if reader.n_steps > 0]
        rate = stepped[0] if stepped else present_learning_rate(self._readers[0].optimizer)
        return None if rate is None else float(rate)

    def _lap_seconds(self) -> float:
        start, self._epoch_start = self._epoch_start, time.perf_counter()
        return self._epoch_start - start


def _n_nonfinite_losses(numbers: Mapping[str, float]) -> int:
    """Count the losses that are not finite; the scores where no loss is given, as a score may have no value."""
    losses = [number for name, number in numbers.items() if name.endswith("_loss")]
    return sum(not math.isfinite(number) for number in losses or numbers.values())


def _to_float(name: str, value: Number) -> float:
    if isinstance(value, Tensor) and value.numel() != 1:
        raise ValueError(f"{name} is a tensor of shape {tuple(value.shape)}, expected one number")
    try:
        return float(value.detach() if isinstance(value, Tensor) else value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name} is {value!r}, expected one number") from None


def _check_choice(name: str, value: str | None, choices: Sequence[str | None]) -> None:
    if value not in choices:
        raise ValueError(f"{name} is {value!r}, expected one of {', '.join(map(str, choices))}")


def _check_json(parameters: Mapping[str, Json]) -> None:
    for name, value in parameters.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise TypeError(f"parameter {name!r} is {value!r}, expected JSON without NaN and infinity") from error


def _is_reporting_process() -> bool:
    distributed = torch.distributed
    return not (distributed.is_available() and distributed.is_initialized() and distributed.get_rank() != 0)
