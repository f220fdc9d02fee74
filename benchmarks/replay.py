"""Search strategies and other tuners side by side, on recorded trainings instead of real ones: seconds, not hours.

    python benchmarks/replay.py --on trec=mr --on mr=trec --on cifar10=digits --on digits=cifar10 --seeds 40

``--on DATA=OTHER`` judges searches on benchmarks/records/DATA.jsonl.gz, guided by a table made of OTHER's records; a
table of the same data is refused.  Writes benchmarks/results/replay.md and replay.png.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from recorded_trials import RecordedTrials, refuse_shared_data

from nni_dream.feedback import final_metric
from nni_dream.priority_building.measured_table import measure_table
from nni_dream.priority_building.records import read_records
from nni_dream.search.priorities import load_priority_table
from nni_dream.tuner import DreamTuner

HERE: Final = Path(__file__).parent
AT: Final = (5, 10, 15, 25)
BASELINE: Final = "NNI TPE"
N_BOOTSTRAP: Final = 2000
DREAM: Final[dict[str, dict[str, str]]] = {
    "Dream learning (thompson, default)": {},
    "Dream learning (expected improvement)": {"exploration": "expected_improvement"},
    "Dream learning (upper confidence)": {"exploration": "upper_confidence"},
    "Dream static": {"strategy": "static"},
    "Dream beam": {"strategy": "beam"},
    "Dream random order": {"strategy": "random"},
}


class Search(NamedTuple):
    """What all tuners share in one search."""

    trials: RecordedTrials
    start: dict[str, Any]  # the bad configuration that comes first
    seed: int
    n_trials: int


Run = Callable[[Search], list[float]]  # the scores in the order of the trials


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--on", action="append", required=True, metavar="DATA=OTHER")
    parser.add_argument("--seeds", type=int, default=40, help="searches of each tuner (default: %(default)s)")
    parser.add_argument("--trials", type=int, default=25, help="of each search (default: %(default)s)")
    parser.add_argument("--records", type=Path, default=HERE / "records", help="folder of the files of trainings")
    parser.add_argument("--output", type=Path, default=HERE / "results" / "replay.md")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    sections, curves = [], {}
    for pair in options.on:
        data, _, other = pair.partition("=")
        sections.append(compare(options.records, data, other, options.seeds, options.trials, curves))
    command = " ".join(f"--on {pair}" for pair in options.on)
    text = HEAD.format(command=f"python benchmarks/replay.py {command} --seeds {options.seeds}", seeds=options.seeds)
    options.output.write_text(text + "\n".join(sections), encoding="utf-8")
    draw(curves, options.output.with_suffix(".png"))
    print(text + "\n".join(sections))


HEAD = """# Tuners side by side, on recorded trainings

    {command}

{seeds} searches of each tuner, one trial at a time; in each all tuners start from the same bad configuration, a seed
model at or below the median. The answers come from recorded trainings and, where a configuration was not trained,
from a random forest fitted on them: a hint of what a real search would show, no more. "Better" compares searches that
share their start; ties count half.

![best score so far](replay.png)

