"""What ``nni-dream run`` does with this package's own trials."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from nni.experiment import ExperimentConfig

from nni_dream.automl.kept_files import MODEL_FILE, keeps_model
from nni_dream.experiment_paths import trials_folder
from nni_dream.experiments import RunningExperiment
from nni_dream.own_commands import (
    TASK_TRIAL,
    OwnTrialError,
    ask,
    available_space,
    own_module,
    with_option_added,
    with_options,
)
from nni_dream.report.summary import SearchSummary

__all__ = [
    "add_data_options",
    "remove_models",
    "restrict_space",
    "score_on_test",
    "set_data_folder",
    "set_weights_folder",
]

_logger = logging.getLogger(__name__)


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
    score: dict[str, float] = ask([module, "--evaluate", str(folder)], Path.cwd())
    return score


def remove_models(experiment: RunningExperiment, summary: SearchSummary, n_kept: int, *, has_ended: bool) -> None:
    """Remove the weights of trials of ours on this machine, but for those of the best.

    The journal says which are the best, NNI which trials have ended: those that run are left alone.  So are trials
    without a score while the experiment runs: a result may be on its way.

    Args:
        n_kept: How many trials keep their weights; 1 or more.
        has_ended: Whether the experiment has, and the summary is complete.
    """
    if own_module(experiment.trial_command) is None:
        return
    ranked = summary.ranked
    best = {row.job for row in ranked[:n_kept]}
    if not best or None in best:  # nothing to compare with; or it is not known whose folder a best model is in
        return
    others = {row.job for row in ranked[n_kept:]} - {None}
    folders = trials_folder(experiment.folder).glob("*")
    for kept in (folder for folder in folders if keeps_model(folder)):
        is_lesser = kept.name in others or (has_ended and kept.name not in best)
        if is_lesser and kept.name not in best and experiment.has_trial_ended(kept.name):
            _remove(kept / MODEL_FILE)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:  # it only takes room
        _logger.warning("%s: cannot be removed: %s", path, error.strerror)


def set_data_folder(config: ExperimentConfig, folder: Path) -> None:
    """Let the trials read their data from another folder than the experiment's YAML says.

    Raises:
        OwnTrialError: If the trials are not of this package: only those have such an option.
    """
    _set_folder(config, "--data-dir", folder)


def set_weights_folder(config: ExperimentConfig, folder: Path) -> None:
    """Let the trials look for pretrained weights in this folder.

    Raises:
        OwnTrialError: If the trials are not of this package: only those have such an option.
    """
    _set_folder(config, "--weights-dir", folder)


def _set_folder(config: ExperimentConfig, option: str, folder: Path) -> None:
    config.trial_command = with_options(_task_command(config, option), {option: folder.resolve()})


def add_data_options(config: ExperimentConfig, options: Iterable[str]) -> None:
    """Give the trials more options of their data set, NAME=VALUE each; of a name that is there the new value counts.

    Raises:
        OwnTrialError: If the trials are not of this package: only those have such an option.
    """
    for option in options:
        config.trial_command = with_option_added(_task_command(config, "--data-option"), "--data-option", option)


def _task_command(config: ExperimentConfig, option: str) -> str:
    command: str = config.trial_command or ""
    if own_module(command) != TASK_TRIAL:
        raise OwnTrialError(f"{option} is for trials of {TASK_TRIAL}; the command is {config.trial_command!r}")
    return command


def restrict_space(config: ExperimentConfig) -> list[str]:
    """Take out of the experiment's search space what needs pretrained weights that are not there.

    Trials of ours would fail one after the other of them.  So they would where their data cannot be read: where the
    trials run on this machine, the data are read once before.

    Returns:
        A sentence for each thing of the data that may surprise, and for each group of actions that was taken out.

    Raises:
        OwnTrialError: If the trial's options are wrong, or its data are missing or broken.
    """
    command = config.trial_command or ""
    if own_module(command) != TASK_TRIAL:
        return []
    canonical = config.canonical_copy()
    available = available_space(
        command,
        Path(canonical.trial_code_directory),
        canonical.search_space,
        checks_data=getattr(canonical.training_service, "platform", None) == "local",  # several services are a list
    )
    config.search_space, config.search_space_file = available.space, None
    return available.notes
