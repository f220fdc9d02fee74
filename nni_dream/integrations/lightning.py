"""A callback for PyTorch Lightning, under either of its names (``lightning``, ``pytorch_lightning``).

Example::

    trainer = Trainer(max_epochs=20, callbacks=[DreamCallback(monitor="val_acc", mode="max")])
    trainer.fit(model, train_loader, val_loader)

``val_acc`` is what the LightningModule logs: ``self.log("val_acc", ...)`` in ``validation_step``.
"""

from __future__ import annotations

import math
import re
from typing import Any, Final

from nni_dream.feedback import TrialFeedback
from nni_dream.gradient_sampling import present_learning_rate
from nni_dream.integrations.fits import WatchedFits
from nni_dream.integrations.libraries import import_library
from nni_dream.integrations.metric_names import MetricNames, MissingMetricError

__all__ = ["DreamCallback"]

_library = import_library(("lightning.pytorch", "pytorch_lightning"), extra="lightning")

_HINT: Final = "; self.log() it in validation_step, or name one of these"


class DreamCallback(_library.Callback):  # type: ignore[misc, name-defined]
    """Reports each validation with the gradients, weights and updates since the one before; the sanity check is none.

    Without validation, each training epoch is reported.  The final result is sent when the fit ends, is stopped
    early, or dies of an exception, which goes on to the caller.

    Args:
        monitor: Name of the logged metric that the trial is rated by.
        mode: "max" or "min".
        train_loss: Name of a logged metric.  Default: "train_loss", where it is logged; so below.
        val_loss: Default: "val_loss".
        train_score: Default: `monitor` with "train" for a "val", "valid" or "validation" that it begins with.
        n_fits: How many calls of `trainer.fit` with the same model make up the trial.
        planned_epochs: How many reports there will be.  Default: what the trainer's limits say, if that is one fit.
        monitor_arguments: `parameters`, `architecture`, `samples_per_epoch`, `layer_order`, `reporter` of
            :class:`nni_dream.monitor.FeedbackMonitor`.

    Raises:
        MissingMetricError: In a validation that did not log `monitor`, or where a name stated here is not logged.
        NotImplementedError: If the strategy shards the model over processes.
    """

    def __init__(
        self,
        monitor: str,
        mode: str,
        *,
        train_loss: str | None = None,
        val_loss: str | None = None,
        train_score: str | None = None,
        n_fits: int = 1,
        planned_epochs: int | None = None,
        **monitor_arguments: Any,
    ) -> None:
        super().__init__()
        names = MetricNames(
            monitor,
            mode,
            stated={"train_loss": train_loss, "val_loss": val_loss, "train_score": train_score},
            usual={"train_loss": "train_loss", "val_loss": "val_loss", **_usual_train_score(monitor)},
            hint=_HINT,
        )
        self._fits = WatchedFits(
            names, n_fits=n_fits, planned_epochs=planned_epochs, monitor_arguments=monitor_arguments
        )
        self._is_row_due = False
        self._learning_rate: Any = None

    @property
    def feedback(self) -> TrialFeedback | None:
        """What the trial reported, once its final result is sent."""
        return self._fits.feedback

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin to watch: now the optimizers are there, and the sanity check is over."""
        self._is_row_due = False
        self._fits.begin_fit(pl_module, trainer.optimizers, planned_epochs=_planned_reports(trainer))

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Have a row closed as soon as the metrics of its training are there too.

        The sanity check, and `trainer.validate`, come before `on_train_start` or after `on_train_end`.
        """
        if self._fits.is_open:
            self._fits.names.check(trainer.callback_metrics)
            self._is_row_due = True

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Without validation the epoch is the row."""
        self._is_row_due |= not trainer.enable_validation

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Close the row of the epoch before."""
        self._close_row(trainer)

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Close a row that ends within an epoch; keep the rate that is used, not the one after the scheduler's step."""
        self._close_row(trainer)
        if len(trainer.optimizers) == 1:
            self._learning_rate = present_learning_rate(trainer.optimizers[0])

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Report the last row, and after the last fit the final result."""
        self._close_row(trainer)
        self._fits.end_fit()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Report what there is; the exception goes on to the caller."""
        try:
            self._close_row(trainer)
        except MissingMetricError:  # the exception that goes on is the first one
            pass
        finally:
            self._fits.finish()

    def _close_row(self, trainer: Any) -> None:
        is_due, self._is_row_due = self._is_row_due, False
        if is_due:
            self._fits.end_epoch(trainer.callback_metrics, learning_rate=self._learning_rate)


def _usual_train_score(monitor: str) -> dict[str, str]:
    """The name that goes with a validation metric's; none for a metric whose name does not begin with "val"."""
    name = re.sub(r"^(validation|valid|val)(?![a-z])", "train", monitor)
    return {} if name == monitor else {"train_score": name}


def _planned_reports(trainer: Any) -> int | None:
    """How many rows a fit will have by the trainer's limits; ``None`` where steps or the clock decide."""
    max_epochs = trainer.max_epochs
    if max_epochs is None or max_epochs < 0 or trainer.max_steps >= 0:
        return None
    n_epochs: int = max_epochs - trainer.current_epoch
    if not trainer.enable_validation:
        return n_epochs or None
    if trainer.check_val_every_n_epoch is None:
        return None
    interval, n_batches = trainer.val_check_batch, trainer.num_training_batches
    is_countable = interval is not None and math.isfinite(interval) and math.isfinite(n_batches)
    n_per_epoch = int(n_batches // interval) if is_countable else 1
    return (n_epochs // trainer.check_val_every_n_epoch) * n_per_epoch or None
