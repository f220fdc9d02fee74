"""Which of a framework's own metrics are the numbers of an epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from nni_dream.feedback import OptimizeMode

__all__ = ["MODES", "MetricNames", "MissingMetricError"]

MODES: Final[dict[str, OptimizeMode]] = {"max": "maximize", "min": "minimize"}  # the frameworks' word -> NNI's


class MissingMetricError(ValueError):
    """A metric was named that the training does not produce."""


@dataclass(frozen=True)
class MetricNames:
    """Names of metrics: those that the user stated must be there, the usual ones are taken where they are.

    Raises:
        ValueError: If `mode` is neither "max" nor "min".
    """

    monitor: str  # what the trial is rated by
    mode: str
    stated: Mapping[str, str | None]  # train_loss, val_loss, train_score -> name, or None for the usual one
    usual: Mapping[str, str]  # the same keys
    hint: str = ""  # how the framework is made to produce a metric
    optimize_mode: OptimizeMode = field(init=False)

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"mode is {self.mode!r}, expected one of {', '.join(MODES)}")
        object.__setattr__(self, "optimize_mode", MODES[self.mode])

    def check(self, metrics: Mapping[str, Any]) -> None:
        """Raise if the metric that rates the trial is not there."""
        self._require("monitor", self.monitor, metrics)

    def numbers(self, metrics: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of `FeedbackMonitor.end_epoch`.

        A loss that rates the trial counts once: as `val_loss`, which is the score of a trial that minimises.

        Raises:
            MissingMetricError: If `monitor` or a stated name is not among the metrics.
        """
        self.check(metrics)
        found: dict[str, Any] = {}
        for argument, usual in self.usual.items():
            name = self.stated.get(argument)
            if name is not None:
                self._require(argument, name, metrics)
            elif usual in metrics:
                name = usual
            if name is not None:
                found[argument] = metrics[name]
        val_loss = self.stated.get("val_loss") or self.usual["val_loss"]
        if self.mode == "max" or self.monitor != val_loss:
            found["val_score"] = metrics[self.monitor]
        return found

    def _require(self, argument: str, name: str, metrics: Mapping[str, Any]) -> None:
        if name not in metrics:
            there = ", ".join(sorted(metrics)) or "none at all"
            raise MissingMetricError(f"{argument} is {name!r}, but the metrics are {there}{self.hint}")
