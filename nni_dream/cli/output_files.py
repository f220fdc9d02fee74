"""The one file that a command writes: looked at before the work, and written as a whole."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from nni_dream.cli.console import fail

__all__ = ["check_output", "write_output"]


def check_output(output: Path, *, sources: Sequence[Path] = (), force: bool) -> None:
    """Refuse an output that is no file, that the command reads, or that is there without leave to replace it.

    Args:
        sources: What the command reads; those that are not there yet count too.

    Raises:
        typer.Exit: If it is refused.
    """
    if os.path.isdir(output):
        _refuse(output, "is a folder; give --output the name of a file")
    if os.path.exists(output) and not os.path.isfile(output):
        _refuse(output, "is there and is no file; give --output another name")
    if any(_is_same(output, source) for source in sources):
        _refuse(output, "is a file that this command reads, and stays as it is; give --output another name")
    if os.path.exists(output) and not force:
        _refuse(output, "is there already; give --output another name, or replace it with --force")


def write_output(output: Path, text: str) -> None:
    """Write a file as a whole or not at all, in a folder that is made if it is not there; a link stays one.

    Raises:
        typer.Exit: If it cannot be written.
    """
    target = Path(os.path.realpath(output))
    draft = target.with_name(f"{target.name}.draft{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(text, encoding="utf-8")
        draft.replace(target)
    except OSError as error:
        _refuse(output, f"cannot be written: {error}")
    finally:
        with suppress(OSError):  # it is the file now, or was never there
            draft.unlink()


def _is_same(one: Path, other: Path) -> bool:
    """Whether two names are of one file: through links, and of a file that is not there yet."""
    if os.path.exists(one) and os.path.exists(other):
        return os.path.samefile(one, other)
    return os.path.realpath(one) == os.path.realpath(other)


def _refuse(output: Path, reason: str) -> NoReturn:
    from nni_dream.report.space_table import visible

    fail(f"{visible(str(output))}: {reason}")
