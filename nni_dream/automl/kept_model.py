"""The best model of a trial, as the trial keeps it: weights, and what rebuilds the model around them.

A folder with ``best_model.pt`` and ``best_parameters.json``; each is replaced as a whole, because a trial may be killed
at any moment.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

import torch
from pydantic import ConfigDict, TypeAdapter, ValidationError
from torch import Tensor, nn

from nni_dream.automl.digits_parameters import DigitsParameters, read_digits_parameters
from nni_dream.automl.image_settings import BackboneBlock, NotPretrained
from nni_dream.automl.kept_files import DESCRIPTION_FILE, MODEL_FILE
from nni_dream.automl.models.digits import build_digits_model
from nni_dream.automl.models.heads import TargetScaling
from nni_dream.automl.models.image import ChannelStatistics, ImagePreprocessing, build_image_model
from nni_dream.automl.models.text import GivenVectors, TextClassifier, WordVectors, build_text_model
from nni_dream.automl.scales import Scale
from nni_dream.automl.task_settings import Task, TaskSettings, read_settings
from nni_dream.automl.text_settings import SequenceBlock, TextSettings
from nni_dream.automl.torch_files import read_torch_file
from nni_dream.automl.vocabulary import Vocabulary
from nni_dream.automl.weights import WeightsSource

__all__ = [
    "KeptModelError",
    "ModelDescription",
    "load_model",
    "read_description",
    "rebuild",
    "save_model",
]

GIVEN_VECTORS: Final = "backbone.0.table.vectors"  # of a text model: word vectors that were read from a file


class KeptModelError(ValueError):
    """A folder does not hold a model as a trial keeps it."""


@dataclass(frozen=True)
class ModelDescription:
    """All of a model but its weights; of JSON values."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    task: Task
    scale: Scale
    parameters: dict[str, Any]  # in NNI's nested form, with the defaults
    n_outputs: int
    classes: list[str] | None  # by output; None for a regression
    data: dict[str, Any]  # how to load the data set again: the arguments of `load_dataset`
    image_shape: list[int] | None = None  # channels, height, width in the data set
    channel_means: list[float] | None = None  # of the training images, 0..largest_pixel
    channel_deviations: list[float] | None = None
    target_means: list[float] | None = None  # of the training samples, by output; of a regression
    target_deviations: list[float] | None = None
    terms: list[str] | None = None  # of the vocabulary
    term_weights: list[float] | None = None
    longest_term: int = 1  # in words
    # Whose parameters and networks: those of the task, or the small ones of the digits trial, which have one scale.
    networks: Literal["task", "digits"] = "task"
    largest_pixel: int = 255  # white, in the data set
    training: dict[str, Any] | None = None  # options of the trial's command: epochs, patience, seed

    def settings(self) -> TaskSettings | DigitsParameters:
        """Return the parameters, checked.

        Raises:
            ParameterError: If they are not those of the task.
        """
        if self.networks == "digits":
            return read_digits_parameters(self.parameters)
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
        if isinstance(settings, DigitsParameters):
            model = build_digits_model(settings, self.n_outputs, shape)
            if settings.normalize:
                model.preprocessing = ImagePreprocessing((height, width), statistics)
            return model
        scaling = None
        if self.target_means is not None and self.target_deviations is not None:
            scaling = TargetScaling(self.target_means, self.target_deviations)
        return build_image_model(
            settings, self.n_outputs, shape, statistics=statistics, source=source, target_scaling=scaling
        )


