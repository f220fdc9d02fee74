"""Options that several commands have, with the same meaning and the same words."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["Force", "TableOutput"]

TableOutput = Annotated[Path, typer.Option("--output", "-o", help="Where the table goes.")]
Force = Annotated[bool, typer.Option("--force", help="Replace an output that is there.")]
