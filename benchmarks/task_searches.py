"""Searches on published data, as a user runs them: what they reach, how they got there, and where the time goes.

Each runs ``nni-dream run`` on the experiment's own YAML; only the trial's command is started through `timed_trial.py`.
Data sets that have results already are left out unless ``--only`` names them, so that a run can be continued.

    python benchmarks/task_searches.py --data-dir DIR --only trec

DIR holds a folder for each data set, with its files as they are published.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from markdown_tables import table_head, table_row
from timed_trial import TIMINGS_FILE

from nni_dream.experiment_paths import trials_folder
from nni_dream.journal import JOURNAL_NAME, read_journal
from nni_dream.report.summary import TrialRow, summarise

REPOSITORY = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results" / "task_searches"  # a file for each data set, and the report beside it
ASKED_MINUTES = {"cifar10": 40, "trec": 20, "mr": 20}  # on two cores
COLUMNS = (
    "data",
    "initial score",
    "best validation score",
    "its test score",
    "samples of the test",
    "trials",
    "minutes",
    "asked: at most",
)
PARTS = ("starting", "loading", "monitoring")  # of a trial's time, as timed_trial.py measures it
MODULE = "nni_dream.automl.trial"
TEST_SCORE = re.compile(r"test score of the best model: ([\d.]+) \((\d+) samples")


@dataclass(frozen=True)
class Trial:
    """One row of a search."""

    number: int
    condition: str | None  # of the candidate that it repairs
    action: str  # or what kind of configuration it is
    status: str
    score: float | None  # validation
    is_best: bool  # so far
    n_epochs: int
    seconds: float  # from NNI's request for parameters to the result
    starting: float | None  # seconds until torch and all else are imported; None: it never came to an epoch's end
    loading: float | None
    monitoring: float | None
    total: float | None  # from the start of the process to its last message


@dataclass(frozen=True)
class Search:
    """What a search came to."""

    name: str
    command: str  # of its trials
    concurrency: int
    seed: int | None
    minutes: float  # of nni-dream run, all in all
    initial_score: float | None
    best_score: float
    test_score: float
    n_test: int
    path: list[str]  # the repairs that led to the best trial
    trials: list[Trial]
    n_cores: int
    mean_load: float  # waiting or running processes on the machine, of all work; at the search's ends


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True, metavar="DIR")
    parser.add_argument("--only", nargs="+", choices=ASKED_MINUTES, help="run these, also if they have results")
    parser.add_argument("--folder", type=Path, help="keep the experiments here (default: they are deleted)")
    options = parser.parse_args()
    names = options.only or [name for name in ASKED_MINUTES if not result_file(name).exists()]
    for name in names:
        if not (options.data_dir / name).is_dir():
            parser.error(f"no folder {options.data_dir / name} with the files of {name}")
    RESULTS.mkdir(parents=True, exist_ok=True)
    for name in names:
        with tempfile.TemporaryDirectory(prefix=f"dream-{name}-") as temporary:
            folder = (options.folder / name if options.folder else Path(temporary)).resolve()
            folder.mkdir(parents=True, exist_ok=True)
            search = run(name, (options.data_dir / name).resolve(), folder)
        result_file(name).write_text(json.dumps(asdict(search), indent=1) + "\n", encoding="utf-8")
        print(
            f"{name}: best {search.best_score:.4f}, test {search.test_score:.4f}, {search.minutes:.1f} min", flush=True
        )
    RESULTS.with_suffix(".md").write_text(report(), encoding="utf-8")


def result_file(name: str) -> Path:
    return RESULTS / f"{name}.json"


def run(name: str, data: Path, folder: Path) -> Search:
    """Run one search to its end, in processes and folders of its own."""
    config = yaml.safe_load((REPOSITORY / "experiment_configs" / f"{name}.yml").read_text(encoding="utf-8"))
    command = config["trialCommand"]
    for key in ("searchSpaceFile", "trialCodeDirectory"):
        config[key] = str(REPOSITORY / "experiment_configs" / config[key])
    config["trialCommand"] = command.replace(f"-m {MODULE}", f"{REPOSITORY / 'benchmarks' / 'timed_trial.py'} {MODULE}")
    path = folder / "experiment.yml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    words = ["run", path, "--data-dir", data, "--working-dir", folder / "experiments", "--output", folder / "report"]
    began, load = time.monotonic(), os.getloadavg()[2]
    printed = run_to_the_end([Path(sys.executable).with_name("nni-dream"), *words], folder)
    minutes = (time.monotonic() - began) / 60
    (journal,) = [path for path in folder.glob(f"experiments/*/log/{JOURNAL_NAME}") if not is_link(path)]
    return measure(
        name, command, config["trialConcurrency"], minutes, printed, journal, (load + os.getloadavg()[2]) / 2
    )


def is_link(path: Path) -> bool:
    """Whether a journal is the one of NNI's link to the latest experiment."""
    return path.parents[1].is_symlink()


def run_to_the_end(words: list[Any], folder: Path) -> str:
    """Run a command and return what it printed; when interrupted, let it stop its experiment first."""
    own = {"HOME": folder / "home", "XDG_CACHE_HOME": folder / "cache", "NNI_CONFIG_DIR": folder / "nni_config"}
    Path(own["HOME"]).mkdir(exist_ok=True)
    environment = {**os.environ, **{name: str(value) for name, value in own.items()}, "COLUMNS": "160"}
    log = folder / "printed.txt"
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen([*map(str, words)], cwd=folder, env=environment, stdout=file, stderr=file)
        try:
            code = process.wait()
        except KeyboardInterrupt:
            process.wait()
            raise
    printed = log.read_text(encoding="utf-8")
    if code != 0:
        raise SystemExit(f"{' '.join(map(str, words))} ended with code {code}:\n{printed}")
    return printed


