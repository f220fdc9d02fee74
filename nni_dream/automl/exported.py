"""A model to take away: load what ``nni-dream export`` has written, and ask it.

    from nni_dream.automl import load

    model = load("my_model")
    for answer in model.predict(["a.png", "b.png"]):
        print(answer.label, answer.probability)

On the CPU, without the training data, and without NNI.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

from nni_dream.automl.acceleration import as_input
from nni_dream.automl.exported_files import ExportedModelError, read_model
from nni_dream.automl.exported_inputs import InputError, image_pixels, text_ids
from nni_dream.automl.kept_model import ModelDescription

__all__ = ["ClassPrediction", "ExportedModel", "ExportedModelError", "InputError", "load_exported"]

BATCH_SIZE: Final = 64  # inputs in the network at a time; a matter of memory only


class ClassPrediction(NamedTuple):
    """What a classifier says of one input."""

    label: str  # of the most probable class
    probability: float  # of that class, 0..1
    probabilities: dict[str, float]  # of every class; they add up to 1


class ExportedModel:
    """A trained network, with what turns images or texts into its inputs.

    Args:
        network: On the CPU and in evaluation mode; takes pixels or ids, returns logits or numbers (N, n_outputs).
    """

    def __init__(self, network: nn.Module, description: ModelDescription) -> None:
        self.network = network
        self.description = description

    @property
    def classes(self) -> list[str] | None:
        """Names of the classes in the order of the outputs; ``None`` for a regression."""
        return self.description.classes

    def predict(self, inputs: object) -> list[ClassPrediction] | list[float] | list[list[float]]:
        """Return an answer for each input, in their order.

        Args:
            inputs: Of an image model: an array (N, H, W, C) of uint8, or (N, H, W) where there is one channel; or a
                sequence of paths, PIL images and arrays (H, W, C).  Any height and width.  The pixels of arrays have
                the range of the training data.  Of a text model: a sequence of str.

        Returns:
            A class with its probability, or of a regression the number, or the list of numbers where the training
            data had several.

        Raises:
            InputError: If there is no input, or one is not what the model takes; names the first.
        """
        outputs = self.outputs(self.prepare(inputs))  # (N, n_outputs)
        if self.classes is None:
            numbers: list[list[float]] = outputs.tolist()
            return [row[0] for row in numbers] if self.description.n_outputs == 1 else numbers
        return [_prediction(self.classes, row) for row in outputs.double().softmax(1).tolist()]

    def prepare(self, inputs: object) -> Tensor:
        """Return the inputs as the network takes them: pixels, uint8 (N, C, H, W), or ids of terms, int32 (N, L).

        Raises:
            InputError: As in `predict`.
        """
        is_text = self.description.task == "text_classification"
        return text_ids(inputs, self.description) if is_text else image_pixels(inputs, self.description)

    @torch.inference_mode()
    def outputs(self, prepared: Tensor) -> Tensor:
        """Return logits or numbers, float32 (N, n_outputs), of inputs from `prepare`."""
        batches = torch.split(prepared, BATCH_SIZE)
        return torch.cat([self.network(as_input(batch)) for batch in batches])


def load_exported(folder: Path) -> ExportedModel:
    """Return the model in a folder that ``nni-dream export`` has written.

    Raises:
        ExportedModelError: If a file is missing or broken, or the files do not fit.
    """
    return ExportedModel(*read_model(folder))


def _prediction(classes: list[str], probabilities: list[float]) -> ClassPrediction:
    best = max(range(len(classes)), key=probabilities.__getitem__)
    return ClassPrediction(classes[best], probabilities[best], dict(zip(classes, probabilities, strict=True)))
