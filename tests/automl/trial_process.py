"""A trial script run as a process, by hand or as NNI's file-based local service runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys


def outside_nni():
    return {name: value for name, value in os.environ.items() if not name.startswith("NNI_")}


def inside_nni(folder, parameters):
    """The environment of a trial of NNI's file-based local service, which hands out the parameters in a file."""
    (folder / "parameter.cfg").write_text(json.dumps({"parameter_id": 0, "parameters": parameters}))
    return {
        **outside_nni(),
        "NNI_PLATFORM": "local",
        "NNI_SYS_DIR": str(folder),
        "NNI_OUTPUT_DIR": str(folder / "output"),
        "NNI_TRIAL_JOB_ID": "abcde",
        "NNI_TRIAL_SEQ_ID": "0",
    }


def start_trial(trial, *options, environment=None):
    return subprocess.Popen(
        [sys.executable, "-m", trial, *map(str, options)],
        env=environment or outside_nni(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_trial(trial, *options, timeout_seconds, environment=None):
    process = start_trial(trial, *options, environment=environment)
    output, errors = process.communicate(timeout=timeout_seconds)
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)
