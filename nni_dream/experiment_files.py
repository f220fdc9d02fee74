"""An experiment's YAML, read and checked as NNI does it; where NNI only asserts a rule, the rule is told."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import yaml
from nni.experiment import ExperimentConfig
from nni.experiment.config.utils import unset_base_path

from nni_dream.feedback import Json

__all__ = ["ExperimentError", "load_config", "tuner_class"]

PLATFORMS: Final = "local, remote, kubeflow, frameworkcontroller, openpai, aml or dlc"

_logger = logging.getLogger(__name__)


class ExperimentError(RuntimeError):
    """An experiment cannot be loaded, started or reached; the message says what to do."""


def tuner_class(config: ExperimentConfig) -> str:
    """Return the class of the experiment's tuner, or the name under which it is registered."""
    tuner = config.tuner
    return getattr(tuner, "class_name", None) or getattr(tuner, "name", None) or "none"


def load_config(path: Path, working_directory: Path | None = None) -> ExperimentConfig:
    """Load an experiment's YAML and check it.

    Args:
        working_directory: Where NNI keeps the experiment; ``None`` leaves what the YAML says (``~/nni-experiments``).

    Raises:
        ExperimentError: If the file cannot be read, or NNI would refuse it.
    """
    try:
        config = ExperimentConfig.load(path)
        if config.trial_command is not None:
            config.trial_command = config.trial_command.strip()  # folded text ends in a new line; options follow it
        if working_directory is not None:
            config.experiment_working_directory = str(working_directory.resolve())
        _check(config)
        config.validate()
    except Exception as error:  # NNI raises whatever its parsers raise: YAML, typeguard, attribute and plain assertions
        _logger.debug("configuration refused", exc_info=True)
        raise ExperimentError(f"{path}: {_reason(error)}") from error
    finally:
        unset_base_path()  # NNI forgets to after a field that it does not know, and refuses every other file then
    return config


def _check(config: ExperimentConfig) -> None:
    """Refuse what NNI refuses later, or without telling the rule."""
    if config.use_annotation:
        raise ExperimentError("useAnnotation is true, but NNI 3.0 has no annotations: give the file a searchSpace")
    for kind, algorithm in (("tuner", config.tuner), ("assessor", config.assessor)):
        if algorithm is not None and not isinstance(algorithm, Mapping):  # NNI tells what is wrong with a mapping
            _check_algorithm(kind, algorithm)
    service = config.training_service
    for each in service if isinstance(service, list) else [service]:
        if not hasattr(each, "platform"):
            raise ExperimentError(f"trainingService needs a platform: {PLATFORMS}")
    if isinstance(service, list) and config.nni_manager_ip is None:
        raise ExperimentError("several training services need nniManagerIp: NNI cannot find it out for them")


def _check_algorithm(kind: str, algorithm: Json) -> None:
    name, class_name, folder = (getattr(algorithm, field, None) for field in ("name", "class_name", "code_directory"))
    is_named = bool(name) and class_name is None and folder is None
    is_class = bool(class_name) and name is None and folder is not None
    if not is_named and not is_class:
        raise ExperimentError(f"{kind} needs a name, or a className and a codeDirectory (such as .), but not both")


def _reason(error: Exception) -> str:
    """What NNI says of a configuration."""
    if isinstance(error, AssertionError) and not str(error):
        rule = traceback.extract_tb(error.__traceback__)[-1].line or ""
        return f"NNI expects {rule.removeprefix('assert ').replace('self.', '')}"
    if isinstance(error, yaml.MarkedYAMLError):
        return " ".join(str(error).split())
    return str(error) or type(error).__name__