def measure(
    name: str, command: str, concurrency: int, minutes: float, printed: str, journal: Path, load: float
) -> Search:
    events = list(read_journal(journal))
    summary = summarise(events)
    test_score = TEST_SCORE.search(printed)
    if summary.best is None or summary.best.score is None or test_score is None:
        raise SystemExit(f"{name}: the search has no score:\n{printed}")
    seconds = trial_seconds(events)
    folder = trials_folder(journal.parents[1])
    return Search(
        name=name,
        command=command,
        concurrency=concurrency,
        seed=summary.seed,
        minutes=minutes,
        initial_score=summary.rows[0].score,
        best_score=summary.best.score,
        test_score=float(test_score[1]),
        n_test=int(test_score[2]),
        path=[f"trial {row.number}: {told(row)}, {row.score:.4f}" for row in summary.path],
        trials=[make_trial(row, seconds[row.number], folder) for row in summary.rows if row.has_ended],
        n_cores=os.cpu_count() or 1,
        mean_load=load,
    )


def trial_seconds(events: list[dict[str, Any]]) -> dict[int, float]:
    """Trial -> seconds from its suggestion to its end."""
    suggested: dict[int, datetime] = {}
    ended: dict[int, datetime] = {}
    for event in events:
        if event["event"] in ("suggestion", "result", "stop", "end") and event["trial"] is not None:
            times = suggested if event["event"] == "suggestion" else ended
            times.setdefault(event["trial"], datetime.fromisoformat(event["time"]))
    return {trial: (end - suggested[trial]).total_seconds() for trial, end in ended.items()}


def make_trial(row: TrialRow, seconds: float, trials_folder: Path) -> Trial:
    path = trials_folder / str(row.job) / TIMINGS_FILE
    timings = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return Trial(
        number=row.number,
        condition=row.condition,
        action=row.action or row.kind,
        status=row.status,
        score=row.score,
        is_best=row.is_best,
        n_epochs=row.n_epochs,
        seconds=seconds,
        **{part: timings.get(part) for part in (*PARTS, "total")},
    )


def told(row: TrialRow) -> str:
    return f"{row.condition}: {row.action}" if row.kind == "action" else row.kind


def report() -> str:
    searches = [json.loads(result_file(name).read_text()) for name in ASKED_MINUTES if result_file(name).exists()]
    lines = [
        "# Searches on published data",
        "",
        "Each is `nni-dream run` on the YAML of that name in `experiment_configs/`, one run each. DIR holds the data.",
        "",
        "    python benchmarks/task_searches.py --data-dir DIR",
        "",
        *table_head(COLUMNS),
    ]
    for each in searches:
        initial = "-" if each["initial_score"] is None else f"{each['initial_score']:.4f}"
        scores = [initial, f"{each['best_score']:.4f}", f"{each['test_score']:.4f}", each["n_test"]]
        minutes = [f"{each['minutes']:.1f}", ASKED_MINUTES[each["name"]]]
        lines.append(table_row([each["name"], *scores, len(each["trials"]), *minutes]))
    lines += ["", "The test score is that of the one model with the best validation score, asked for once.", ""]
    lines += [*time_table(searches), ""]
    for each in searches:
        lines += section(each)
    return "\n".join(lines)


def time_table(searches: list[dict[str, Any]]) -> list[str]:
    lines = [
        "Where the time of the trials goes: starting is Python, NNI and torch until the parameters and all modules are "
        "there; loading is the data set, the vocabulary and the samples; monitoring is all that the monitor does; the "
        "rest is building, training and scoring. A trial that was stopped counts until its last epoch's end.",
        "",
        *table_head(["data", "seconds a trial, median (least to most)", *PARTS, "loading and monitoring"]),
    ]
    for each in searches:
        seconds = [trial["seconds"] for trial in each["trials"]]
        timed = [trial for trial in each["trials"] if trial["total"] is not None]
        total = sum(trial["total"] for trial in timed)
        shares = {part: sum(trial[part] for trial in timed) / total for part in PARTS}
        spread = f"{statistics.median(seconds):.0f} ({min(seconds):.0f} to {max(seconds):.0f})"
        cells = [f"{share:.1%}" for share in (*shares.values(), shares["loading"] + shares["monitoring"])]
        lines.append(table_row([each["name"], spread, *cells]))
    return lines


def section(search: dict[str, Any]) -> list[str]:
    """The path to the best trial, and every trial of one search."""
    lines = [
        f"## {search['name']}",
        "",
        f"    {search['command']}",
        "",
        f"Seed {search['seed']}, {search['concurrency']} trials at a time on {search['n_cores']} cores. Load of the "
        f"machine with all its other work: {search['mean_load']:.1f}. The repairs that led to the best trial:",
        "",
        *(f"- {step}" for step in search["path"]),
        "",
        *table_head(["trial", "condition", "action", "validation score", "status", "epochs", "seconds"]),
    ]
    for trial in search["trials"]:
        score = "-" if trial["score"] is None else f"{trial['score']:.4f}{' *' if trial['is_best'] else ''}"
        why = [trial["condition"] or "-", trial["action"]]
        cells = [score, trial["status"], trial["n_epochs"], f"{trial['seconds']:.0f}"]
        lines.append(table_row([trial["number"], *why, *cells]))
    return [*lines, ""]


if __name__ == "__main__":
    main()
