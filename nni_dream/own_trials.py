"""What ``nni-dream run`` asks of this package's own trials, in processes of their own: those import torch."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from nni.experiment import ExperimentConfig

from nni_dream.feedback import Json

__all__ = ["OwnTrialError", "own_module", "restrict_space", "score_on_test", "set_data_folder"]

OWN_TRIALS: Final = "nni_dream.automl."
TASK_TRIAL: Final = "nni_dream.automl.trial"  # the one whose space may hold more than can be had here


class OwnTrialError(RuntimeError):
    """A trial module of ours could not answer; the message is its own."""


def own_module(trial_command: str) -> str | None:
    """Return the module of ours that a trial command runs, or ``None`` for trials of others."""
    return next((word for word in shlex.split(trial_command) if word.startswith(OWN_TRIALS)), None)


def score_on_test(trial_command: str, folder: Path) -> dict[str, float] | None:
    """Let a trial module of ours score the model that a trial kept; ``None`` for trials of others.

    Args:
        folder: The trial's output folder.

    Returns:
        ``test_score`` and ``n_test``, the number of samples.

    Raises:
        OwnTrialError: If the model cannot be loaded or its data are gone.
    """
    module = own_module(trial_command)
    if module is None:
        return None
    score: dict[str, float] = _ask([module, "--evaluate", str(folder)], Path.cwd())
    return score


def set_data_folder(config: ExperimentConfig, folder: Path) -> None:
    """Let the trials read their data from another folder than the experiment's YAML says.

    Raises:
        OwnTrialError: If the trials are not of this package: only those have such an option.
    """
    if own_module(config.trial_command or "") != TASK_TRIAL:
        raise OwnTrialError(f"--data-dir is for trials of {TASK_TRIAL}; the command is {config.trial_command!r}")
    config.trial_command = f"{config.trial_command} --data-dir {shlex.quote(str(folder.resolve()))}"


def restrict_space(config: ExperimentConfig) -> list[str]:
    """Take out of the experiment's search space what needs pretrained weights that are not there.

    Only for trials of :mod:`nni_dream.automl.trial`, which would otherwise fail one after the other.

    Returns:
        A sentence for each group of actions that was taken out.

    Raises:
        OwnTrialError: If the trial's options are wrong.
    """
    command = config.trial_command or ""
    if own_module(command) != TASK_TRIAL:
        return []
    canonical = config.canonical_copy()
    words = shlex.split(command)
    options = words[words.index(TASK_TRIAL) + 1 :]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "space.json")
        path.write_text(json.dumps(canonical.search_space), encoding="utf-8")
        answer = _ask([TASK_TRIAL, *options, "--available-space", str(path)], Path(canonical.trial_code_directory))
    config.search_space, config.search_space_file = answer["space"], None
    notes: list[str] = answer["notes"]
    return notes


def _ask(words: list[str], folder: Path) -> Json:
    """Run a module of ours and read the JSON in the last line that it prints."""
    command = [sys.executable, "-m", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    if done.returncode != 0:
        raise OwnTrialError(done.stderr.strip() or f"{' '.join(command)} ended with code {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])
