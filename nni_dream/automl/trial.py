"""Trial: train one configuration on an image or text task, and keep its best model.

NNI runs it once per configuration of experiment_configs/spaces/image.json, text.json or their expanded forms:

    python3 -m nni_dream.automl.trial --data cifar10 --data-dir DIR --task image_classification --scale tiny --epochs 16

By hand it trains on the default parameters; ``--evaluate DIR`` scores the model that a trial kept on the test images or
texts, which no training sees.

This file reads in the order of events.  torch takes seconds to import and is imported only after NNI has handed out the
parameters: if a trial dies without having asked for them, every later trial gets those of another.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from nni_dream.automl.command import positive, run_command
from nni_dream.automl.parent import end_with_parent
from nni_dream.automl.scales import SCALES
from nni_dream.automl.task_settings import TASKS, read_settings

if TYPE_CHECKING:
    from nni_dream.automl.task import TrainingOptions

__all__ = ["OWN_OPTIONS", "main", "parse_options", "training_options"]

UNTRAINABLE_CODE: Final = 3  # exit code of --available-space; nni_dream.own_commands knows it too

OWN_OPTIONS: Final = {  # argument of `load_dataset` -> what of a command gives it; --data-option does not
    "name": "--data",
    "data_dir": "--data-dir",
    "task": "--task",
    "seed": "--split-seed",
    "n_train": "--n-train",
    "image_size": "--image-size",
    "download": "--download",
    "storage": None,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Train or evaluate, and return the exit code."""
    options = parse_options(arguments)
    return run_command(partial(_run, options))


def _run(options: argparse.Namespace) -> int:
    if options.available_space is not None:
        return _print_available_space(options)
    return _train(options) if options.evaluate is None else _evaluate(options.evaluate, options.data_dir)


def parse_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of a trial's command."""
    parser = argparse.ArgumentParser(prog="python3 -m nni_dream.automl.trial", description=__doc__.partition("\n")[0])
    _add_data_options(parser)
    parser.add_argument("--scale", choices=SCALES, default="tiny", help="size of the networks (default: %(default)s)")
    parser.add_argument(
        "--weights-dir", type=Path, metavar="DIR", help="pretrained weights; nni_dream.automl.weights says their names"
    )
    parser.add_argument("--epochs", type=positive, default=200, help="at most (default: %(default)s)")
    parser.add_argument(
        "--patience",
        type=positive,
        default=10,
        help="end a phase of the training (fine-tuning has up to three) after so many epochs without a better "
        "validation score (default: %(default)s)",
    )
    parser.add_argument("--batch-size", type=positive, default=32, help="samples a step (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of weights, order and augmentation (default: %(default)s)")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path(os.environ.get("NNI_OUTPUT_DIR", "trial_output")),
        help="folder for the best epoch's model (default: NNI's folder of the trial, else %(default)s)",
    )
    parser.add_argument(
        "--evaluate", type=Path, metavar="DIR", help="do not train; score the model in this folder on the test split"
    )
    parser.add_argument(
        "--available-space",
        type=Path,
        metavar="FILE",
        help="do not train; print this search space without what needs weights that are not there",
    )
    parser.add_argument(
        "--check-data",
        action="store_true",
        help="with --available-space: read the data first, also those of the test, and say what is wrong or odd",
    )
    options = parser.parse_args(arguments)
    if options.available_space is None and options.evaluate is None and options.data is None:
        parser.error("--data is needed to train: the name of a data set")
    return options


def _add_data_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", metavar="NAME", help="of the data set")
    parser.add_argument(
        "--data-dir",
        type=Path,
        metavar="DIR",
        help="where its files are (default: this folder; with --evaluate where they were at the training)",
    )
    parser.add_argument(
        "--data-option",
        type=_named_value,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="of this data set alone, such as labels=coarse; may be repeated",
    )
    parser.add_argument("--task", choices=TASKS, default="image_classification", help="default: %(default)s")
    parser.add_argument("--n-train", type=positive, metavar="N", help="train on so many samples (default: all)")
    parser.add_argument("--image-size", type=positive, metavar="PIXELS", help="load images at this size")
    parser.add_argument("--split-seed", type=int, default=0, help="of the validation split (default: %(default)s)")
    parser.add_argument("--download", action="store_true", help="fetch data and weights that are not there")


