"""What concurrency does to NNI's tuners and to ours: who finishes, and whose scores belong to their parameters.

Each tuner runs the same short trials, which start at random moments and write down which parameters they really had.
NNI's record and, for Dream, its journal are compared with that.  A tuner that hangs is stopped at its deadline.

    python benchmarks/concurrency.py --trials 60 --concurrency 6 --deadline 300
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
import yaml
from markdown_tables import table_head, table_row

from nni_dream.experiment_files import load_config
from nni_dream.experiment_paths import journal_path
from nni_dream.experiments import RunningExperiment, running_experiment
from nni_dream.journal import read_journal

REPOSITORY = Path(__file__).parents[1]
TRIALS = REPOSITORY / "tests" / "robustness" / "trials"
RESULTS = Path(__file__).parent / "results" / "concurrency.md"
SPACE = {name: {"_type": "uniform", "_value": [0, 10]} for name in ("x", "y")}
TUNERS: dict[str, dict[str, Any]] = {
    "TPE": {"name": "TPE", "classArgs": {"optimize_mode": "maximize"}},
    "Random": {"name": "Random"},
    "Evolution": {"name": "Evolution", "classArgs": {"optimize_mode": "maximize", "population_size": 20}},
    "Dream": {"name": "Dream", "classArgs": {"optimize_mode": "maximize"}},
}
POLL_SECONDS = 1.0
AFTERLIFE_SECONDS = 40.0  # what still runs when the dispatcher dies has ended by then
COLUMNS = (
    "tuner",
    "status at the end",
    "trials ended",
    "of these well",
    "wrong pairs in NNI's record",
    "wrong pairs in our journal",
    "its dispatcher died of",
    "seconds",
)
TITLE = "# Tuners side by side under concurrency\n"


@dataclass(frozen=True)
class Outcome:
    """How one tuner's experiment went."""

    tuner: str
    status: str  # NNI's, at the end or at the deadline
    n_ended: int  # trials that ended, well or not
    n_succeeded: int
    n_trained: int  # trials that wrote down their parameters
    n_pairs: int  # parameter/score pairs that NNI exports
    n_wrong_pairs: int
    n_journal_pairs: int | None  # the same in our journal; only Dream has one
    n_wrong_journal_pairs: int | None
    death: str | None  # the exception that ended NNI's dispatcher, after which no trial is suggested any more
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--concurrency", type=int, default=6)
    parser.add_argument("--deadline", type=float, default=300.0, help="seconds for each tuner")
    parser.add_argument("--dying", type=float, default=0.05, help="share of trials that die before they ask")
    parser.add_argument("--tuners", nargs="+", choices=TUNERS, default=list(TUNERS))
    parser.add_argument("--append", action="store_true", help="add to the results instead of replacing them")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    outcomes = []
    for tuner in options.tuners:
        with tempfile.TemporaryDirectory(prefix="dream-concurrency-") as folder:
            outcomes.append(run(tuner, Path(folder), options))
        print(outcomes[-1], flush=True)
    RESULTS.parent.mkdir(exist_ok=True)
    before = RESULTS.read_text(encoding="utf-8") if options.append else TITLE
    RESULTS.write_text(f"{before}\n{report(outcomes, options)}", encoding="utf-8")


def run(tuner: str, folder: Path, options: argparse.Namespace) -> Outcome:
    os.environ["WITNESS_FOLDER"] = str(folder)
    os.environ["NNI_CONFIG_DIR"] = str(folder / "nni_config")
    config = {
        "searchSpace": SPACE,
        "trialCommand": f"python3 witness.py plain=1 delay=2 dying={options.dying}",
        "trialCodeDirectory": str(TRIALS),
        "trialConcurrency": options.concurrency,
        "maxTrialNumber": options.trials,
        "tuner": TUNERS[tuner],
        "trainingService": {"platform": "local"},
    }
    path = folder / "experiment.yml"
    path.write_text(yaml.safe_dump(config))
    started = time.monotonic()
    with running_experiment(load_config(path, folder / "experiments")) as experiment:
        died: float | None = None
        while not experiment.has_ended() and time.monotonic() - started < options.deadline:
            if died is None and death_of_dispatcher(experiment) is not None:
                died = time.monotonic()
            if died is not None and time.monotonic() - died > AFTERLIFE_SECONDS:
                break
            time.sleep(POLL_SECONDS)
        seconds = time.monotonic() - started
        return measure(tuner, experiment, folder, seconds)


