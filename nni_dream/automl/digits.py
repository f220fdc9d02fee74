"""Trial: classify scikit-learn's handwritten digits (1,797 images of 8x8 pixels) with a small network.

NNI runs ``python3 -m nni_dream.automl.digits`` once per configuration of experiment_configs/spaces/digits.json.
By hand, on the default parameters, and to score the model that the training kept on images that it never saw:

    python3 -m nni_dream.automl.digits --output digits_output
    python3 -m nni_dream.automl.digits --evaluate digits_output

This file reads in the order of events.  torch and scikit-learn take seconds to import and are imported only after NNI
has handed out the parameters: if a trial dies without having asked for them, every later trial gets those of another.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from nni_dream.automl.command import positive, run_command
from nni_dream.automl.digits_parameters import DigitsParameters, read_digits_parameters
from nni_dream.automl.kept_files import DESCRIPTION_FILE, MODEL_FILE, keeps_model
from nni_dream.automl.parent import end_with_parent

if TYPE_CHECKING:
    from nni_dream.automl.evaluation import Samples
    from nni_dream.automl.kept_model import ModelDescription
    from nni_dream.automl.models.heads import ImageClassifier

__all__ = [
    "IMAGE_SHAPE",
    "N_CLASSES",
    "DigitsSplit",
    "describe_digits",
    "load_digits_split",
    "main",
    "with_preprocessing",
]

IMAGE_SHAPE: Final = (1, 8, 8)
N_CLASSES: Final = 10
N_VALIDATION: Final = 350
N_TEST: Final = 347
SPLIT_SEED: Final = 0  # the same images in every trial, whatever its own seed
LARGEST_PIXEL: Final = 16  # white, in the data set


class DigitsSplit(NamedTuple):
    """Disjoint, with the same shares of the ten digits; a search sees the first two."""

    train: Samples  # 1,100
    validation: Samples  # 350
    test: Samples  # 347


def main(arguments: Sequence[str] | None = None) -> int:
    """Train or evaluate, and return the exit code."""
    options = _parse_options(arguments)
    return run_command(partial(_run, options))


def _run(options: argparse.Namespace) -> int:
    return _train(options) if options.evaluate is None else _evaluate(options.evaluate)


def _parse_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python3 -m nni_dream.automl.digits", description=__doc__.partition("\n")[0])
    parser.add_argument("--epochs", type=positive, default=12, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of weights, order and augmentation (default: %(default)s)")
    parser.add_argument(
        "--patience",
        type=positive,
        default=10,
        help="stop after so many epochs without a better validation accuracy (default: %(default)s)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path(os.environ.get("NNI_OUTPUT_DIR", "digits_output")),
        help="folder for the best epoch's model (default: NNI's folder of the trial, else %(default)s)",
    )
    parser.add_argument(
        "--evaluate", type=Path, metavar="DIR", help="do not train; score the model in this folder on the test images"
    )
    return parser.parse_args(arguments)


def _train(options: argparse.Namespace) -> int:
    end_with_parent()

    import nni

    received: dict[str, Any] = nni.get_next_parameter()  # {} outside NNI
    parameters = read_digits_parameters(received)

    import torch

    from nni_dream.automl.kept_model import save_model
    from nni_dream.automl.models.digits import build_digits_model
    from nni_dream.automl.training import Trainer
    from nni_dream.monitor import FeedbackMonitor

    torch.set_num_threads(1)  # other trials run beside this one; and one thread always adds in the same order
    torch.manual_seed(options.seed)
    data = load_digits_split(normalize=parameters.normalize)
    training = {"epochs": options.epochs, "patience": options.patience, "seed": options.seed}
    description = describe_digits(parameters, training)
    model = build_digits_model(parameters, N_CLASSES, IMAGE_SHAPE)
    trainer = Trainer(model, parameters, epochs=options.epochs, seed=options.seed, patience=options.patience)
    monitor = FeedbackMonitor(model, trainer.optimizer, optimize_mode="maximize", planned_epochs=options.epochs)

    trainer.fit(
        data.train,
        data.validation,
        monitor=monitor,
        on_best=lambda: save_model(options.output, with_preprocessing(model, description), description),
    )
    monitor.finish()
    return 0


def load_digits_split(*, normalize: bool) -> DigitsSplit:
    """Load the images, from the installed scikit-learn; nothing is downloaded.

    Args:
        normalize: Shift and scale all pixels to the training images' mean 0 and deviation 1.  Otherwise they are the
            data set's: whole numbers from 0 to 16.
    """
    import torch
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    from nni_dream.automl.evaluation import Samples

    digits = load_digits()
    pixels = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1)  # (1797, 1, 8, 8)
    labels = torch.tensor(digits.target)  # (1797,)
    rest, test = train_test_split(range(len(labels)), test_size=N_TEST, stratify=digits.target, random_state=SPLIT_SEED)
    train, validation = train_test_split(
        rest, test_size=N_VALIDATION, stratify=digits.target[rest], random_state=SPLIT_SEED
    )
    if normalize:
        pixels = (pixels - pixels[train].mean()) / pixels[train].std()
    return DigitsSplit(*(Samples(pixels[indices], labels[indices]) for indices in (train, validation, test)))


def describe_digits(parameters: DigitsParameters, training: dict[str, Any]) -> ModelDescription:
    """Return all of a model but its weights; of raw pixels, which it normalises by itself if it was trained so.

    Args:
        training: Options of the command, for the record.
    """
    from nni_dream.automl.kept_model import ModelDescription

    pixels = load_digits_split(normalize=False).train.inputs
    return ModelDescription(
        task="image_classification",
        scale="tiny",
        parameters=parameters.to_nested(),
        n_outputs=N_CLASSES,
        classes=[str(digit) for digit in range(N_CLASSES)],
        data={"name": "scikit-learn digits"},
        image_shape=list(IMAGE_SHAPE),
        channel_means=[pixels.mean().item()],
        channel_deviations=[pixels.std().item()],
        networks="digits",
        largest_pixel=LARGEST_PIXEL,
        training=training,
    )


def with_preprocessing(model: ImageClassifier, description: ModelDescription) -> ImageClassifier:
    """Return the model of raw pixels around one of pixels as they are trained on; they share their weights."""
    from nni_dream.automl.models.heads import ImageClassifier
    from nni_dream.automl.models.image import ChannelStatistics, ImagePreprocessing

    if not getattr(description.settings(), "normalize", False):
        return model
    statistics = ChannelStatistics(tuple(description.channel_means or ()), tuple(description.channel_deviations or ()))
    return ImageClassifier(
        model.backbone,
        model.reduction,
        dropout=model.dropout.p,
        classifier=model.classifier,
        preprocessing=ImagePreprocessing(IMAGE_SHAPE[1:], statistics),
    )


def _evaluate(folder: Path) -> int:
    if not keeps_model(folder):
        sys.stderr.write(f"error: {folder}: holds no {DESCRIPTION_FILE} and {MODEL_FILE}, as this trial keeps them\n")
        return 1

    import torch

    from nni_dream.automl.evaluation import evaluate
    from nni_dream.automl.kept_model import load_model

    torch.set_num_threads(1)
    model, description = load_model(folder)
    if description.networks != "digits":
        sys.stderr.write(f"error: {folder}: holds a model of {description.data['name']}, not of this trial\n")
        return 1
    test = load_digits_split(normalize=False).test
    score = evaluate(model, test)
    sys.stdout.write(json.dumps({"test_score": score.accuracy, "n_test": len(test)}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
