"""Arguments and options that several commands have, with the same meaning and the same words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from nni_dream.cli.console import fail

__all__ = ["DataDir", "DataOption", "Force", "Port", "SpaceArgument", "TableOutput", "WorkingDir", "check_data_options"]

SpaceArgument = Annotated[
    Path, typer.Argument(help="A search-space file, or an experiment's YAML that has or names one.")
]
TableOutput = Annotated[Path, typer.Option("--output", "-o", help="File for the table.")]
Force = Annotated[bool, typer.Option("--force", help="Replace the output file if it is there.")]
DataDir = Annotated[Path | None, typer.Option(help="Where the data are; what the trial's command says if not given.")]
DataOption = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=VALUE", help="Option of this data set alone, such as labels=coarse; may be repeated."),
]
WorkingDir = Annotated[
    Path | None, typer.Option(help="Folder where NNI keeps the experiment; what the YAML says if not given.")
]
Port = Annotated[int | None, typer.Option(help="Port of NNI's web page; a free one if not given.")]


def check_data_options(options: Sequence[str], way_out: Callable[[str | None], str]) -> None:
    """Refuse what a trial's command would refuse in its own name.

    Args:
        way_out: What to do instead, by the option of a trial's command that gives it; ``None``: there is none.
    """
    from nni_dream.automl.trial import OWN_OPTIONS

    for option in options:
        name, sign, _ = option.partition("=")
        if not sign or not name:
            fail(f"--data-option is {option!r}, expected NAME=VALUE")
        if name in OWN_OPTIONS:
            told = way_out(OWN_OPTIONS[name])
            fail(f"--data-option is {option!r}, but {name!r} is no option of a data set: {told}")
