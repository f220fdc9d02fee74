"""Where the command line writes: answers to standard output, errors to standard error."""

from __future__ import annotations

from typing import NoReturn

import typer
from rich.console import Console
from rich.markup import escape

__all__ = ["console", "errors", "fail"]

console = Console(highlight=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, soft_wrap=True)


def fail(reason: object) -> NoReturn:
    """Print an error and end the command with exit code 1.

    Raises:
        typer.Exit: Always.
    """
    errors.print(f"[red]error:[/red] {escape(str(reason))}")
    raise typer.Exit(1) from None