def save_model(folder: Path, model: nn.Module, description: ModelDescription) -> None:
    """Replace the model in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    draft, weights_draft = folder / f"{DESCRIPTION_FILE}.draft", folder / f"{MODEL_FILE}.draft"
    draft.write_text(json.dumps(asdict(description)) + "\n", encoding="utf-8")
    torch.save(model.state_dict(), weights_draft)
    draft.replace(folder / DESCRIPTION_FILE)  # only now: another model's weights would stay beside it otherwise
    weights_draft.replace(folder / MODEL_FILE)


def load_model(folder: Path) -> tuple[nn.Module, ModelDescription]:
    """Return the model, on the CPU and in evaluation mode, and its description; no pretrained weights are needed.

    Raises:
        KeptModelError: If the folder does not hold a model.
    """
    try:
        description = read_description(json.loads((folder / DESCRIPTION_FILE).read_text(encoding="utf-8")))
        state = read_torch_file(folder / MODEL_FILE)
        model = rebuild(description, state)
    except OSError as error:
        raise KeptModelError(f"{folder}: no model of a trial: {error}") from error
    except (RuntimeError, ValueError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise KeptModelError(f"{folder}: {MODEL_FILE} and {DESCRIPTION_FILE} do not fit: {reason}") from error
    return model, description


def read_description(written: Any) -> ModelDescription:
    """Return a description from its JSON.

    Raises:
        ValueError: If a field is missing, unknown or of another kind; names the first one.
    """
    try:
        description = TypeAdapter(ModelDescription).validate_python(written)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise ValueError(f"{where}: {first['msg']}") from error
    _check(description)
    return description


def _check(description: ModelDescription) -> None:
    n_classes = None if description.classes is None else len(description.classes)
    if description.n_outputs < 1 or n_classes not in (None, description.n_outputs):
        raise ValueError(f"n_outputs: is {description.n_outputs}, with {n_classes} classes")
    if description.task == "text_classification":
        n_terms, n_weights = len(description.terms or ()), len(description.term_weights or ())
        if n_terms < 1 or n_terms != n_weights:
            raise ValueError(f"terms: there are {n_terms} with {n_weights} weights, expected as many, 1 or more")
        return
    shape = description.image_shape or []
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(f"image_shape: is {shape}, expected channels, height and width, 1 or more")
    _check_statistics("channel", description.channel_means, description.channel_deviations, shape[0], "channels")
    if description.target_means or description.target_deviations:
        n_outputs = description.n_outputs
        _check_statistics("target", description.target_means, description.target_deviations, n_outputs, "outputs")


def _check_statistics(of: str, means: list[float] | None, deviations: list[float] | None, n: int, things: str) -> None:
    n_means, n_deviations = len(means or ()), len(deviations or ())
    if {n_means, n_deviations} != {n}:
        raise ValueError(f"{of}_means: there are {n_means}, and {n_deviations} deviations, for {n} {things}")


def rebuild(description: ModelDescription, state: Mapping[str, Tensor]) -> nn.Module:
    """Return the model with these weights, on the CPU and in evaluation mode.

    Raises:
        ParameterError: If the parameters are not those of the task.
        RuntimeError: If the weights are not those of the network.
    """
    model = _without_pretraining(description).build(WeightsSource(description.scale))
    if isinstance(model, TextClassifier) and GIVEN_VECTORS in state:
        _fit_word_vectors(model, state[GIVEN_VECTORS])
    model.load_state_dict(state)
    return model.eval()


def _without_pretraining(description: ModelDescription) -> ModelDescription:
    """Describe the same network, for weights that are loaded afterwards anyway."""
    settings = description.settings()
    block = settings.block_type
    if isinstance(block, BackboneBlock):
        block = block.model_copy(update={"pretrained": NotPretrained()})
    elif isinstance(block, SequenceBlock) and block.pretraining != "none":
        block = block.model_copy(update={"pretraining": "random"})
    return replace(description, parameters=settings.model_copy(update={"block_type": block}).to_nested())


def _fit_word_vectors(model: TextClassifier, given: Tensor) -> None:
    """Give the word vectors the length that they had in their file, which no parameter says."""
    layer = model.backbone[0] if isinstance(model.backbone, nn.Sequential) else None
    if not isinstance(layer, WordVectors) or not isinstance(layer.table, GivenVectors) or given.ndim != 2:
        return  # weights of another network, which is told when they are loaded
    n_ids, dimension = layer.table.get_buffer("vectors").shape
    vectors = torch.zeros(n_ids, given.shape[1])
    fitting = WordVectors(n_ids, dimension, given=vectors, channels_last=layer.channels_last)
    model.backbone = nn.Sequential(fitting, *list(model.backbone.children())[1:])
