"""Which model a folder keeps; apart, for those who only look for one and do without torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from nni_dream.automl.digits_parameters import read_digits_parameters
from nni_dream.automl.parameters import ParameterError
from nni_dream.automl.task_settings import read_settings

__all__ = ["DESCRIPTION_FILE", "MODEL_FILE", "is_model_of", "keeps_model"]

MODEL_FILE: Final = "best_model.pt"
DESCRIPTION_FILE: Final = "best_parameters.json"


def keeps_model(folder: Path) -> bool:
    """Whether a trial has left its best model there, and nobody has removed it."""
    return (folder / MODEL_FILE).is_file() and (folder / DESCRIPTION_FILE).is_file()


def is_model_of(folder: Path, parameters: Mapping[str, Any]) -> bool:
    """Whether the model in a folder is one of these parameters, as NNI handed them out."""
    try:
        description = json.loads((folder / DESCRIPTION_FILE).read_text(encoding="utf-8"))
        is_digits = description.get("networks") == "digits"
        given = read_digits_parameters(parameters) if is_digits else read_settings(description["task"], parameters)
        return bool(given.to_nested() == description["parameters"])
    except (OSError, ValueError, ParameterError, KeyError, AttributeError):  # no description of ours
        return False
