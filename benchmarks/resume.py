"""What a resumed search costs before its first suggestion, after long searches: processor time and memory.

    python benchmarks/resume.py [--sizes 1000x50 10000x50]

NNI gives a tuner ten seconds to connect, which its constructor must not use up; the journal is read after that.  A size
is TRIALSxEPOCHS; each is measured in a process of its own, on a journal that the package's own functions wrote.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from markdown_tables import table_head, table_row

from nni_dream.config import Thresholds
from nni_dream.feedback import EpochFeedback, Json, TrialFeedback
from nni_dream.journal import JOURNAL_NAME
from nni_dream.outcomes import journal_result
from nni_dream.search.suggestions import Origin
from nni_dream.trials import TrialBook

RESULTS = Path(__file__).parent / "results" / "resume.md"
SPACE = {
    "learning_rate": {"_type": "loguniform", "_value": [1e-5, 1]},
    "width": {"_type": "choice", "_value": [16, 32, 64]},
    "optimizer": {
        "_type": "choice",
        "_value": [{"_name": "adam"}, {"_name": "sgd", "momentum": {"_type": "uniform", "_value": [0, 1]}}],
    },
}
MEASURED = (
    "train_loss",
    "val_loss",
    "train_score",
    "val_score",
    "learning_rate",
    "seconds",
    "gradient_norm",
    "gradient_ratio",
    "dead_unit_share",
    "zero_gradient_share",
    "weight_norm",
    "update_ratio",
)
DIGITS = 4  # as the monitor sends them
MEGA = 1e6
COLUMNS = {  # of what a search measures: name, form
    "megabytes": ("journal, MB", "{:.0f}"),
    "constructors": ("constructors, s", "{:.2f}"),
    "journal": ("journal read, s", "{:.2f}"),
    "suggestion": ("first suggestion, s", "{:.3f}"),
    "memory": ("memory, MB", "{:.0f}"),
}
LIMIT_SECONDS = 10.0  # NNI's, for the tuner to connect


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["1000x50", "10000x50"], help="TRIALSxEPOCHS")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)  # what the processes are started with
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure)))
        return
    rows = []
    for size in options.sizes:
        n_trials, n_epochs = map(int, size.split("x"))
        with tempfile.TemporaryDirectory(prefix="dream-resume-") as folder:
            write_journal(Path(folder), n_trials, n_epochs)
            rows.append((n_trials, n_epochs, in_own_process(Path(folder))))
        print(*rows[-1], flush=True)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(report(rows), encoding="utf-8")


def write_journal(folder: Path, n_trials: int, n_epochs: int) -> None:
    """Every trial has all the numbers that the monitor sends, and ended well."""
    draw = random.Random(0)
    book = TrialBook("maximize", folder)
    book.journal.append("start", version="0", seed=0, settings={"optimize_mode": "maximize"}, continues=False)
    for number in range(n_trials):
        configuration = {
            "learning_rate": draw.random(),
            "width": 32,
            "optimizer": {"_name": "sgd", "momentum": draw.random()},
        }
        origin = Origin("random", "no trial has a score yet")
        book.journal.append(
            "suggestion", trial=number, parameter_id=number, parameters=configuration, kind="random", note=origin.note
        )
        record = book.add(number, configuration, origin)
        feedback = TrialFeedback(
            planned_epochs=n_epochs, epochs=tuple(epoch_feedback(draw, index) for index in range(n_epochs))
        )
        final = {"default": draw.random(), "dream": feedback.model_dump_json(exclude_none=True)}
        done = book.finish(record.parameter_id, configuration, final, f"job{number}")
        assert done is not None
        journal_result(book, done, f"job{number}", Thresholds())


def epoch_feedback(draw: random.Random, index: int) -> EpochFeedback:
    numbers = {name: float(f"{draw.random():.{DIGITS}g}") for name in MEASURED}
    return EpochFeedback(epoch=index, n_layers=12, **numbers)


def in_own_process(folder: Path) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, __file__, "--measure", str(folder)], capture_output=True, text=True, check=True
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure(folder: Path) -> dict[str, Json]:
    """Do what NNI's dispatcher does when an experiment is resumed."""
    os.environ["NNI_LOG_DIRECTORY"] = str(folder)
    megabytes = (folder / JOURNAL_NAME).stat().st_size / MEGA
    from nni_dream.assessor import DreamAssessor
    from nni_dream.tuner import DreamTuner

    began = time.process_time()
    tuner, assessor = DreamTuner(), DreamAssessor()
    built = time.process_time()
    tuner.update_search_space(SPACE)
    known = time.process_time()
    tuner.generate_parameters(0)
    suggested = time.process_time()
    return {
        "megabytes": megabytes,
        "n_trials": len(assessor.book.records()) - 1,
        "constructors": built - began,
        "journal": known - built,
        "suggestion": suggested - known,
        "memory": psutil.Process().memory_info().rss / MEGA,
    }


def report(rows: list[tuple[int, int, dict[str, float]]]) -> str:
    words = " ".join(["python", "benchmarks/resume.py", *sys.argv[1:]])
    lines = [
        "# Taking up a long search again",
        "",
        "Processor seconds of a resumed dispatcher until its first suggestion, and the memory it then has. Every "
        f"epoch has all of the monitor's numbers. NNI's limit of {LIMIT_SECONDS:g} s covers the imports and the "
        "constructors only; the journal is read after the tuner has connected.",
        "",
        f"    {words}",
        "",
        f"One run each, on {os.cpu_count()} cores that also had other work.",
        "",
        *table_head(["trials", "epochs each", *(name for name, _ in COLUMNS.values())]),
    ]
    for n_trials, n_epochs, found in rows:
        if found["n_trials"] != n_trials:
            raise SystemExit(f"{found['n_trials']} of {n_trials} trials came back from the journal")
        cells = [form.format(found[key]) for key, (_, form) in COLUMNS.items()]
        lines.append(table_row([f"{n_trials:,}", n_epochs, *cells]))
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
