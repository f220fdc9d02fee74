"""Tuners side by side, live: real trainings, the same start, the same number of trials, the same data for all.

    python benchmarks/search.py --on digits=cifar10 --on trec=mr --on cifar10=digits --data-dir DIR --workers 2

``--on DATA=OTHER`` searches on DATA, guided by a table made of benchmarks/records/OTHER.jsonl.gz; a table of the same
data is refused.  DIR holds a folder for each data set, but digits.  The command can be stopped at any time: each
training is kept in a file, and the same command goes on without training anything twice.  It goes seed by seed, so that
a stopped comparison is a balanced one.  Writes benchmarks/results/search.md and search.png; ``--report-only`` makes
them of what is there, also while another command trains.

The third-party tuners come with `pip install -e .[benchmarks]`; those that are not here are left out.
"""

from __future__ import annotations

import argparse
import logging
import math
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple, Protocol

from comparison import report_file, write_with_figure
from hyperband import hyperband
from optuna_tuners import optuna_tuners
from recorded_trials import SharedDataError, write_table
from search_report import HEAD, Results, Step, mean_curves, section
from search_trainings import DATA, DataSet, TrainingCache, WarmTrainers, draw_starts, worse_half
from smac_tuner import fix_hash_seed, smac_tuners
from threadpoolctl import threadpool_limits
from tuners import BASELINE, Conversation, Outcome, Search, Trial, Tuner, dream, nni_tuners, tpe

from nni_dream.priority_building.records import RecordsError, TrainingRecord
from nni_dream.priority_building.workers import Answer, WorkerError
from nni_dream.search.space import Configuration

HERE: Final = Path(__file__).parent
N_TRIALS: Final = 25
PACKAGES: Final = {"NNI Anneal": "hyperopt", "Optuna's TPE and GP": "optuna", "SMAC3": "smac"}


class Trainers(Protocol):
    """Those who train, or a test's stand-in."""

    n_workers: int

    def begin(self, data: DataSet, configuration: Configuration) -> Future[Answer]: ...


class Contestant(NamedTuple):
    """A tuner, and the space that it searches."""

    converse: Tuner
    has_base_space: bool = False  # the original space; else the expanded one


def contestants() -> dict[str, Contestant]:
    """Return every tuner whose package is here, in the order in which they search and are reported."""
    expanded = {
        "Dream learning": dream(),
        BASELINE: tpe,
        "Dream learning, score only": dream(is_score_only=True),
        "Dream static": dream(strategy="static"),
        "Dream beam": dream(strategy="beam"),
        "Dream random order": dream(strategy="random"),
        **nni_tuners(),
        "NNI Hyperband": hyperband,
        **optuna_tuners(),
        **smac_tuners(),
    }
    on_base = {"Dream learning, base space": dream(), f"{BASELINE}, base space": tpe}
    return {
        **{name: Contestant(tuner) for name, tuner in expanded.items()},
        **{name: Contestant(tuner, has_base_space=True) for name, tuner in on_base.items()},
    }


@dataclass
class Run:
    """One search of one tuner, and how far it is."""

    tuner: str
    seed: int
    cache: TrainingCache
    conversation: Conversation
    steps: list[Step] = field(default_factory=list)
    trial: Trial | None = None  # the one whose result it waits for
    has_ended: bool = False
    error: str | None = None  # what the tuner tripped over

    def advance(self) -> Configuration | None:
        """Go on as far as the cache knows the answers; return what must be trained, or None at the end."""
        if not self.steps and self.trial is None:
            self._take(lambda: next(self.conversation))
        while self.trial is not None:
            record = self.cache.find(self.trial.configuration)
            if record is None:
                return self.trial.configuration
            outcome, step = _cut(record, self.trial.n_epochs, self.cache.data.n_epochs)
            self.steps.append(step)
            self._take(lambda outcome=outcome: self.conversation.send(outcome))
        return None

    def keep(self, answer: Answer) -> None:
        """Enter the answer that it waits for."""
        assert self.trial is not None
        self.cache.add(self.trial.configuration, answer)

    def _take(self, go_on: Callable[[], Trial]) -> None:
        self.trial = None
        try:
            self.trial = go_on()
        except StopIteration:
            self.has_ended = True
        except Exception as error:  # noqa: BLE001 - of a tuner of others; the other searches go on, and the report says it
            self.error = f"{type(error).__name__}: {error}"


