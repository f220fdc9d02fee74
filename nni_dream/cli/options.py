"""Arguments and options that several commands have, with the same meaning and the same words."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["DataDir", "Force", "Port", "SpaceArgument", "TableOutput", "WorkingDir"]

SpaceArgument = Annotated[
    Path, typer.Argument(help="A search-space file, or an experiment's YAML that has or names one.")
]
TableOutput = Annotated[Path, typer.Option("--output", "-o", help="File for the table.")]
Force = Annotated[bool, typer.Option("--force", help="Replace the output file if it is there.")]
DataDir = Annotated[Path | None, typer.Option(help="Where the data are; what the trial's command says if not given.")]
WorkingDir = Annotated[
    Path | None, typer.Option(help="Folder where NNI keeps the experiment; what the YAML says if not given.")
]
Port = Annotated[int | None, typer.Option(help="Port of NNI's web page; a free one if not given.")]
