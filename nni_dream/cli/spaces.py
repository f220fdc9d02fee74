"""Commands about search spaces: ``nni-dream check``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from nni_dream.cli.console import console, fail

__all__ = ["check"]


def check(
    space: Annotated[Path, typer.Argument(help="A search-space file, or an experiment's YAML that has or names one.")],
) -> None:
    """Read a search space as NNI does and show what each parameter is taken for; exit code 1 if it cannot be used."""
    from nni_dream.report.space_table import HEADER, space_rows, visible
    from nni_dream.space_files import SpaceFileError, read_space_file

    try:
        file = read_space_file(space)
    except SpaceFileError as error:
        fail(visible(str(error)))
    rows = [HEADER, *space_rows(file.space, file.roles)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        console.print(escape(line.rstrip()))
    for note in file.notes:
        console.print(f"[yellow]note:[/yellow] {escape(visible(note))}")
    n_configurations = file.space.n_configurations()
    n = "infinitely many" if n_configurations is None else n_configurations
    console.print(f"parameters: {len(rows) - 1}, configurations: {n}")
