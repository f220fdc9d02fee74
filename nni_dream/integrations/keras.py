"""A callback for Keras 3 on its torch backend (``KERAS_BACKEND=torch``).

Example::

    model.fit(x, y, epochs=20, validation_data=..., callbacks=[DreamCallback(monitor="val_accuracy", mode="max")])
"""

from __future__ import annotations

import logging
from typing import Any, Final

from nni_dream.feedback import TrialFeedback
from nni_dream.integrations.fits import WatchedFits
from nni_dream.integrations.keras_view import AppliedGradients, KerasView
from nni_dream.integrations.libraries import import_library
from nni_dream.integrations.metric_names import MetricNames

__all__ = ["DreamCallback"]

_BACKENDS: Final = ("tensorflow", "jax", "openvino")
_SET_TORCH: Final = "set the environment variable KERAS_BACKEND=torch before Keras is imported"

try:
    _library = import_library(("keras",), extra="keras")
except ModuleNotFoundError as error:
    backend = (error.name or "").partition(".")[0]
    if backend not in _BACKENDS:
        raise
    raise ImportError(f"Keras needs {backend!r} for its backend, which is not installed: {_SET_TORCH}") from error

_logger = logging.getLogger(__name__)

_PREFIX: Final = "val_"  # of every metric of validation
_HINT: Final = "; give it to model.compile(metrics=...) and validation data to model.fit, or name one of these"


class DreamCallback(_library.callbacks.Callback):  # type: ignore[misc, name-defined]
    """Reports each epoch with its gradients, weights and updates; of several epochs if only the last is validated.

    The final result is sent when the fit ends or is stopped early.  Keras does not tell its callbacks of exceptions:
    after one the result is sent when the process ends, or at :meth:`finish`.

    Args:
        monitor: Name of the metric that the trial is rated by.
        mode: "max" or "min".
        train_loss: Name of a metric.  Default: "loss".
        val_loss: Default: "val_loss", where there is validation data.
        train_score: Default: `monitor` without "val_".
        n_fits: How many calls of `model.fit` on the same model make up the trial.
        planned_epochs: How many reports there will be.  Default: the epochs of the fit, if that is one fit.
        monitor_arguments: `parameters`, `architecture`, `samples_per_epoch`, `layer_order`, `reporter` of
            :class:`nni_dream.monitor.FeedbackMonitor`.

    Raises:
        RuntimeError: If Keras runs on another backend.
        MissingMetricError: After an epoch without `monitor`; after the fit if no epoch was validated.
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
        _check_backend()
        names = MetricNames(
            monitor,
            mode,
            stated={"train_loss": train_loss, "val_loss": val_loss, "train_score": train_score},
            usual={"train_loss": "loss", "val_loss": "val_loss", "train_score": monitor.removeprefix(_PREFIX)},
            hint=_HINT,
        )
        self._fits = WatchedFits(
            names, n_fits=n_fits, planned_epochs=planned_epochs, monitor_arguments=monitor_arguments
        )
        self._gradients: AppliedGradients | None = None
        self._view: KerasView | None = None
        self._viewed_model: Any = None
        self._is_begun = False  # the fit, or one before it that ended in an exception
        self._unrated: dict[str, Any] | None = None  # metrics of the last epoch, if none was validated yet

    @property
    def feedback(self) -> TrialFeedback | None:
        """What the trial reported, once its final result is sent."""
        return self._fits.feedback

    def finish(self) -> None:
        """Send the final result now; for a program that goes on after an exception of `model.fit`."""
        self._release()
        self._fits.finish()

    def on_train_begin(self, logs: Any = None) -> None:
        """Leave behind a fit that ended in an exception."""
        self._release()
        self._unrated = None
        self._is_begun = False

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Begin to watch: now the model is built, and known is whether the fit has an `initial_epoch`."""
        if not self._is_begun:
            self._is_begun = True
            n_left = self.params.get("epochs", 0) - epoch
            self._watch(self.model, planned_epochs=n_left if n_left > 0 else None)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Close a row; an epoch without validation waits for the next one that has some (`validation_freq`)."""
        metrics = dict(logs or {})
        monitor = self._fits.names.monitor
        is_validated = any(name.startswith(_PREFIX) for name in metrics)
        if monitor not in metrics and monitor.startswith(_PREFIX) and not is_validated:
            self._wait(metrics)
            return
        self._unrated = {}
        rate = None if self._gradients is None else self._gradients.learning_rate
        self._fits.end_epoch(metrics, learning_rate=rate)

    def on_train_end(self, logs: Any = None) -> None:
        """After the last fit, report the final result."""
        self._release()
        if self._unrated:
            self._fits.names.check(self._unrated)
        self._fits.end_fit()

    def _watch(self, model: Any, *, planned_epochs: int | None) -> None:
        if self._viewed_model is not model:
            self._viewed_model, self._view = model, KerasView(model)
        view = self._view
        assert view is not None
        self._gradients = AppliedGradients(view, model.optimizer)
        try:
            self._fits.begin_fit(view, [self._gradients], planned_epochs=planned_epochs)
        finally:
            if not self._fits.is_open:
                self._release()

    def _wait(self, metrics: dict[str, Any]) -> None:
        if self._unrated is None:
            _logger.warning("no validation in this epoch: it is reported together with the next one that has some")
            self._unrated = metrics

    def _release(self) -> None:
        if self._gradients is not None:
            self._gradients.release()
            self._gradients = None


def _check_backend() -> None:
    backend = _library.backend.backend()
    if backend != "torch":
        raise RuntimeError(f"Keras runs on {backend!r}, but gradients can be read on 'torch' only: {_SET_TORCH}")
