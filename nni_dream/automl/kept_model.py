"""The best model of a trial, as the trial keeps it: weights, and what rebuilds the model around them.

A folder with ``best_model.pt`` and ``best_parameters.json``; each is replaced as a whole, because a trial may be killed
at any moment.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from nni_dream.automl.data import Task
from nni_dream.automl.image_settings import BackboneBlock, NotPretrained
from nni_dream.automl.models.image import ChannelStatistics, build_image_model
from nni_dream.automl.models.text import build_text_model
from nni_dream.automl.parameters import ParameterError
from nni_dream.automl.scales import Scale
from nni_dream.automl.task_settings import TaskSettings, read_settings
from nni_dream.automl.text_settings import TextSettings
from nni_dream.automl.vocabulary import Vocabulary
from nni_dream.automl.weights import WeightsSource

__all__ = ["DESCRIPTION_FILE", "MODEL_FILE", "KeptModelError", "ModelDescription", "load_model", "save_model"]

MODEL_FILE: Final = "best_model.pt"
DESCRIPTION_FILE: Final = "best_parameters.json"


class KeptModelError(ValueError):
    """A folder does not hold a model as a trial keeps it."""


@dataclass(frozen=True)
class ModelDescription:
    """All of a model but its weights; of JSON values."""

    task: Task
    scale: Scale
    parameters: dict[str, Any]  # in NNI's nested form, with the defaults
    n_outputs: int
    classes: list[str] | None  # by output; None for a regression
    data: dict[str, Any]  # how to load the data set again: the arguments of `load_dataset`
    image_shape: list[int] | None = None  # channels, height, width in the data set
    channel_means: list[float] | None = None  # of the training images, 0..255
    channel_deviations: list[float] | None = None
    terms: list[str] | None = None  # of the vocabulary
    term_weights: list[float] | None = None
    longest_term: int = 1  # in words

    def settings(self) -> TaskSettings:
        """Return the parameters, checked.

        Raises:
            ParameterError: If they are not those of the task.
        """
        return read_settings(self.task, self.parameters)

    def vocabulary(self) -> Vocabulary:
        return Vocabulary(tuple(self.terms or ()), tuple(self.term_weights or ()), self.longest_term)

    def build(self, source: WeightsSource) -> nn.Module:
        """Build the model, with fresh weights or, where the parameters ask for them, pretrained ones.

        Raises:
            WeightsError: If pretrained weights are not there, or do not fit.
        """
        settings = self.settings()
        if isinstance(settings, TextSettings):
            return build_text_model(settings, self.n_outputs, self.vocabulary(), source=source)
        channels, height, width = self.image_shape or (0, 0, 0)
        statistics = ChannelStatistics(tuple(self.channel_means or ()), tuple(self.channel_deviations or ()))
        shape = (channels, height, width)
        return build_image_model(settings, self.n_outputs, shape, statistics=statistics, source=source)


def save_model(folder: Path, model: nn.Module, description: ModelDescription) -> None:
    """Replace the model in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f"{DESCRIPTION_FILE}.draft"
    draft.write_text(json.dumps(asdict(description)) + "\n", encoding="utf-8")
    draft.replace(folder / DESCRIPTION_FILE)
    draft = folder / f"{MODEL_FILE}.draft"
    torch.save(model.state_dict(), draft)
    draft.replace(folder / MODEL_FILE)


def load_model(folder: Path) -> tuple[nn.Module, ModelDescription]:
    """Return the model, on the CPU and in evaluation mode, and its description; no pretrained weights are needed.

    Raises:
        KeptModelError: If the folder does not hold a model.
    """
    try:
        description = ModelDescription(**json.loads((folder / DESCRIPTION_FILE).read_text(encoding="utf-8")))
        state = torch.load(folder / MODEL_FILE, map_location="cpu", weights_only=True)
        model = _without_pretraining(description, state).build(WeightsSource(description.scale))
        model.load_state_dict(state)
    except OSError as error:
        raise KeptModelError(f"{folder}: no model of a trial: {error}") from error
    except (ParameterError, json.JSONDecodeError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise KeptModelError(f"{folder}: {MODEL_FILE} and {DESCRIPTION_FILE} do not fit: {reason}") from error
    return model.eval(), description


def _without_pretraining(description: ModelDescription, state: dict[str, Any]) -> ModelDescription:
    """Describe the same network, for weights that are loaded afterwards anyway."""
    settings = description.settings()
    block = settings.block_type
    if isinstance(block, BackboneBlock):
        block = block.model_copy(update={"pretrained": NotPretrained()})
    parameters = settings.model_copy(update={"block_type": block}).to_nested()
    return ModelDescription(**{**asdict(description), "parameters": parameters})
