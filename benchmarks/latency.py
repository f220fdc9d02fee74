"""What one suggestion costs after 100 to 100,000 finished trials: Dream, NNI's TPE and Optuna's TPE.

    python benchmarks/latency.py [--levels 100 1000 10000 100000] [--limit 1800]

Needs Optuna (`pip install -e .[benchmarks]`).  Every tuner works in a process of its own on
``experiment_configs/spaces/image_expanded.json``.  At each level it makes 50 suggestions, and is told a result after
each; processor time is measured, as other work on the machine does not add to it.  Dream comes to a level by its own
suggestions and the final results of trials of 16 epochs, and keeps its journal; the two TPE are given finished trials
of random configurations by their own import.  One that needs more seconds than the limit is ended; what it measured
until then stands in the table.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import random
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol, get_args

import numpy as np
import psutil
from markdown_tables import table_head, table_row
from nni.algorithms.hpo.tpe_tuner import TpeTuner

from nni_dream.config import Strategy
from nni_dream.feedback import EpochFeedback, Json, TrialFeedback, final_metric, finite_or_none
from nni_dream.search.parameters import Choice, Parameter
from nni_dream.search.space import Configuration, SearchSpace
from nni_dream.tuner import DreamTuner

SPACE = Path(__file__).parents[1] / "experiment_configs" / "spaces" / "image_expanded.json"
RESULTS = Path(__file__).parent / "results" / "latency.md"
LEVELS = (100, 1_000, 10_000, 100_000)
N_SUGGESTIONS = 50
N_TRACED = 5  # suggestions under tracemalloc, after those that are timed
N_EPOCHS = 16
SEED = 0
MILLI, KIBI, MEBI = 1e3, 1024, 1024**2


@dataclass(frozen=True)
class Measurement:
    """One tuner at one level."""

    tuner: str
    n_trials: int
    median: float  # processor seconds of one suggestion
    percentile_95: float
    result_median: float  # processor seconds until one result is taken in
    peak: int  # bytes that a suggestion allocates at once, the largest of those traced
    resident: int  # bytes of the process more than before the first trial
    seconds: float  # processor seconds from the level before to this one, without what is measured


class Subject(Protocol):
    """A tuner that is measured."""

    def grow(self, n_trials: int) -> None:
        """Come from ``n_trials`` fewer to that many finished trials more."""

    def suggest(self) -> Any: ...

    def tell(self, suggestion: Any) -> Callable[[], None]:
        """Return what enters a result for the suggestion: only this call is timed."""


class Dream:
    """DreamTuner in this process, called as NNI's dispatcher calls it."""

    def __init__(self, strategy: str) -> None:
        self._tuner = DreamTuner(seed=SEED, strategy=strategy)
        self._tuner.update_search_space(json.loads(SPACE.read_text()))
        self._random = random.Random(SEED)
        self._n = 0

    def grow(self, n_trials: int) -> None:
        for _ in range(n_trials):
            self.tell(self.suggest())()

    def suggest(self) -> Configuration:
        return self._tuner.generate_parameters(self._n)

    def tell(self, suggestion: Configuration) -> Callable[[], None]:
        number, self._n = self._n, self._n + 1
        metric = result_of(suggestion, self._random)
        return partial(self._tuner.receive_trial_result, number, suggestion, metric, trial_job_id=f"job{number}")


class NniTpe:
    """NNI's TPE in this process, on a space without nesting: twice nested ones end it with a KeyError."""

    def __init__(self) -> None:
        self._tuner = TpeTuner("maximize", seed=SEED)
        definition = flat(SearchSpace(json.loads(SPACE.read_text())))
        self._tuner.update_search_space(definition)
        self._space, self._rng, self._n = SearchSpace(definition), np.random.default_rng(SEED), 0

    def grow(self, n_trials: int) -> None:
        for _ in range(n_trials):
            self._tuner.import_data([{"parameter": self._space.sample(self._rng), "value": self._rng.uniform()}])

    def suggest(self) -> Configuration:
        return self._tuner.generate_parameters(self._n)

    def tell(self, suggestion: Configuration) -> Callable[[], None]:
        number, self._n = self._n, self._n + 1
        return partial(self._tuner.receive_trial_result, number, suggestion, self._rng.uniform())


