"""Trains one configuration after the other in one process: without NNI, and without the seconds of a fresh start.

    python3 -m nni_dream.automl.worker --data cifar10 --data-dir DIR --task image_classification --epochs 6

takes the options of :mod:`nni_dream.automl.trial`.  Its first line, ``"ready"``, says that it has read its data.  Then
it reads a configuration a line, as JSON, and answers each with a line: ``{"metric": ..., "seconds": ...}``, the final
result as NNI would have it, or ``{"error": ...}`` when this configuration cannot be trained.  It ends with its input.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nni_dream.automl.parent import end_with_parent
from nni_dream.automl.task_settings import read_settings
from nni_dream.automl.trial import parse_options, training_options

if TYPE_CHECKING:
    from nni_dream.automl.task import LoadedTask

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Answer every line of the input, and return the exit code."""
    end_with_parent()
    options = parse_options(arguments)

    import torch

    from nni_dream.automl.task import LoadedTask

    torch.set_num_threads(1)  # other workers train beside this one; and one thread always adds in the same order
    task = LoadedTask(training_options(options))
    _say("ready")
    for line in sys.stdin:
        _say(answer(task, json.loads(line)))
    return 0


def _say(words: dict[str, Any] | str) -> None:
    sys.stdout.write(json.dumps(words, allow_nan=False) + "\n")
    sys.stdout.flush()


def answer(task: LoadedTask, parameters: dict[str, Any]) -> dict[str, Any]:
    """Train a configuration; what goes wrong with it is an answer too."""
    from nni_dream.reporting import InMemoryReporter

    reporter = InMemoryReporter()
    start = time.perf_counter()
    try:
        settings = read_settings(task.options.task, parameters)
        task.train(settings, parameters=parameters, reporter=reporter)
    except (ValueError, RuntimeError) as error:  # the configuration's own: too large, too small, not trainable
        return {"error": f"{type(error).__name__}: {error}", "seconds": time.perf_counter() - start}
    (metric,) = reporter.final
    return {"metric": metric, "seconds": time.perf_counter() - start}


if __name__ == "__main__":
    sys.exit(main())