def death_of_dispatcher(experiment: RunningExperiment) -> str | None:
    """Return the exception that ended a thread of NNI's dispatcher, as its log tells it."""
    path = experiment.folder / "log" / "dispatcher.log"
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    found = re.findall(r"^(\w*(?:Error|Exception)\b.*)$", text, flags=re.MULTILINE)
    return found[-1] if found else None


def measure(tuner: str, experiment: RunningExperiment, folder: Path, seconds: float) -> Outcome:
    base = f"{experiment.address}/api/v1/nni"
    jobs = requests.get(f"{base}/trial-jobs", timeout=20).json()
    truth = witnessed(folder)
    exported = [(job["trialJobId"], exported_parameters(job)) for job in jobs if job.get("finalMetricData")]
    journal = [event for event in read_journal(journal_path(experiment.folder)) if event["event"] == "result"]
    return Outcome(
        tuner=tuner,
        status=experiment.status(),
        n_ended=sum(job["status"] not in ("WAITING", "RUNNING", "UNKNOWN") for job in jobs),
        n_succeeded=sum(job["status"] == "SUCCEEDED" for job in jobs),
        n_trained=len(truth),
        n_pairs=len(exported),
        n_wrong_pairs=sum(job not in truth or parameters != truth[job][0] for job, parameters in exported),
        n_journal_pairs=len(journal) if tuner == "Dream" else None,
        n_wrong_journal_pairs=(
            sum((event["parameters"], event["score"]) != truth.get(event["job"]) for event in journal)
            if tuner == "Dream"
            else None
        ),
        death=death_of_dispatcher(experiment),
        seconds=seconds,
    )


def witnessed(folder: Path) -> dict[str, tuple[Any, float]]:
    """Trial job id -> the parameters that the trial really had, and the score that it reported."""
    path = folder / "true_parameters.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return {line["job"]: (line["parameters"], line["score"]) for line in lines}


def exported_parameters(job: dict[str, Any]) -> Any:
    return json.loads(job["hyperParameters"][0])["parameters"]


def report(outcomes: list[Outcome], options: argparse.Namespace) -> str:
    words = " ".join(["python", "benchmarks/concurrency.py", *sys.argv[1:]])
    lines = [
        f"## {options.trials} trials, {options.concurrency} at a time, {options.dying:.0%} die",
        "",
        f"{options.trials} short trials, {options.concurrency} at a time, each started 0 to 2 s late; "
        f"{options.dying:.0%} of them die before they ask for their parameters. The trials report plain numbers "
        "and write down which parameters they really had; a pair is wrong where a score stands beside others.",
        "",
        f"    {words}",
        "",
        f"A tuner that had not ended after {options.deadline:g} s was stopped, and one whose dispatcher had died "
        f"{AFTERLIFE_SECONDS:g} s later: no trial comes after that, and NNI says RUNNING for ever. One run each, on "
        f"{os.cpu_count()} cores that also had other work.",
        "",
        *table_head(COLUMNS),
    ]
    for each in outcomes:
        own = "-" if each.n_journal_pairs is None else f"{each.n_wrong_journal_pairs} of {each.n_journal_pairs}"
        n_ended, n_wrong = f"{each.n_ended} of {options.trials}", f"{each.n_wrong_pairs} of {each.n_pairs}"
        seconds = f"{each.seconds:.0f}"
        lines.append(
            table_row([each.tuner, each.status, n_ended, each.n_succeeded, n_wrong, own, each.death or "-", seconds])
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