"""


def compare(folder: Path, data: str, other: str, n_seeds: int, n_trials: int, curves: dict[str, Any]) -> str:
    """Run every tuner on one file of records and return the report; the mean curves go into ``curves``."""
    trials = RecordedTrials(folder / f"{data}.jsonl.gz")
    settings, records = read_records(folder / f"{other}.jsonl.gz")
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary, "table.json")
        path.write_text(measure_table(settings, records, task=other).model_dump_json(), encoding="utf-8")
        refuse_shared_data(load_priority_table(str(path)), trials)
        results, seconds = {}, {}
        for name, run in tuners(str(path)).items():
            started = time.process_time()
            results[name] = np.array([best_so_far(run(each)) for each in searches(trials, n_seeds, n_trials)])
            seconds[name] = time.process_time() - started
    curves[data] = {name: runs.mean(axis=0) for name, runs in results.items()}
    return section(trials, data, other, results, seconds)


def searches(trials: RecordedTrials, n: int, n_trials: int) -> list[Search]:
    bad = trials.seed_models[: (len(trials.seed_models) + 1) // 2]
    return [Search(trials, dict(bad[seed % len(bad)].parameters), seed, n_trials) for seed in range(n)]


def tuners(table: str) -> dict[str, Run]:
    """Every tuner at its own defaults, seeded."""
    from nni.algorithms.hpo.evolution_tuner import EvolutionTuner
    from nni.algorithms.hpo.random_tuner import RandomTuner
    from nni.algorithms.hpo.tpe_tuner import TpeTuner

    runs: dict[str, Run] = {
        BASELINE: lambda search: run_nni(TpeTuner(optimize_mode="maximize", seed=search.seed), search),
        "NNI Random": lambda search: run_nni(RandomTuner(seed=search.seed), search),
        "NNI Evolution": lambda search: run_nni(_seeded(EvolutionTuner, search.seed), search),
    }
    for name, settings in DREAM.items():
        runs[name] = lambda search, own=settings: run_dream(table, own, search)  # type: ignore[misc]
    try:
        import optuna
    except ImportError:
        return runs
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)  # `group` is called that
    runs["Optuna TPE (multivariate, group)"] = run_optuna
    return runs


def run_dream(table: str, settings: dict[str, str], search: Search) -> list[float]:
    tuner = DreamTuner(
        seed=search.seed,
        priority=table,
        initial_parameters=[search.start],
        planned_trials=search.n_trials,
        **settings,
    )
    tuner.update_search_space(search.trials.settings.search_space)
    scores = []
    for number in range(search.n_trials):
        configuration = tuner.generate_parameters(number)
        score, feedback = search.trials.answer(configuration)
        metric = final_metric(feedback.model_copy(update={"parameters": configuration}), score, None)
        tuner.receive_trial_result(number, configuration, metric, trial_job_id=f"job{number}")
        tuner.trial_end(number, True)
        scores.append(score)
    return scores


def run_nni(tuner: Any, search: Search) -> list[float]:
    """NNI's tuners take no first configuration: it is the first trial, and they do not learn of it."""
    tuner.update_search_space(search.trials.settings.search_space)
    scores = [search.trials.answer(search.start)[0]]
    for number in range(search.n_trials - 1):
        configuration = json.loads(json.dumps(tuner.generate_parameters(number), default=lambda value: value.item()))
        score, _ = search.trials.answer(configuration)
        tuner.receive_trial_result(number, configuration, score)
        tuner.trial_end(number, True)
        scores.append(score)
    return scores


def run_optuna(search: Search) -> list[float]:
    import optuna

    sampler = optuna.samplers.TPESampler(seed=search.seed, multivariate=True, group=True)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    space = search.trials.settings.search_space
    study.enqueue_trial(dict(_flat(search.start)))
    scores = []
    for _ in range(search.n_trials):
        trial = study.ask()
        score, _feedback = search.trials.answer(_suggested(trial, space, ""))
        study.tell(trial, score)
        scores.append(score)
    return scores


def _seeded(tuner: Callable[..., Any], seed: int) -> Any:
    import random

    random.seed(seed)
    np.random.seed(seed)  # this tuner draws from the global generators
    return tuner(optimize_mode="maximize")


def _suggested(trial: Any, space: dict[str, Any], prefix: str) -> dict[str, Any]:
    configuration: dict[str, Any] = {}
    for name, parameter in space.items():
        if name == "_name":
            continue
        options = parameter["_value"]
        words = [json.dumps(option["_name"] if isinstance(option, dict) else option) for option in options]
        chosen = options[words.index(trial.suggest_categorical(f"{prefix}{name}", words))]
        if isinstance(chosen, dict):
            inner = _suggested(trial, chosen, f"{prefix}{name}={chosen['_name']}.")
            configuration[name] = {"_name": chosen["_name"], **inner}
        else:
            configuration[name] = chosen
    return configuration


