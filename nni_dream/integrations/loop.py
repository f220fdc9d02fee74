"""Watching a loop that is written by hand: two lines of it change.

Example::

    for epoch, end_epoch in watched_epochs(20, model, optimizer, optimize_mode="maximize"):
        train_loss = train(model, optimizer)
        val_loss, val_score = validate(model)
        end_epoch(train_loss=train_loss, val_loss=val_loss, val_score=val_score)
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

from torch import nn
from torch.optim import Optimizer

from nni_dream.feedback import EpochFeedback
from nni_dream.monitor import FeedbackMonitor

__all__ = ["EndEpoch", "finishing", "watched_epochs"]

EndEpoch: TypeAlias = Callable[..., EpochFeedback]  # FeedbackMonitor.end_epoch


def watched_epochs(
    epochs: int | Sequence[int],
    model: nn.Module,
    optimizer: Optimizer | Sequence[Optimizer],
    **monitor_arguments: Any,
) -> Iterator[tuple[int, EndEpoch]]:
    """Count epochs as `range` does, each with the function that closes it, and send the final result after the last.

    So it is after `break`, `return` and an exception in the loop's body, too: CPython then closes the iterator at
    once, as long as the loop alone holds it.  Elsewhere :func:`finishing` is certain.

    Args:
        epochs: How many, or which: ``range(5, 20)`` for a training that goes on from a checkpoint.
        monitor_arguments: Those of :class:`nni_dream.monitor.FeedbackMonitor`.

    Yields:
        The epoch, and :meth:`nni_dream.monitor.FeedbackMonitor.end_epoch`, to be called once in each.

    Raises:
        RuntimeError: If the body did not close its epoch.
    """
    numbers = range(epochs) if isinstance(epochs, int) else epochs
    monitor_arguments.setdefault("planned_epochs", len(numbers) or None)
    monitor = FeedbackMonitor(model, optimizer, **monitor_arguments)
    return _closed_epochs(numbers, monitor)


@contextlib.contextmanager
def finishing(monitor: FeedbackMonitor) -> Iterator[FeedbackMonitor]:
    """Send the monitor's final result at the end of the block, whatever ends it; an exception goes on to the caller.

    Example::

        with finishing(FeedbackMonitor(model, optimizer, optimize_mode="maximize")) as monitor:
            ...
    """
    try:
        yield monitor
    finally:
        monitor.finish()


def _closed_epochs(numbers: Sequence[int], monitor: FeedbackMonitor) -> Iterator[tuple[int, EndEpoch]]:
    n_closed = 0

    def end_epoch(**numbers_of_epoch: Any) -> EpochFeedback:
        nonlocal n_closed
        n_closed += 1
        return monitor.end_epoch(**numbers_of_epoch)

    with finishing(monitor):
        for i, number in enumerate(numbers):
            yield number, end_epoch
            if n_closed != i + 1:
                raise RuntimeError(
                    f"epoch {number} ended with {n_closed - i} calls of end_epoch(), expected 1, "
                    "with what the epoch's validation said"
                )