class OptunaTpe:
    """Optuna's TPE with its own defaults, storing in memory."""

    def __init__(self) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._optuna = optuna
        self._study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=SEED))
        self._space, self._rng = SearchSpace(json.loads(SPACE.read_text())), np.random.default_rng(SEED)

    def grow(self, n_trials: int) -> None:
        for _ in range(n_trials):
            drawn: dict[str, Json] = {}
            distributions: dict[str, Any] = {}

            def choose(parameter: Parameter, drawn: dict[str, Json] = drawn, d: dict[str, Any] = distributions) -> Json:
                d[parameter.place] = self._optuna.distributions.CategoricalDistribution(choices_of(parameter))
                drawn[parameter.place] = parameter.sample(self._rng)
                return drawn[parameter.place]

            self._space.build(choose)
            trial = self._optuna.create_trial(params=drawn, distributions=distributions, value=self._rng.uniform())
            self._study.add_trial(trial)

    def suggest(self) -> Any:
        trial = self._study.ask()
        self._space.build(
            lambda parameter: trial.suggest_categorical(parameter.place, choices_of(parameter))  # one that it activates
        )
        return trial

    def tell(self, suggestion: Any) -> Callable[[], None]:
        return partial(self._study.tell, suggestion, self._rng.uniform())


SUBJECTS: dict[str, Callable[[], Subject]] = {
    **{f"Dream, {strategy}": partial(Dream, strategy) for strategy in get_args(Strategy)},
    f"NNI {version('nni')} TPE": NniTpe,
    "Optuna TPE": OptunaTpe,
}


def flat(space: SearchSpace) -> dict[str, Json]:
    """The parameters that are active where every choice has its first option, side by side."""
    first = space.build(lambda parameter: choices_of(parameter)[0])
    return {
        parameter.name: {"_type": "choice", "_value": choices_of(parameter)}
        for parameter, _ in space.active_values(first)
    }


def choices_of(parameter: Parameter) -> list[Json]:
    if not isinstance(parameter, Choice):
        raise TypeError(f"parameter {parameter.name} is a range; only choices are translated for Optuna so far")
    return parameter.action_values()


def result_of(configuration: Configuration, rng: random.Random) -> dict[str, Json]:
    """The final metric of a trial of 16 epochs, with every number that the monitor gives."""
    top, slope, norm = rng.uniform(0.1, 0.9), rng.uniform(0.05, 0.6), rng.lognormvariate(0, 1)
    epochs = tuple(_epoch(index, top, slope, norm, rng) for index in range(N_EPOCHS))
    best = max(epochs, key=lambda epoch: epoch.val_score or 0.0)
    feedback = TrialFeedback(parameters=configuration, planned_epochs=N_EPOCHS, epochs=epochs)
    return final_metric(feedback, best.val_score or 0.0, best)


def _epoch(index: int, top: float, slope: float, norm: float, rng: random.Random) -> EpochFeedback:
    score = top * (1 - (1 - slope) ** (index + 1))
    numbers = {
        "train_loss": 3 - 2.5 * score,
        "val_loss": 3 - 2.2 * score + 0.1 * rng.random(),
        "train_score": score,
        "val_score": score * rng.uniform(0.9, 1.0),
        "learning_rate": 0.1 * 0.9**index,
        "seconds": rng.uniform(20, 25),
        "gradient_norm": norm * rng.uniform(0.5, 2.0),
        "gradient_ratio": rng.lognormvariate(0, 2),
        "dead_unit_share": 0.1 * rng.random(),
        "zero_gradient_share": 0.2 * rng.random(),
        "weight_norm": norm * 30 + index,
        "update_ratio": 0.01 * rng.random(),
    }
    rounded = {name: finite_or_none(number) for name, number in numbers.items()}
    return EpochFeedback(epoch=index, n_layers=53, **rounded)


def measure(name: str, levels: list[int]) -> Iterator[Measurement]:
    """Yield the tuner's figures, level by level."""
    subject = SUBJECTS[name]()
    process, n_trials = psutil.Process(), 0
    gc.collect()
    resident = process.memory_info().rss
    for level in levels:
        start = time.process_time()
        subject.grow(level - n_trials)
        spent = time.process_time() - start
        seconds = [_timed_pair(subject) for _ in range(N_SUGGESTIONS)]
        suggestions = sorted(pair[0] for pair in seconds)
        n_trials = level + N_SUGGESTIONS + N_TRACED
        grown = process.memory_info().rss - resident
        yield Measurement(
            tuner=name,
            n_trials=level,
            median=statistics.median(suggestions),
            percentile_95=statistics.quantiles(suggestions, n=20)[-1],
            result_median=statistics.median(pair[1] for pair in seconds),
            peak=max(_traced_peak(subject) for _ in range(N_TRACED)),
            resident=grown,
            seconds=spent,
        )


def _timed_pair(subject: Subject) -> tuple[float, float]:
    """Processor seconds of a suggestion, and of its result."""
    start = time.process_time()
    suggestion = subject.suggest()
    suggested = time.process_time()
    enter = subject.tell(suggestion)
    told = time.process_time()
    enter()
    return suggested - start, time.process_time() - told