def _cut(record: TrainingRecord, n_epochs: int | None, n_planned: int) -> tuple[Outcome, Step]:
    """What a trial brings that ends after so many epochs, and what it costs."""
    share = 1.0 if n_epochs is None else n_epochs / n_planned
    seconds = (record.seconds or 0.0) * share
    if record.score is None or share == 1.0:
        return Outcome(record.score, record.feedback), Step(record.score, seconds, share)
    epochs = record.feedback.epochs[:n_epochs]
    score = max(epoch.val_score for epoch in epochs if epoch.val_score is not None)
    return Outcome(score, record.feedback.model_copy(update={"epochs": epochs})), Step(score, seconds, share)


def train_and_advance(runs: Iterator[Run], trainers: Trainers, deadline: float) -> None:
    """Hold the conversations; train what no cache knows.

    Runs are begun in their order, one more whenever a worker would have nothing to do.  Each runs to its end, or until
    the deadline, after which no training is begun.  All tuners think in this thread.

    Args:
        deadline: Of `time.monotonic`.
    """
    waiting: dict[tuple[str, str], list[Run]] = {}  # data set and configuration -> runs that wait for it
    trainings: dict[Future[Answer], tuple[str, str]] = {}

    def go_on(run: Run) -> None:
        configuration = run.advance()
        if configuration is None:
            show_end(run)
        if configuration is None or time.monotonic() > deadline:
            return
        key = run.cache.data.name, run.cache.identity(configuration)
        if key not in waiting:
            trainings[trainers.begin(run.cache.data, run.cache.data.complete(configuration))] = key
        waiting.setdefault(key, []).append(run)

    while True:
        while len(trainings) < trainers.n_workers and (run := next(runs, None)) is not None:
            go_on(run)
        if not trainings:
            return
        for done in wait(trainings, return_when=FIRST_COMPLETED).done:
            answered = waiting.pop(trainings.pop(done))
            answered[0].keep(done.result())
            for run in answered:
                go_on(run)