def _named_value(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"is {text!r}, expected NAME=VALUE")
    if name in OWN_OPTIONS:
        own = OWN_OPTIONS[name]
        raise argparse.ArgumentTypeError(f"{name!r} is no option of a data set" + (f"; use {own}" if own else ""))
    return name, value


def _train(options: argparse.Namespace) -> int:
    end_with_parent()

    import nni

    received: dict[str, Any] = nni.get_next_parameter()  # {} outside NNI
    settings = read_settings(options.task, received)

    import torch

    from nni_dream.automl.kept_model import save_model
    from nni_dream.automl.task import LoadedTask

    torch.set_num_threads(1)  # other trials run beside this one; and one thread always adds in the same order
    task = LoadedTask(training_options(options))
    training = {name: getattr(options, name) for name in ("epochs", "patience", "batch_size", "seed")}
    task.train(
        settings,
        on_best=lambda model, description: save_model(options.output, model, replace(description, training=training)),
    )
    return 0


def _print_available_space(options: argparse.Namespace) -> int:
    from nni_dream.automl.available_space import available_space
    from nni_dream.automl.data import data_notes
    from nni_dream.automl.pretraining import check_own_weights
    from nni_dream.automl.samples import check_data
    from nni_dream.automl.task import load_data
    from nni_dream.automl.weights import WeightsError, WeightsSource

    notes: list[str] = []
    if options.check_data:
        data = load_data(_data_arguments(options))
        check_data(data, scale=options.scale)
        notes = data_notes(data)
    space = json.loads(options.available_space.read_text(encoding="utf-8"))
    source = WeightsSource(options.scale, options.weights_dir, options.download)
    check_own_weights(source)
    try:
        available = available_space(space, source)
    except WeightsError as error:
        sys.stderr.write(f"error: {error}\n")
        return UNTRAINABLE_CODE
    sys.stdout.write(json.dumps({"space": available.space, "notes": [*notes, *available.notes]}) + "\n")
    return 0


def training_options(options: argparse.Namespace) -> TrainingOptions:
    """Return what of a command's options says how every configuration is trained."""
    from nni_dream.automl.task import TrainingOptions

    return TrainingOptions(
        data=_data_arguments(options),
        task=options.task,
        scale=options.scale,
        epochs=options.epochs,
        patience=options.patience,
        batch_size=options.batch_size,
        seed=options.seed,
        weights_dir=options.weights_dir,
        download=options.download,
    )


def _data_arguments(options: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of `load_dataset`, as JSON."""
    return {
        "name": options.data,
        "data_dir": str((options.data_dir or Path()).resolve()),
        "task": options.task,
        "seed": options.split_seed,
        "n_train": options.n_train,
        "image_size": options.image_size,
        "download": options.download,
        **dict(options.data_option),
    }


def _evaluate(folder: Path, data_dir: Path | None) -> int:
    import torch

    from nni_dream.automl.acceleration import on_device
    from nni_dream.automl.evaluation import evaluate_in_memory
    from nni_dream.automl.kept_model import load_model
    from nni_dream.automl.samples import test_samples
    from nni_dream.automl.task import load_data, objective_of

    torch.set_num_threads(1)
    model, description = load_model(folder)
    if description.networks == "digits":
        sys.stderr.write(
            f"error: {folder}: holds a model of the digits trial; score it with "
            f"python3 -m nni_dream.automl.digits --evaluate {folder}\n"
        )
        return 1
    moved = {} if data_dir is None else {"data_dir": str(data_dir.resolve())}
    test = test_samples(load_data({**description.data, **moved}), description)
    objective = objective_of(description.task)
    score = evaluate_in_memory(on_device(model), test, objective)
    test_score = score.loss if objective == "regression" else score.accuracy
    sys.stdout.write(json.dumps({"test_score": test_score, "n_test": len(test)}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