def _traced_peak(subject: Subject) -> int:
    tracemalloc.start()
    suggestion = subject.suggest()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    subject.tell(suggestion)()
    return peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--levels", type=int, nargs="+", default=list(LEVELS), help="numbers of finished trials, rising"
    )
    parser.add_argument("--limit", type=float, default=1800.0, help="seconds for each tuner")
    parser.add_argument("--tuners", nargs="+", choices=SUBJECTS, default=list(SUBJECTS))
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--here", action="store_true", help="measure in this process, one JSON object a level")
    options = parser.parse_args()
    if options.here:
        logging.disable(logging.WARNING)
        for measurement in measure(options.tuners[0], options.levels):
            print(json.dumps(asdict(measurement)), flush=True)
        return
    measurements: list[Measurement] = []
    for tuner in options.tuners:
        measurements += measure_in_child(tuner, options)
        options.output.write_text(report(measurements, options), encoding="utf-8")


def measure_in_child(tuner: str, options: argparse.Namespace) -> list[Measurement]:
    """Measure one tuner in a process of its own; one that runs into the limit brings fewer levels."""
    levels = [str(level) for level in options.levels]
    command = [sys.executable, __file__, "--here", "--tuners", tuner, "--levels", *levels]
    with tempfile.TemporaryDirectory(prefix="dream-latency-") as folder:
        lines = Path(folder, "measurements.jsonl")
        with lines.open("w") as file:
            try:
                environment = os.environ | {"NNI_LOG_DIRECTORY": folder}
                subprocess.run(command, stdout=file, env=environment, timeout=options.limit, check=True)
            except subprocess.TimeoutExpired:
                print(f"{tuner}: ended after {options.limit:g} s", flush=True)
            except subprocess.CalledProcessError as error:  # the others are measured all the same
                print(f"{tuner}: failed with exit status {error.returncode}", flush=True)
        found = [Measurement(**json.loads(line)) for line in lines.read_text().splitlines()]
    for measurement in found:
        print(measurement, flush=True)
    return found


COLUMNS: dict[str, Callable[[Measurement], str]] = {
    "One suggestion: processor milliseconds, median (95th percentile)": lambda each: (
        f"{each.median * MILLI:.2f} ({each.percentile_95 * MILLI:.2f})"
    ),
    "One result: processor milliseconds until it is taken in, median": lambda each: f"{each.result_median * MILLI:.2f}",
    "One suggestion: KiB allocated at once, the most of those traced": lambda each: f"{each.peak / KIBI:.0f}",
    "The process: MiB more than before the first trial": lambda each: f"{each.resident / MEBI:.0f}",
    "To come from the level before to this one: processor seconds": lambda each: f"{each.seconds:.0f}",
}
PREFACE = """# What one suggestion costs

    {command}

After so many finished trials on `experiment_configs/spaces/{space}`: {n_suggestions} suggestions of each tuner, each
followed by its result; {n_traced} more under tracemalloc. Each tuner in a process of its own, on {n_cores} cores that
also had other work, hence processor time. Dream came to each level by its own suggestions and results of {n_epochs}
epochs, its journal on disk.{tpe}

Python {python}, NNI {nni}, Optuna {optuna}. "-": the tuner was ended, as it needed more than {limit:g} s for all
levels, or it failed.
"""

TPE = """ The two TPE were given finished trials of random configurations, with a score and no
epochs, by their own import; Optuna's TPE has its own defaults and its storage in memory. NNI's TPE fails on a space
that is nested twice (KeyError in `is_activated_in`); it had {n_flat} parameters of this space side by side, those that
are active where every choice has its first option."""


def report(measurements: list[Measurement], options: argparse.Namespace) -> str:
    by_place = {(each.tuner, each.n_trials): each for each in measurements}
    n_flat = len(flat(SearchSpace(json.loads(SPACE.read_text()))))
    lines = [
        PREFACE.format(
            command=" ".join(["python", "benchmarks/latency.py", *map(shlex.quote, sys.argv[1:])]),
            space=SPACE.name,
            n_suggestions=N_SUGGESTIONS,
            n_traced=N_TRACED,
            n_cores=os.cpu_count(),
            n_epochs=N_EPOCHS,
            tpe=TPE.format(n_flat=n_flat) if any("TPE" in tuner for tuner in options.tuners) else "",
            python=sys.version.split()[0],
            nni=version("nni"),
            optuna=version("optuna"),
            limit=options.limit,
        )
    ]
    for title, cell in COLUMNS.items():
        lines += [f"## {title}", "", *table_head(["finished trials", *options.tuners])]
        for level in options.levels:
            found = [by_place.get((tuner, level)) for tuner in options.tuners]
            lines.append(table_row([f"{level:,}", *("-" if each is None else cell(each) for each in found)]))
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    main()