def show_end(run: Run) -> None:
    scores = [step.score for step in run.steps if step.score is not None]
    words = run.error or f"best {max(scores, default=math.nan):.4f} of {len(run.steps)} trials"
    print(f"{run.cache.data.name}, seed {run.seed}, {run.tuner}: {words}", file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Arena:
    """What the searches on one data set share."""

    cache: TrainingCache
    other: str  # the data of which the table is made
    table: str  # its file
    n_seeds: int
    n_trials: int

    @property
    def data(self) -> DataSet:
        return self.cache.data

    @cached_property
    def starts(self) -> list[Configuration]:
        """The bad configurations, of the base space; none before all that were drawn are trained."""
        drawn = draw_starts(self.data)
        records = [self.cache.find(configuration) for configuration in drawn]
        trained = [record for record in records if record is not None]
        return worse_half(drawn, [record.score for record in trained]) if len(trained) == len(drawn) else []

    def run(self, name: str, contestant: Contestant, seed: int) -> Run:
        start = self.starts[seed % len(self.starts)]
        search = Search(
            self.data.expanded_space(),
            self.data.complete(start),  # the same training: what the base space lacks has its default
            seed,
            self.n_trials,
            self.data.n_epochs,
            self.table,
        )
        if contestant.has_base_space:
            search = replace(search, space=self.data.base_space(), start=start)
        return Run(name, seed, self.cache, contestant.converse(search))


def drawing(cache: TrainingCache) -> list[Run]:
    """The configurations of whose worse half searches start, each as a search of one trial."""

    def only(configuration: Configuration) -> Conversation:
        yield Trial(configuration)

    return [Run("drawing", i, cache, only(start)) for i, start in enumerate(draw_starts(cache.data))]


def schedule(arenas: Sequence[Arena], entered: dict[str, Contestant]) -> Iterator[Run]:
    """Seed by seed, in it data set by data set, in it tuner by tuner."""
    for seed in range(max((arena.n_seeds for arena in arenas), default=0)):
        for arena in arenas:
            if arena.starts and seed < arena.n_seeds:
                yield from (arena.run(name, contestant, seed) for name, contestant in entered.items())


def main() -> None:
    options = parse_options()
    logging.disable(logging.WARNING)  # an error of ours would be a random suggestion, and must be seen
    entered = {name: each for name, each in contestants().items() if not options.tuners or name in options.tuners}
    deadline = -math.inf if options.report_only else time.monotonic() + options.max_minutes * 60
    try:
        with (
            tempfile.TemporaryDirectory() as tables,
            threadpool_limits(1),  # numbers are added up in one order, and the cores are for the trainings
            closing(WarmTrainers(options.data_dir, options.workers)) as trainers,
        ):
            arenas, runs = compare(options, entered, trainers, deadline, Path(tables))
    except (RecordsError, SharedDataError, WorkerError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted; the same command goes on from here")
    write_report(options, arenas, runs)
    for arena in arenas:
        arena.cache.pack()


def compare(
    options: argparse.Namespace, entered: dict[str, Contestant], trainers: Trainers, deadline: float, tables: Path
) -> tuple[list[Arena], list[Run]]:
    """Run all searches, as far as the deadline allows."""
    arenas = []
    for data, other in options.on:
        cache = TrainingCache(options.cache, DATA[data])
        table = write_table(options.records / f"{other}.jsonl.gz", tables, judged_on=cache)
        arenas.append(Arena(cache, other, table, options.seeds or DATA[data].n_seeds, options.trials))
    train_and_advance((run for arena in arenas for run in drawing(arena.cache)), trainers, deadline)
    runs: list[Run] = []

    def noted() -> Iterator[Run]:
        for run in schedule(arenas, entered):
            runs.append(run)
            yield run

    train_and_advance(noted(), trainers, deadline)
    return arenas, runs


def write_report(options: argparse.Namespace, arenas: Sequence[Arena], runs: Sequence[Run]) -> None:
    """Write the tables and the figure, and print the tables."""
    sections, curves = [], {}
    for arena in arenas:
        own = [run for run in runs if run.cache is arena.cache]
        results: Results = {
            name: {run.seed: run.steps for run in own if run.tuner == name and run.has_ended}
            for name in dict.fromkeys(run.tuner for run in own)
        }
        title = f"{arena.data.name}, priorities from {arena.other}"
        sections.append(section(title, facts(arena, own), results, arena.n_trials))
        curves[arena.data.name] = mean_curves(results, arena.n_trials)
    command = " ".join(f"--on {data}={other}" for data, other in options.on)
    missing = [f"{tuner} (package {package})" for tuner, package in PACKAGES.items() if find_spec(package) is None]
    text = HEAD.format(
        command=f"python benchmarks/search.py {command}",
        figure=options.output.stem,
        missing=f"Not here: {', '.join(missing)}.\n\n" if missing else "",
    )
    text += "\n".join(sections)
    begun = {data: lines for data, lines in curves.items() if lines}
    write_with_figure(text, begun or {"nothing yet": {}}, options.output)
    print(text)


def facts(arena: Arena, runs: Sequence[Run]) -> str:
    """What was trained, and what is not in the tables."""
    records = arena.cache.records
    seconds = [record.seconds for record in records if record.seconds is not None]
    n_failed = sum(record.status == "failed" for record in records)
    lines = [
        f"`{arena.cache.settings.trial_command}`: {len(records)} different trainings, {n_failed} of them failed, "
        f"{sum(seconds) / 3600:.1f} hours, {median(seconds or [0]):.1f} s each (median)."
    ]
    n_open = sum(not run.has_ended and run.error is None for run in runs)
    if n_open:
        lines.append(f"{n_open} searches have not ended and are not counted.")
    lines += [f"{run.tuner}, seed {run.seed}: given up: {run.error}." for run in runs if run.error is not None]
    return "\n".join(lines)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--on", action="append", required=True, type=_pair, metavar="DATA=OTHER")
    parser.add_argument("--data-dir", type=Path, default=Path("data"), help="folder of the data (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="trainings at a time (default: %(default)s)")
    parser.add_argument("--seeds", type=int, help="searches of each tuner (default: 10 on digits, else 5)")
    parser.add_argument("--trials", type=int, default=N_TRIALS, help="of each search (default: %(default)s)")
    parser.add_argument("--tuners", nargs="+", choices=contestants(), help="only these")
    parser.add_argument("--max-minutes", type=float, default=math.inf, help="begin no training after so many")
    parser.add_argument("--report-only", action="store_true", help="train nothing, report what is there")
    parser.add_argument("--cache", type=Path, default=HERE / "results" / "search", help="folder of the trainings")
    parser.add_argument("--records", type=Path, default=HERE / "records", help="folder of what the tables are made of")
    parser.add_argument("--output", type=report_file, default=HERE / "results" / "search.md")
    return parser.parse_args()


def _pair(text: str) -> tuple[str, str]:
    data, _, other = text.partition("=")
    if data not in DATA or not other:
        raise argparse.ArgumentTypeError(f"is {text!r}, must be DATA=OTHER, DATA one of {', '.join(DATA)}")
    return data, other


if __name__ == "__main__":
    fix_hash_seed()
    main()
