"""One trial's monitor over the fits of a framework's trainer: what the callbacks have in common."""

from __future__ import annotations

import atexit
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

from torch import nn
from torch.optim import Optimizer

from nni_dream.feedback import TrialFeedback
from nni_dream.integrations.metric_names import MetricNames
from nni_dream.monitor import FeedbackMonitor

__all__ = ["MONITOR_ARGUMENTS", "WatchedFits"]

_logger = logging.getLogger(__name__)

# Of FeedbackMonitor; a callback passes them on.
MONITOR_ARGUMENTS: Final = ("architecture", "layer_order", "parameters", "reporter", "samples_per_epoch")


class WatchedFits:
    """Makes the monitor when the first fit begins, and sends the final result when the last one ends.

    A fit that dies of an exception ends the trial too: what was measured until then is its result.  A framework that
    does not tell its callbacks of exceptions has the result sent when the process ends.

    Args:
        n_fits: How many fits of the same model make up the trial.
        planned_epochs: Over all fits.  Default: what the trainer plans, if there is one fit.
        monitor_arguments: Some of `MONITOR_ARGUMENTS`.

    Raises:
        TypeError: If an argument is unknown.
        ValueError: If `n_fits` is less than 1.
    """

    def __init__(
        self,
        names: MetricNames,
        *,
        n_fits: int,
        planned_epochs: int | None,
        monitor_arguments: Mapping[str, Any],
    ) -> None:
        for argument in monitor_arguments:
            if argument not in MONITOR_ARGUMENTS:
                raise TypeError(f"unknown argument {argument!r}, FeedbackMonitor takes {', '.join(MONITOR_ARGUMENTS)}")
        if n_fits < 1:
            raise ValueError(f"n_fits is {n_fits}, expected 1 or more")
        self.names = names
        self._n_fits = n_fits
        self._n_ended = 0
        self._planned_epochs = planned_epochs
        self._monitor_arguments = dict(monitor_arguments)
        self._model: nn.Module | None = None
        self._monitor: FeedbackMonitor | None = None
        self._is_open = False
        self.feedback: TrialFeedback | None = None  # of the whole trial, once its final result is sent

    @property
    def is_open(self) -> bool:
        """Whether a fit is being watched."""
        return self._is_open

    def begin_fit(self, model: nn.Module, optimizers: Sequence[Optimizer], *, planned_epochs: int | None) -> None:
        """Watch a fit; one that comes after the trial's last is let pass with a warning.

        Raises:
            ValueError: If it trains another model than the fits before.
        """
        if self.feedback is not None:
            _logger.warning(
                "this fit is not watched: the trial's final result is sent; n_fits=%d would take it in",
                self._n_ended + 1,
            )
            return
        if self._monitor is None:
            self._make_monitor(model, optimizers, planned_epochs)
        elif model is not self._model:
            raise ValueError("this fit trains another model than the one before: give it a callback of its own")
        else:
            for optimizer in optimizers:
                self._monitor.watch(optimizer)
        self._is_open = True

    def end_epoch(self, metrics: Mapping[str, Any], *, learning_rate: Any = None) -> None:
        """Close one row of the report.

        Raises:
            MissingMetricError: If a metric that was named is not among them.
        """
        if self._monitor is not None and self._is_open:
            self._monitor.end_epoch(**self.names.numbers(metrics), learning_rate=learning_rate)

    def end_fit(self) -> None:
        """Enter the end of a fit; after the last one, send the final result."""
        if not self._is_open:
            return
        self._is_open = False
        self._n_ended += 1
        if self._n_ended >= self._n_fits:
            self.finish()

    def finish(self) -> None:
        """Send the final result now, and watch no more; a second call does nothing."""
        self._is_open = False
        if self._monitor is None:
            return
        atexit.unregister(self.finish)
        self.feedback = self._monitor.finish()
        self._model = self._monitor = None  # they may be large

    def _make_monitor(self, model: nn.Module, optimizers: Sequence[Optimizer], planned_epochs: int | None) -> None:
        planned = planned_epochs if self._n_fits == 1 else None
        self._monitor = FeedbackMonitor(
            model,
            optimizers,
            optimize_mode=self.names.optimize_mode,
            planned_epochs=self._planned_epochs or planned,
            **self._monitor_arguments,
        )
        self._model = model
        atexit.register(self.finish)
