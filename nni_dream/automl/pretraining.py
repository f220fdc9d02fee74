"""Pretrained weights for the networks below full scale, which nobody publishes: a training of each version.

What `nni_dream.automl.weights` then finds as ``<scale>-<version>.safetensors``; the file says in its metadata what it
was trained on.  The data may be another data set than the one of the search.  Where it is the same, with the same
``split_seed``, validation and test stay unseen by the weights as by any trial, whatever ``n_train`` both have.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

from nni_dream.automl.image_settings import ImageSettings
from nni_dream.automl.kept_model import ModelDescription
from nni_dream.automl.models.backbones import build_backbone
from nni_dream.automl.parameters import read_parameters
from nni_dream.automl.task import LoadedTask, TrainingOptions, mode_of
from nni_dream.automl.task_settings import read_settings
from nni_dream.automl.weights import TIMM_NAMES, WeightsError, WeightsSource, save_own_weights
from nni_dream.feedback import best_score
from nni_dream.reporting import InMemoryReporter

__all__ = ["VERSIONS", "PretrainedBackbone", "block_of", "check_own_weights", "pretrain"]

VERSIONS: Final = tuple(TIMM_NAMES)
SMALL_IMAGE: Final = (3, 16, 16)  # the weights of our networks are the same for any


class PretrainedBackbone(NamedTuple):
    version: str
    path: Path
    score: float | None  # validation accuracy of the epoch that was kept; None: the file was there already
    n_epochs: int
    seconds: float


def pretrain(
    options: TrainingOptions, folder: Path, versions: Sequence[str] = VERSIONS
) -> Iterator[PretrainedBackbone]:
    """Train a backbone after the other, with the task's default parameters, and keep the best epoch of each.

    A version whose weights are in the folder is passed over, so that a command goes on where it was stopped.

    Raises:
        WeightsError: If the task has no backbones, or a version is unknown, or the scale is full.
        DataError: If the data cannot be read.
    """
    _check(options, versions)
    torch.set_num_threads(1)  # small tensors: a second thread only waits
    source = WeightsSource(options.scale, folder)
    task: LoadedTask | None = None
    for version in versions:
        found = source.find_backbone(version)
        if found is not None:
            yield PretrainedBackbone(version, found, None, 0, 0.0)
            continue
        task = task or LoadedTask(options)  # not where nothing is left to do
        yield _pretrain_one(task, folder, version)


def _check(options: TrainingOptions, versions: Sequence[str]) -> None:
    if options.task != "image_classification":
        raise WeightsError(f"task is {options.task!r}, but weights are trained by image_classification")
    if options.scale == "full":
        raise WeightsError("scale is 'full', whose weights timm publishes: --download in the trial's command gets them")
    unknown = [version for version in versions if version not in VERSIONS]
    if unknown:
        raise WeightsError(f"version {unknown[0]!r} is unknown; known are {', '.join(VERSIONS)}")


def _pretrain_one(task: LoadedTask, folder: Path, version: str) -> PretrainedBackbone:
    options, began = task.options, time.perf_counter()
    settings = read_settings(options.task, {"block_type": block_of(version)})
    best: list[tuple[nn.Module, dict[str, Tensor]]] = []

    def keep(model: nn.Module, _: ModelDescription) -> None:
        backbone = model.get_submodule("backbone")
        best[:] = [(backbone, copy.deepcopy(backbone.state_dict()))]

    feedback = task.train(settings, parameters=settings.to_nested(), reporter=InMemoryReporter(), on_best=keep)
    ((backbone, weights),) = best  # the first epoch always is the best so far
    backbone.load_state_dict(weights)
    score, n_epochs = best_score(feedback.epochs, mode_of(options.task)), len(feedback.epochs)
    origin = {"data": options.data["name"], "val_score": score, "n_epochs": n_epochs, "seed": options.seed}
    path = save_own_weights(backbone, folder, scale=options.scale, version=version, origin=origin)
    return PretrainedBackbone(version, path, score, n_epochs, time.perf_counter() - began)


def block_of(version: str) -> dict[str, str]:
    """Return the block of the search space that has this version, in NNI's nested form."""
    if version == "xception":
        return {"_name": "xception"}
    return {"_name": "resnet" if version.startswith("resnet") else "efficient", "version": version}


def check_own_weights(source: WeightsSource) -> None:
    """Load all weights that a search below full scale can find, so that no trial has to fail of them.

    Raises:
        WeightsError: If a file cannot be read, or is of another network.
    """
    if source.scale == "full":  # timm's own files, and minutes to build the networks around them
        return
    for version in VERSIONS:
        if source.find_backbone(version) is not None:
            block = {**block_of(version), "pretrained": "true"}
            settings = read_parameters(ImageSettings, {"block_type": block})
            build_backbone(settings.block_type, SMALL_IMAGE, source)
