"""A task: data that are loaded once, and the one way in which every configuration is trained on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from nni_dream.automl.acceleration import on_device
from nni_dream.automl.data import Splits, load_dataset
from nni_dream.automl.evaluation import Objective
from nni_dream.automl.kept_model import ModelDescription
from nni_dream.automl.samples import describe, samples_of
from nni_dream.automl.scales import Scale
from nni_dream.automl.task_settings import Task, TaskSettings
from nni_dream.automl.training import Trainer
from nni_dream.automl.weights import WeightsSource
from nni_dream.feedback import OptimizeMode, TrialFeedback
from nni_dream.monitor import FeedbackMonitor
from nni_dream.reporting import TrialReporter

__all__ = ["LoadedTask", "TrainingOptions", "load_data", "mode_of", "objective_of"]


@dataclass(frozen=True)
class TrainingOptions:
    """How every configuration of a task is trained; the options of a trial's command."""

    data: Mapping[str, Any]  # the arguments of `load_dataset`, of JSON values
    task: Task
    scale: Scale
    epochs: int  # at most
    patience: int  # epochs without a better validation score
    batch_size: int
    seed: int  # of weights, order and augmentation
    weights_dir: Path | None = None
    download: bool = False


class LoadedTask:
    """Trains configurations one after the other on data that stay in memory.

    Raises:
        DataError: If the data cannot be read.
    """

    def __init__(self, options: TrainingOptions) -> None:
        self.options = options
        self._data = load_data(options.data)

    def train(
        self,
        settings: TaskSettings,
        *,
        parameters: dict[str, Any] | None = None,
        reporter: TrialReporter | None = None,
        on_best: Callable[[nn.Module, ModelDescription], None] | None = None,
    ) -> TrialFeedback:
        """Train a fresh model; the same settings always give the same result on the same machine.

        Args:
            parameters: As the search knows them; ``None``: those that NNI handed to this trial.
            reporter: Where the monitor sends its metrics; ``None``: to NNI.
            on_best: Called with the model and its description after every epoch with the best score so far.

        Raises:
            ParameterError: If the settings do not fit the data.
            TrainingError: If not even one sample at a time fits into memory, or batch normalisation needs two.
        """
        options = self.options
        torch.manual_seed(options.seed)
        description = describe(self._data, settings, scale=options.scale, data_arguments=dict(options.data))
        source = WeightsSource(options.scale, options.weights_dir, options.download)
        model = on_device(description.build(source))
        trainer = Trainer(
            model,
            settings,
            epochs=options.epochs,
            batch_size=options.batch_size,
            seed=options.seed,
            patience=options.patience,
            objective=objective_of(options.task),
        )
        monitor = FeedbackMonitor(
            model,
            trainer.optimizer,
            optimize_mode=mode_of(options.task),
            planned_epochs=options.epochs,
            parameters=parameters,
            reporter=reporter,
        )
        trainer.fit(
            samples_of(self._data.train, description),
            samples_of(self._data.validation, description),
            monitor=monitor,
            on_best=lambda: None if on_best is None else on_best(model, description),
        )
        return monitor.finish()


def load_data(arguments: Mapping[str, Any]) -> Splits:
    """Load a data set by the arguments that a kept model's description holds too."""
    others = {name: value for name, value in arguments.items() if name not in ("name", "data_dir")}
    return load_dataset(arguments["name"], arguments["data_dir"], **others)


def objective_of(task: Task) -> Objective:
    return "regression" if task == "image_regression" else "classification"


def mode_of(task: Task) -> OptimizeMode:
    """Accuracy is maximised, a regression's squared error is minimised."""
    modes: dict[Objective, Literal["maximize", "minimize"]] = {"regression": "minimize", "classification": "maximize"}
    return modes[objective_of(task)]
