"""``nni-dream pretrain``: weights for the small networks, which nobody publishes."""

from __future__ import annotations

import shlex
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.markup import escape

from nni_dream.cli.console import console, fail, interrupted
from nni_dream.cli.options import DataOption, check_data_options
from nni_dream.feedback import score_text

if TYPE_CHECKING:
    from nni_dream.automl.pretraining import PretrainedBackbone
    from nni_dream.automl.task import TrainingOptions

__all__ = ["pretrain"]

NOT_HERE: Final = (None, "--data", "--task")  # options of a trial's command that this command lacks


class OwnScale(str, Enum):
    """The scales whose networks are ours."""

    TINY = "tiny"
    SMALL = "small"


def pretrain(
    data: Annotated[
        str, typer.Argument(help="Name of an image data set; the name folder is for image folders of your own.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the weights; a search has it as --weights-dir.")
    ],
    data_dir: Annotated[Path, typer.Option(help="Where the data are.")] = Path(),
    version: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Version such as resnet50 or b0; may be repeated; all if not given."),
    ] = None,
    scale: Annotated[OwnScale, typer.Option(help="Size of the networks.")] = OwnScale.TINY,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of each training at most.")] = 16,
    n_train: Annotated[int | None, typer.Option(min=1, help="Number of training images; all if not given.")] = None,
    image_size: Annotated[int | None, typer.Option(min=1, help="Size at which images are loaded, in pixels.")] = None,
    data_option: DataOption = None,
    download: Annotated[bool, typer.Option("--download", help="Download data that are not there.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of weights and order.")] = 0,
    split_seed: Annotated[
        int,
        typer.Option(help="Seed of the validation split; with that of the search, its validation images stay unseen."),
    ] = 0,
) -> None:
    """Train each network of the image space and keep its weights, so that a search can fine-tune them.

    Versions whose weights are in the folder are passed over: the same command goes on where it was stopped.
    """
    check_data_options(data_option or (), _way_out)
    words = [f"--data={data}", f"--data-dir={data_dir}", "--scale", scale.value, "--epochs", str(epochs)]
    words += ["--seed", str(seed), "--split-seed", str(split_seed)]
    words += [f"--data-option={option}" for option in data_option or ()]
    words += [] if n_train is None else ["--n-train", str(n_train)]
    words += [] if image_size is None else ["--image-size", str(image_size)]
    words += ["--download"] if download else []
    try:
        _pretrain(_training_options(words), output, version)
    except KeyboardInterrupt:
        interrupted("the versions above are written")


def _way_out(own: str | None) -> str:
    return "leave it out" if own in NOT_HERE else f"use {own}"


def _training_options(words: list[str]) -> TrainingOptions:
    """The options mean what they mean in a trial's command, and are checked there."""
    from nni_dream.automl.trial import parse_options, training_options

    return training_options(parse_options(words))


def _pretrain(options: TrainingOptions, folder: Path, versions: list[str] | None) -> None:
    from nni_dream.automl.data import DataError
    from nni_dream.automl.evaluation import TrainingError
    from nni_dream.automl.pretraining import VERSIONS, pretrain
    from nni_dream.automl.weights import WeightsError

    try:
        for made in pretrain(options, folder, versions or VERSIONS):
            console.print(_line(made))
    except (WeightsError, DataError, TrainingError, OSError) as error:
        fail(error)
    console.print(f"for a search: --weights-dir {escape(shlex.quote(str(folder)))}")


def _line(made: PretrainedBackbone) -> str:
    if made.n_epochs == 0:
        return f"{made.version:<14} there already: {escape(str(made.path))}"
    told = f"validation score {score_text(made.score)}, {made.n_epochs} epochs, {made.seconds:.0f} s"
    return f"{made.version:<14} {told}: {escape(str(made.path))}"