def _flat(configuration: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    flat: list[tuple[str, str]] = []
    for name, value in configuration.items():
        if isinstance(value, dict):
            flat.append((f"{prefix}{name}", json.dumps(value["_name"])))
            flat += _flat(
                {key: own for key, own in value.items() if key != "_name"}, f"{prefix}{name}={value['_name']}."
            )
        else:
            flat.append((f"{prefix}{name}", json.dumps(value)))
    return flat


def best_so_far(scores: Sequence[float]) -> list[float]:
    return list(np.maximum.accumulate(scores))


def section(trials: RecordedTrials, data: str, other: str, results: dict[str, Any], seconds: dict[str, float]) -> str:
    """Return the report on one data set."""
    error = trials.held_out_error()
    base = results[BASELINE]
    lines = [
        f"## {data}, priorities from {other}",
        "",
        f"{len(trials.records)} recorded trainings, best {max(r.score or 0.0 for r in trials.records):.4f}. "
        "Forest on seed models that it has not seen: "
        f"mean absolute error {error.mean_absolute_error:.3f}, R2 {error.r2:.2f}, "
        f"rank correlation {error.rank_correlation:.2f}, condition right {error.condition_accuracy:.0%}.",
        "",
        "| tuner | " + " | ".join(f"best at {n}" for n in AT) + f" | better than {BASELINE} at 10 | at 25 "
        f"| difference at 25, 95 % | trials to {BASELINE}'s best | productive | s |",
        "|---" * (len(AT) + 7) + "|",
    ]
    for name, runs in results.items():
        means = " | ".join(f"{runs[:, n - 1].mean():.3f}" for n in AT if n <= runs.shape[1])
        low, high = bootstrap(runs[:, -1] - base[:, -1])
        reached = [
            next((i + 1 for i, best in enumerate(run) if best >= goal), None)
            for run, goal in zip(runs, base[:, -1], strict=True)
        ]
        median = float(np.median([np.inf if n is None else n for n in reached]))
        productive = float((np.diff(runs, axis=1) > 0).mean())
        shares = " | ".join(f"{share_better(runs[:, n - 1], base[:, n - 1]):.0%}" for n in (10, runs.shape[1]))
        lines.append(
            f"| {name} | {means} | {shares} "
            f"| {(runs[:, -1] - base[:, -1]).mean():+.3f} ({low:+.3f} to {high:+.3f}) "
            f"| {'not' if np.isinf(median) else f'{median:g}'} | {productive:.0%} | {seconds[name]:.0f} |"
        )
    others = [name for name in results if not name.startswith("Dream")]
    own = results[next(iter(DREAM))]
    for place, label in ((9, 10), (-1, 25)):
        rivals = np.max([results[name][:, place] for name in others], axis=0)
        share = share_better(own[:, place], rivals)
        text = (
            f"{next(iter(DREAM))}: better than every tuner of other makers at {label} in {share:.0%} of the searches."
        )
        lines += ["", text]
    return "\n".join(lines) + "\n"


def share_better(ones: Any, others: Any) -> float:
    return float((ones > others).mean() + 0.5 * (ones == others).mean())


def bootstrap(differences: Any) -> tuple[float, float]:
    rng = np.random.default_rng(0)
    means = rng.choice(differences, (N_BOOTSTRAP, len(differences))).mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def draw(curves: dict[str, dict[str, Any]], path: Path) -> None:
    """The mean best score so far over trials, a panel a data set, a line a tuner (as the paper's Figure 5)."""
    figure = Figure(figsize=(5.2 * len(curves), 4.2), layout="constrained")
    for axes, (data, lines) in zip(np.atleast_1d(figure.subplots(1, len(curves))), curves.items(), strict=True):
        for name, line in lines.items():
            style = "-" if name.startswith("Dream") else "--"
            axes.plot(range(1, len(line) + 1), line, style, label=name)
        axes.set_title(data)
        axes.set_xlabel("trial")
        axes.set_ylabel("best validation accuracy so far")
    figure.axes[0].legend(fontsize=6)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
