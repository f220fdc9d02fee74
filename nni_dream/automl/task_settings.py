"""Which parameters belong to which task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from nni_dream.automl.image_settings import ImageSettings
from nni_dream.automl.parameters import read_parameters
from nni_dream.automl.text_settings import TextSettings

__all__ = ["TaskSettings", "read_settings"]

TaskSettings: TypeAlias = ImageSettings | TextSettings


def read_settings(task: str, parameters: Mapping[str, Any]) -> TaskSettings:
    """Check the parameters that NNI handed out and fill in the task's defaults.

    Raises:
        ParameterError: If a name is unknown or a value is not allowed; names the first one.
    """
    if task == "text_classification":
        return read_parameters(TextSettings, parameters)
    return read_parameters(ImageSettings, parameters)
