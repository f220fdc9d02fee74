"""What the plugin adds to NNI's dispatcher before it connects: processor seconds of the imports and constructors.

    python benchmarks/dispatcher_import.py

NNI gives the dispatcher ten seconds to connect.  Each measurement is a process of its own; they are taken in turn, and
the medians compared.  The exit status is 1 if the plugin adds more than its limit, or imports torch.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from markdown_tables import table_head, table_row

RESULTS = Path(__file__).parent / "results" / "dispatcher_import.md"

N_RUNS = 7
LIMIT_SECONDS = 0.5

NNI_ALONE = "import nni.runtime.msg_dispatcher"
WITH_PLUGIN = f"""{NNI_ALONE}
from nni_dream.assessor import DreamAssessor
from nni_dream.tuner import DreamTuner
DreamTuner(seed=0), DreamAssessor()"""
SUBJECTS = {
    "`import nni`": "import nni",
    "NNI's dispatcher alone": NNI_ALONE,
    "NNI's dispatcher with tuner and assessor": WITH_PLUGIN,
}
MEASURE = """
import json, sys, time
print(json.dumps([time.process_time(), "torch" in sys.modules]))"""
REPORT = """# What the plugin adds to the start of NNI's dispatcher

    python benchmarks/dispatcher_import.py

Processor seconds of a new process, its interpreter included; medians of {n_runs}, taken in turn, on {n_cores} cores
that also had other work. Python {python}, NNI {nni}.

{table}

The plugin adds {added:.2f} s of processor time (limit {limit} s). torch is {torch} by it.
"""


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    seconds: dict[str, list[float]] = {name: [] for name in SUBJECTS}
    has_torch = False
    for _ in range(N_RUNS):
        for name, code in SUBJECTS.items():
            spent, found_torch = measure(code)
            seconds[name].append(spent)
            has_torch |= found_torch
    _, alone, with_plugin = (statistics.median(each) for each in seconds.values())
    lines = table_head(["process", "processor seconds", "from", "to"])
    for name, each in seconds.items():
        lines.append(table_row([name, *(f"{value:.2f}" for value in (statistics.median(each), min(each), max(each)))]))
    added = with_plugin - alone
    text = REPORT.format(
        n_runs=N_RUNS,
        n_cores=os.cpu_count(),
        python=platform.python_version(),
        nni=version("nni"),
        table="\n".join(lines),
        added=added,
        limit=LIMIT_SECONDS,
        torch="imported" if has_torch else "not imported",
    )
    print(text)
    RESULTS.write_text(text, encoding="utf-8")
    sys.exit(added > LIMIT_SECONDS or has_torch)


def measure(code: str) -> tuple[float, bool]:
    done = subprocess.run([sys.executable, "-c", code + MEASURE], capture_output=True, text=True, check=True)
    seconds, has_torch = json.loads(done.stdout.splitlines()[-1])
    return float(seconds), bool(has_torch)


if __name__ == "__main__":
    main()
