"""From a data set to what a model is built on and trained with."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nni_dream.automl.data import DataError, Dataset, ImageDataset, Splits, TextDataset
from nni_dream.automl.data.images import ImageSize
from nni_dream.automl.data.parts import listed_classes
from nni_dream.automl.digits_parameters import DigitsParameters
from nni_dream.automl.evaluation import Samples
from nni_dream.automl.kept_model import ModelDescription
from nni_dream.automl.models.image import measure_channels
from nni_dream.automl.models.text import text_length
from nni_dream.automl.scales import Scale
from nni_dream.automl.task_settings import TaskSettings, read_settings
from nni_dream.automl.text_settings import NgramBlock, TextSettings
from nni_dream.automl.vocabulary import fit_vocabulary

__all__ = ["check_data", "describe", "measure_targets", "samples_of", "test_samples"]


def describe(data: Splits, settings: TaskSettings, *, scale: Scale, data_arguments: dict[str, Any]) -> ModelDescription:
    """Return what of the data a model needs to know; only the training samples are looked at.

    Args:
        data_arguments: Of `load_dataset`; kept, so that the test split can be found again.

    Raises:
        VocabularyError: If the training texts have no words.
        DataError: If the data is not what the task needs.
    """
    targets = data.train.targets
    n_outputs = len(data.classes) if data.classes is not None else (1 if targets.ndim == 1 else targets.shape[1])
    description = ModelDescription(
        task=data.task,
        scale=scale,
        parameters=settings.to_nested(),
        n_outputs=n_outputs,
        classes=data.classes,
        data=data_arguments,
    )
    if isinstance(settings, TextSettings) and isinstance(data.train, TextDataset):
        block = settings.block_type
        n = block.ngrams if isinstance(block, NgramBlock) else 1
        vocabulary = fit_vocabulary(data.train.texts, max_tokens=settings.max_tokens, n=n)
        return replace(
            description, terms=list(vocabulary.terms), term_weights=list(vocabulary.weights), longest_term=vocabulary.n
        )
    if not isinstance(data.train, ImageDataset):
        raise DataError(f"{data.name}: holds {type(data.train).__name__}, but the task is {data.task}")
    if data.classes is None:
        means, deviations = measure_targets(targets)
        description = replace(description, target_means=means, target_deviations=deviations)
    statistics = measure_channels(data.train.images)
    return replace(
        description,
        image_shape=list(data.train.images.shape[1:]),
        channel_means=list(statistics.mean),
        channel_deviations=list(statistics.deviation),
        largest_pixel=data.largest_pixel,
    )


def measure_targets(targets: Tensor) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation of each number to predict, (N,) or (N, k), N of 1 or more.

    The deviation of a number that is the same everywhere is given as 1.
    """
    numbers = targets.double().reshape(len(targets), -1)  # (N, k)
    means, deviations = numbers.mean(dim=0), numbers.std(dim=0, correction=0)
    varies = deviations > means.abs() * torch.finfo(torch.float32).eps  # targets are float32: less is rounding
    return means.tolist(), torch.where(varies, deviations, 1.0).tolist()


def check_data(data: Splits, *, scale: Scale) -> None:
    """Do with the data what every configuration does, and read the test samples: before a search, not after it.

    Raises:
        VocabularyError: If the training texts have no words.
        DataError: If the data is not what the task needs, or a test image cannot be read.
    """
    description = describe(data, read_settings(data.task, {}), scale=scale, data_arguments={})
    for dataset in (data.train, data.validation, data.test):
        samples_of(dataset, description)


def samples_of(dataset: Dataset, description: ModelDescription) -> Samples:
    """Return the samples of one split as the model takes them."""
    if isinstance(dataset, ImageDataset):
        return Samples(dataset.images, dataset.targets)
    settings = description.settings()
    assert isinstance(settings, TextSettings)  # `describe` has seen to it
    length = text_length(settings, description.scale)
    return Samples(description.vocabulary().encode(dataset.texts, length), dataset.targets)


def test_samples(data: Splits, description: ModelDescription) -> Samples:
    """Return the test samples for a model that was trained on these data.

    Raises:
        DataError: If the score on them would be false: they have other classes than the model, other numbers to
            predict, other channels or another size, or the rows that they were drawn from are others now.
    """
    if data.classes != description.classes:
        theirs, ours = (listed_classes(each or []) or "none" for each in (data.classes, description.classes))
        raise DataError(f"{data.name}: has the classes {theirs}, the model was trained on {ours}")
    samples = samples_of(data.test, description)
    n_targets = 1 if samples.targets.ndim == 1 else samples.targets.shape[1]
    if data.classes is None and n_targets != description.n_outputs:
        raise DataError(f"{data.name}: has {n_targets} numbers to predict, the model has {description.n_outputs}")
    if description.image_shape is not None:
        _check_shape(data.name, list(samples.inputs.shape[1:]), description.image_shape)
    if not data.has_own_test and not _is_trained_on(data, description):
        raise DataError(
            f"{data.name}: has changed since the training, and the test split is drawn from all of it: "
            "rows that the model has seen would be among the test rows"
        )
    return samples


def _check_shape(name: str, shape: list[int], expected: list[int]) -> None:
    """Compare channels, height and width of test images with those of the model: it resizes others in its own way."""
    if shape[0] != expected[0]:
        raise DataError(f"{name}: images have {shape[0]} channels, the model was trained on {expected[0]}")
    if shape != expected:
        sizes = [ImageSize(*each[1:]).text() for each in (shape, expected)]
        raise DataError(f"{name}: images are {sizes[0]}, the model was trained on {sizes[1]}")


def _is_trained_on(data: Splits, description: ModelDescription) -> bool:
    """Whether what the model knows of its training samples is true of these; numbers up to rounding."""
    settings = description.settings()
    assert not isinstance(settings, DigitsParameters)  # those of the digits trial, which has its own data
    now = describe(data, settings, scale=description.scale, data_arguments=description.data)
    if (now.terms, now.image_shape) != (description.terms, description.image_shape):
        return False
    return np.allclose(_numbers(now), _numbers(description), rtol=1e-9, atol=0.0)


def _numbers(description: ModelDescription) -> list[float]:
    """What was measured of the training samples; as many for the same terms or channels."""
    return [
        *(description.channel_means or ()),
        *(description.channel_deviations or ()),
        *(description.target_means or ()),
        *(description.target_deviations or ()),
        *(description.term_weights or ()),
    ]
