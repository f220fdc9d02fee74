"""Where the command line writes: answers to standard output, errors to standard error."""

from __future__ import annotations

from typing import Final, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

__all__ = ["console", "errors", "fail", "interrupted"]

INTERRUPTED: Final = 130  # the shell's exit code after Ctrl-C

console = Console(highlight=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, soft_wrap=True)


def fail(reason: object) -> NoReturn:
    """Print an error and end the command with exit code 1.

    Raises:
        typer.Exit: Always.
    """
    errors.print(f"[red]error:[/red] {escape(str(reason))}")
    raise typer.Exit(1) from None


def interrupted(what_is_left: str) -> NoReturn:
    """Say what an interrupt leaves behind, and end the command with the exit code for it.

    Raises:
        typer.Exit: Always.
    """
    errors.print(f"interrupted; {what_is_left}")
    raise typer.Exit(INTERRUPTED) from None
