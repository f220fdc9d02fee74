"""The tasks, and which parameters belong to which."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias, get_args

from nni_dream.automl.image_settings import ImageSettings
from nni_dream.automl.parameters import read_parameters
from nni_dream.automl.text_settings import TextSettings

__all__ = ["TASKS", "Task", "TaskSettings", "read_settings"]

Task: TypeAlias = Literal["image_classification", "image_regression", "text_classification"]
TASKS: Final[tuple[Task, ...]] = get_args(Task)

TaskSettings: TypeAlias = ImageSettings | TextSettings


def read_settings(task: str, parameters: Mapping[str, Any]) -> TaskSettings:
    """Check the parameters that NNI handed out and fill in the task's defaults.

    Raises:
        ParameterError: If a name is unknown or a value is not allowed; names the first one.
    """
    if task == "text_classification":
        return read_parameters(TextSettings, parameters)
    return read_parameters(ImageSettings, parameters)
