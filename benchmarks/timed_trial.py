"""Run a trial of this package as its command says, and write down where its time goes.

    python3 benchmarks/timed_trial.py nni_dream.automl.trial --data trec ...

After every epoch ``timings.json`` in the trial's output folder says, in seconds: ``starting`` (from the start of the
process until NNI's parameters and all modules are there), ``loading`` (data set, vocabulary, samples), ``monitoring``
(the monitor's hooks, measurements and reports) and ``total`` so far.  What is left is building, training and scoring.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nni
import psutil

TIMINGS_FILE = "timings.json"


class Stopwatches:
    """Seconds of each part of the trial; a part that runs inside another one counts as the outer one."""

    def __init__(self) -> None:
        self.began = psutil.Process().create_time()
        self.seconds = {"starting": 0.0, "loading": 0.0, "monitoring": 0.0}
        self._is_running = False

    def mark_start(self) -> None:
        self.seconds["starting"] = time.time() - self.began

    def wrap(self, owner: Any, name: str, part: str, after: Callable[[], None] = lambda: None) -> None:
        """Replace a function or method by one that is timed."""
        timed = getattr(owner, name)

        @functools.wraps(timed)
        def run(*arguments: Any, **named: Any) -> Any:
            if self._is_running:
                return timed(*arguments, **named)
            self._is_running, start = True, time.perf_counter()
            try:
                return timed(*arguments, **named)
            finally:
                self._is_running = False
                self.seconds[part] += time.perf_counter() - start
                after()

        setattr(owner, name, run)

    def write(self) -> None:
        """Replace the file: a trial may be killed at any moment."""
        path = Path(os.environ.get("NNI_OUTPUT_DIR", "."), TIMINGS_FILE)
        draft = path.with_suffix(".draft")
        draft.write_text(json.dumps({**self.seconds, "total": time.time() - self.began}), encoding="utf-8")
        draft.replace(path)


def main() -> int:
    module, *options = sys.argv[1:]
    stopwatches = Stopwatches()
    ask = nni.get_next_parameter

    def ask_then_watch() -> Any:
        parameters = ask()  # torch is imported after it, as the trial itself does
        watch(stopwatches)
        return parameters

    nni.get_next_parameter = ask_then_watch
    code: int = importlib.import_module(module).main(options)
    return code


def watch(stopwatches: Stopwatches) -> None:
    """Time what loads and what monitors, before the trial imports it by name."""
    from nni_dream import gradient_sampling, measured_weights, monitor
    from nni_dream.automl import data, kept_model, samples, training  # noqa: F401  imports count as starting

    stopwatches.mark_start()
    stopwatches.wrap(data, "load_dataset", "loading")
    stopwatches.wrap(samples, "describe", "loading")
    stopwatches.wrap(samples, "samples_of", "loading")
    stopwatches.wrap(gradient_sampling.GradientReader, "_before_step", "monitoring")
    stopwatches.wrap(measured_weights.ForwardOrder, "_on_forward", "monitoring")
    stopwatches.wrap(monitor.FeedbackMonitor, "__init__", "monitoring")
    stopwatches.wrap(monitor.FeedbackMonitor, "end_epoch", "monitoring", after=stopwatches.write)
    stopwatches.wrap(monitor.FeedbackMonitor, "finish", "monitoring", after=stopwatches.write)


if __name__ == "__main__":
    sys.exit(main())
